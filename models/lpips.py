"""LPIPS: distance of images by features of a network that people's judgements weigh.

Zhang et al., "The Unreasonable Effectiveness of Deep Features as a Perceptual Metric" (1801.03924),
version 0.1 on AlexNet. The network's weights are not part of this package. The `lpips` package has
them; where that is installed, this writes them as a file that is read without unpickling:

    python -c "import lpips, safetensors.torch as s;
    s.save_file(lpips.LPIPS(net='alex').state_dict(), 'lpips.safetensors')"

Legend: N images, H W pixels.
"""

from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from worldsim.errors import DataError

# (name in the file, in, out, size, stride, padding, whether a maximum is taken before)
_CONVOLUTIONS = (
    ("net.slice1.0", 3, 64, 11, 4, 2, False),
    ("net.slice2.3", 64, 192, 5, 1, 2, True),
    ("net.slice3.6", 192, 384, 3, 1, 1, True),
    ("net.slice4.8", 384, 256, 3, 1, 1, False),
    ("net.slice5.10", 256, 256, 3, 1, 1, False),
)
_SHIFT, _SCALE = (-0.030, -0.088, -0.188), (0.458, 0.448, 0.450)
_AT_ONCE = 32
SMALLEST = 31
"""Rows and columns of the smallest image whose features can be pooled twice."""


class Lpips(nn.Module):
    """The network; `Lpips.load` reads it from a file."""

    shift: Tensor
    scale: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.ModuleList(
            nn.Conv2d(inside, out, size, stride, padding)
            for _, inside, out, size, stride, padding, _ in _CONVOLUTIONS
        )
        self.weights = nn.ParameterList(
            nn.Parameter(torch.zeros(out)) for _, _, out, *_ in _CONVOLUTIONS
        )
        for name, values in (("shift", _SHIFT), ("scale", _SCALE)):
            self.register_buffer(name, torch.tensor(values)[:, None, None])

    @staticmethod
    def load(path: Path) -> "Lpips":
        """The network of a .safetensors file; see the head of this file.

        Raises:
            DataError: the file is none, or lacks a weight.
        """
        from safetensors import SafetensorError
        from safetensors.torch import load_file

        how = 'see worldsim/models/lpips.py for the command that writes one with "lpips"'
        try:
            held = load_file(path)
        except (SafetensorError, OSError) as error:
            raise DataError(f"{path} is no .safetensors file of LPIPS ({error}); {how}") from error
        network, told = Lpips(), {}
        for index, (name, *_) in enumerate(_CONVOLUTIONS):
            told[f"layers.{index}.weight"] = held.get(f"{name}.weight")
            told[f"layers.{index}.bias"] = held.get(f"{name}.bias")
            linear = held.get(f"lin{index}.model.1.weight")
            told[f"weights.{index}"] = None if linear is None else linear.flatten()
        lacking = [
            name
            for name, value in told.items()
            if value is None or value.shape != network.get_parameter(name).shape
        ]
        if lacking:
            raise DataError(f"{path} holds no LPIPS on AlexNet, it lacks {lacking}; {how}")
        network.load_state_dict({**told, "shift": network.shift, "scale": network.scale})
        return network.eval().requires_grad_(False)

    def forward(self, one: Tensor, other: Tensor) -> Tensor:
        """Distances `[N, H, W]` around every pixel of images `[N, 3, H, W]` in [-1, 1]."""
        total = one.new_zeros(len(one), 1, *one.shape[-2:])
        for left, right, weight in zip(
            self._features(one), self._features(other), self.weights, strict=True
        ):
            apart = ((left - right).square() * weight[:, None, None]).sum(1, keepdim=True)
            total += functional.interpolate(apart, one.shape[-2:], mode="bilinear")
        return total[:, 0]

    def _features(self, images: Tensor) -> list[Tensor]:
        """Features of five depths, of unit length at every place."""
        x, found = (images - self.shift) / self.scale, []
        for layer, (*_, pooled) in zip(self.layers, _CONVOLUTIONS, strict=True):
            x = functional.max_pool2d(x, 3, 2) if pooled else x
            x = functional.relu(layer(x))
            found.append(x / (x.square().sum(1, keepdim=True).sqrt() + 1e-10))
        return found

    @torch.inference_mode()
    def maps(self, one: NDArray[np.uint8], other: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Distances `[..., H, W]` of uint8 images `[..., H, W, 3]`; smaller ones are enlarged."""
        size = one.shape[-3:-1]
        flat = [torch.from_numpy(np.array(x)).reshape(-1, *size, 3) for x in (one, other)]
        found = []
        for first in range(0, len(flat[0]), _AT_ONCE):
            pair = [x[first : first + _AT_ONCE].movedim(-1, 1) / 127.5 - 1 for x in flat]
            if min(size) < SMALLEST:
                factor = -(-SMALLEST // min(size))
                pair = [functional.interpolate(x, scale_factor=factor) for x in pair]
            apart = self(*pair)[:, None]
            found.append(functional.interpolate(apart, size, mode="area")[:, 0])
        return torch.cat(found).reshape(one.shape[:-1]).numpy()
