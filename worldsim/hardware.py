"""What the machine at hand computes fast."""

import torch

from worldsim.errors import UsageError


def has_fast_bf16(device: torch.device | str = "cpu") -> bool:
    """Whether `device` multiplies bfloat16 in hardware; elsewhere it is slower than float32."""
    if torch.device(device).type == "cuda":
        return bool(torch.cuda.is_bf16_supported())
    return bool(torch.cpu._is_avx512_bf16_supported())


def inference_device(name: str) -> torch.device:
    """Where to imagine: `cpu`, `cuda` (perhaps with a number), or `auto`, a GPU where there is one.

    Raises:
        UsageError: there is no such device.
    """
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError) as error:
        known = name.partition(":")[0] in ("cpu", "cuda")
        reason = str(error).splitlines()[0] if known else "no such device"
        raise UsageError(f"device={name}: {reason}; expected cpu, cuda or auto") from error
    return device


def training_device(accelerator: str = "auto") -> torch.device:
    """Where Lightning trains under this name of an accelerator.

    Raises:
        UsageError: a GPU is asked for and there is none.
    """
    wanted = accelerator in ("auto", "gpu", "cuda")
    if wanted and accelerator != "auto" and not torch.cuda.is_available():
        raise UsageError(
            f"trainer.accelerator={accelerator} and torch sees no GPU; take auto or cpu"
        )
    return torch.device("cuda" if wanted and torch.cuda.is_available() else "cpu")
