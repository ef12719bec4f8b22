"""A file of LPIPS with drawn weights, which measures as lawfully as the trained ones."""

from pathlib import Path

import torch
from safetensors.torch import save_file

from worldsim.models.lpips import _CONVOLUTIONS


def lpips_weights(path: Path) -> Path:
    """Drawn weights under the names that the `lpips` package gives them."""
    generator = torch.Generator().manual_seed(0)
    held = {}
    for index, (name, inside, out, size, *_) in enumerate(_CONVOLUTIONS):
        shape = (out, inside, size, size)
        held[f"{name}.weight"] = 0.05 * torch.randn(shape, generator=generator)
        held[f"{name}.bias"] = 0.1 * torch.randn(out, generator=generator)
        held[f"lin{index}.model.1.weight"] = torch.rand(1, out, 1, 1, generator=generator)
    save_file(held, path)
    return path
