"""Which arithmetic this machine trains fastest in, and what to call it."""

from pathlib import Path
from typing import Literal

from worldsim.hardware import has_fast_bf16, training_device

Precision = Literal["auto", "32-true", "bf16-mixed"]


def choose_precision(
    wanted: Precision, accelerator: str = "auto"
) -> Literal["32-true", "bf16-mixed"]:
    """Lightning's name for the precision to train in; `auto` means bf16 where it is native."""
    if wanted != "auto":
        return wanted
    return "bf16-mixed" if has_fast_bf16(training_device(accelerator)) else "32-true"


def cpu_name() -> str:
    """The processor's model name, or "unknown"."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="ignore").splitlines()
    except OSError:
        return "unknown"
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else "unknown"
