"""Inflated Inception (I3D) on colour, as the FVD knows it.

Carreira and Zisserman, "Quo Vadis, Action Recognition?" (1705.07750), with the names of the files
`rgb_imagenet.pt` of the project pytorch-i3d and `i3d_pretrained_400.pt` of VideoGPT. FVD takes the
logits of 400 classes of Kinetics, averaged over time (Unterthiner et al., 1812.01717, appendix).

Legend: N clips, C channels, T frames.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional

SIDE = 224
FEATURES = 400
SHORTEST = 9
"""Frames: with fewer there are not two steps left in time for the last pooling."""
_Three = tuple[int, int, int]

_BLOCKS = {
    "Mixed_3b": (192, (64, 96, 128, 16, 32, 32)),
    "Mixed_3c": (256, (128, 128, 192, 32, 96, 64)),
    "Mixed_4b": (480, (192, 96, 208, 16, 48, 64)),
    "Mixed_4c": (512, (160, 112, 224, 24, 64, 64)),
    "Mixed_4d": (512, (128, 128, 256, 24, 64, 64)),
    "Mixed_4e": (512, (112, 144, 288, 32, 64, 64)),
    "Mixed_4f": (528, (256, 160, 320, 32, 128, 128)),
    "Mixed_5b": (832, (256, 160, 320, 32, 128, 128)),
    "Mixed_5c": (832, (384, 192, 384, 48, 128, 128)),
}
"""Channels in, and those of each convolution of a block."""

_POOLED: dict[str, tuple[_Three, _Three]] = {
    "Conv3d_1a_7x7": ((1, 3, 3), (1, 2, 2)),
    "Conv3d_2c_3x3": ((1, 3, 3), (1, 2, 2)),
    "Mixed_3c": ((3, 3, 3), (2, 2, 2)),
    "Mixed_4f": ((2, 2, 2), (2, 2, 2)),
}
"""Size and stride of the maxima that follow a layer."""


def padded(x: Tensor, size: _Three, stride: _Three) -> Tensor:
    """`[N, C, T, H, W]` with zeros around it, as TensorFlow's "SAME": the odd one comes last."""
    around: list[int] = []
    for length, kernel, step in reversed(list(zip(x.shape[2:], size, stride, strict=True))):
        lacking = max(0, (-(-length // step) - 1) * step + kernel - length)
        around += [lacking // 2, lacking - lacking // 2]
    return functional.pad(x, around)


def _maximum(x: Tensor, size: _Three, stride: _Three) -> Tensor:
    """Largest of each window; zeros at the border are right after a rectifier."""
    return functional.max_pool3d(padded(x, size, stride), size, stride)


class Unit3d(nn.Module):
    """Convolution, batch normalisation, rectifier; or a convolution with bias alone."""

    def __init__(
        self, inside: int, out: int, size: int = 1, stride: int = 1, plain: bool = False
    ) -> None:
        super().__init__()
        self.conv3d = nn.Conv3d(inside, out, size, stride, bias=plain)
        self.plain = plain
        if not plain:
            # VideoGPT has 1e-5 here; the network was trained with this (Sonnet's default).
            self.bn = nn.BatchNorm3d(out, eps=1e-3)
        self.sizes: tuple[_Three, _Three] = ((size, size, size), (stride, stride, stride))

    def forward(self, x: Tensor) -> Tensor:
        """`[N, C, T, H, W]` to `[N, out, ...]`."""
        found: Tensor = self.conv3d(padded(x, *self.sizes))
        return found if self.plain else functional.relu(self.bn(found))


class Mixed3d(nn.Module):
    """Four branches side by side, joined by channel."""

    def __init__(self, inside: int, widths: tuple[int, ...]) -> None:
        super().__init__()
        self.b0 = Unit3d(inside, widths[0])
        self.b1a = Unit3d(inside, widths[1])
        self.b1b = Unit3d(widths[1], widths[2], 3)
        self.b2a = Unit3d(inside, widths[3])
        self.b2b = Unit3d(widths[3], widths[4], 3)
        self.b3b = Unit3d(inside, widths[5])

    def forward(self, x: Tensor) -> Tensor:
        """`[N, C, T, H, W]` to `[N, out, T, H, W]`."""
        pooled = _maximum(x, (3, 3, 3), (1, 1, 1))
        branches = self.b0(x), self.b1b(self.b1a(x)), self.b2b(self.b2a(x)), self.b3b(pooled)
        return torch.cat(branches, 1)


class I3d(nn.Module):
    """The network; names are those of the published files."""

    def __init__(self) -> None:
        super().__init__()
        self.logits = Unit3d(1024, FEATURES, plain=True)
        self.Conv3d_1a_7x7 = Unit3d(3, 64, 7, 2)
        self.Conv3d_2b_1x1 = Unit3d(64, 64)
        self.Conv3d_2c_3x3 = Unit3d(64, 192, 3)
        for name, (inside, widths) in _BLOCKS.items():
            self.add_module(name, Mixed3d(inside, widths))

    def forward(self, clips: Tensor) -> Tensor:
        """Logits `[N, 400]`, averaged over time, of `[N, 3, T, 224, 224]` in [-1, 1]."""
        x = clips
        for name, layer in self.named_children():
            if name != "logits":
                x = layer(x)
                x = _maximum(x, *_POOLED[name]) if name in _POOLED else x
        found: Tensor = self.logits(functional.avg_pool3d(x, (2, 7, 7), 1))
        return found.mean((2, 3, 4))
