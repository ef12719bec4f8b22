"""What the machine at hand computes fast, how it hands out memory, how worker processes begin."""

import ctypes
import multiprocessing
import os
import signal
import threading
from functools import cache
from typing import TYPE_CHECKING

from worldsim.errors import UsageError

if TYPE_CHECKING:  # the command line keeps freed memory before it needs torch
    import torch

# The numbers of <malloc.h>.
M_TRIM_THRESHOLD, M_TOP_PAD, M_MMAP_THRESHOLD = -1, -2, -3
MIB = 2**20


@cache
def has_fast_bf16(device: "torch.device | str" = "cpu") -> bool:
    """Whether `device` multiplies bfloat16 in hardware; elsewhere it is slower than float32."""
    import torch

    if torch.device(device).type == "cuda":
        return bool(torch.cuda.is_bf16_supported())
    return bool(torch.cpu._is_avx512_bf16_supported())


def inference_device(name: str) -> "torch.device":
    """Where to imagine: `cpu`, `cuda` (perhaps with a number), or `auto`, a GPU where there is one.

    Raises:
        UsageError: there is no such device.
    """
    import torch

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


def training_device(accelerator: str = "auto") -> "torch.device":
    """Where Lightning trains under this name of an accelerator.

    Raises:
        UsageError: a GPU is asked for and there is none.
    """
    import torch

    wanted = accelerator in ("auto", "gpu", "cuda")
    if wanted and accelerator != "auto" and not torch.cuda.is_available():
        raise UsageError(
            f"trainer.accelerator={accelerator} and torch sees no GPU; take auto or cpu"
        )
    return torch.device("cuda" if wanted and torch.cuda.is_available() else "cpu")


def keep_freed_memory() -> bool:
    """Let the process use freed memory again, where by default it goes back to the system.

    A network's step frees and asks for the same megabytes many times, and every time the system
    maps and clears them. Memory in use does not grow, memory held may. Left alone where a variable
    `MALLOC_*` or `GLIBC_TUNABLES` is set, and where the C library is not glibc.

    Returns:
        Whether it was changed.
    """
    if any(name.startswith(("MALLOC_", "GLIBC_TUNABLES")) for name in os.environ):
        return False
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (AttributeError, OSError):
        return False
    wanted = ((M_MMAP_THRESHOLD, 256), (M_TRIM_THRESHOLD, 1024), (M_TOP_PAD, 64))
    return all(mallopt(option, size * MIB) == 1 for option, size in wanted)


def begin_worker_process() -> None:
    """Leave Ctrl-C to the parent, and end with it: a killed parent tells its workers nothing."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    assert parent is not None, "only a process that multiprocessing started has a parent here"
    parent.join()
    os._exit(1)
