"""What the machine at hand computes fast."""

import torch


def has_fast_bf16(device: torch.device | str = "cpu") -> bool:
    """Whether `device` multiplies bfloat16 in hardware; elsewhere it is slower than float32."""
    if torch.device(device).type == "cuda":
        return bool(torch.cuda.is_bf16_supported())
    return bool(torch.cpu._is_avx512_bf16_supported())


def training_device(accelerator: str = "auto") -> torch.device:
    """Where Lightning trains under this name of an accelerator."""
    wanted = accelerator in ("auto", "gpu", "cuda")
    return torch.device("cuda" if wanted and torch.cuda.is_available() else "cpu")
