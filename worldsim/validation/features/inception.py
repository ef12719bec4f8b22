"""Inception-v3 as the FID knows it, up to its last pooling.

Szegedy et al., "Rethinking the Inception Architecture" (1512.00567), with the names of the file
`pt_inception-2015-12-05-6726825d.pth` of the project pytorch-fid, which was converted from the
network that Heusel et al. (1706.08500) used. That network differs from torchvision's: means of
borders leave padding out, and its last block takes maxima.

Legend: N images, C channels.
"""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

SIDE = 299
FEATURES = 2048
_Size = int | tuple[int, int]
_Step = tuple[str, int, _Size]
"""Name, channels out and size of a convolution."""


class ConvNorm(nn.Module):
    """Convolution without bias, batch normalisation, rectifier."""

    def __init__(
        self, inside: int, out: int, size: _Size, stride: int = 1, padding: _Size = 0
    ) -> None:
        super().__init__()
        self.conv = nn.Conv2d(inside, out, size, stride, padding, bias=False)
        self.bn = nn.BatchNorm2d(out, eps=1e-3)

    def forward(self, x: Tensor) -> Tensor:
        """`[N, C, ...]` to `[N, out, ...]`."""
        return functional.relu(self.bn(self.conv(x)))


def _mean(x: Tensor) -> Tensor:
    return functional.avg_pool2d(x, 3, 1, 1, count_include_pad=False)


def _maximum(x: Tensor) -> Tensor:
    return functional.max_pool2d(x, 3, 1, 1)


def _halved(x: Tensor) -> Tensor:
    return functional.max_pool2d(x, 3, 2)


class Mixed(nn.Module):
    """Branches side by side, joined by channel.

    Args:
        inside: channels.
        branches: each a chain of convolutions. One that is called `a/b` ends in two, side by side.
        pool: what the last branch does first.
        pooled: channels of the convolution that follows it; 0 has none.
        stride: of the last convolution of each chain.
    """

    def __init__(
        self,
        inside: int,
        branches: Sequence[Sequence[_Step]],
        pool: Callable[[Tensor], Tensor],
        pooled: int = 0,
        stride: int = 1,
    ) -> None:
        super().__init__()
        self.pool, self.out = pool, 0
        self.chains: list[list[tuple[str, ...]]] = []
        for branch in branches:
            width, chain = inside, []
            for place, (name, out, size) in enumerate(branch):
                last = place == len(branch) - 1 and stride > 1
                ends = self._file(name, width, out, size, stride if last else 1)
                width = out
                chain.append(ends)
            self.chains.append(chain)
            self.out += width * len(chain[-1])
        if pooled:
            self._file("branch_pool", inside, pooled, 1, 1)
        self.pooled = bool(pooled)
        self.out += pooled or inside

    def _file(self, name: str, inside: int, out: int, size: _Size, stride: int) -> tuple[str, ...]:
        """Add the convolution of a name, or the two of `stem_NaNb` wide and tall."""
        if name.endswith("ab"):
            stem = name.removesuffix("ab")
            for end, (high, wide) in {"a": (1, 3), "b": (3, 1)}.items():
                padding = (high // 2, wide // 2)
                self.add_module(stem + end, ConvNorm(inside, out, (high, wide), 1, padding))
            return stem + "a", stem + "b"
        sides = (size, size) if isinstance(size, int) else size
        around = (0, 0) if stride > 1 else (sides[0] // 2, sides[1] // 2)
        self.add_module(name, ConvNorm(inside, out, sides, stride, around))
        return (name,)

    def forward(self, x: Tensor) -> Tensor:
        """`[N, C, ...]` to `[N, out, ...]`."""
        found = []
        for chain in self.chains:
            branch = x
            for names in chain:
                branch = torch.cat([self.get_submodule(name)(branch) for name in names], 1)
            found.append(branch)
        branch = self.pool(x)
        found.append(self.get_submodule("branch_pool")(branch) if self.pooled else branch)
        return torch.cat(found, 1)


def _narrow(inside: int, pooled: int) -> Mixed:
    return Mixed(
        inside,
        [
            [("branch1x1", 64, 1)],
            [("branch5x5_1", 48, 1), ("branch5x5_2", 64, 5)],
            [("branch3x3dbl_1", 64, 1), ("branch3x3dbl_2", 96, 3), ("branch3x3dbl_3", 96, 3)],
        ],
        _mean,
        pooled,
    )


def _crossed(width: int) -> Mixed:
    wide, tall = (1, 7), (7, 1)
    double = [(tall, width), (wide, width), (tall, width), (wide, 192)]
    return Mixed(
        768,
        [
            [("branch1x1", 192, 1)],
            [("branch7x7_1", width, 1), ("branch7x7_2", width, wide), ("branch7x7_3", 192, tall)],
            [
                ("branch7x7dbl_1", width, 1),
                *((f"branch7x7dbl_{i}", out, size) for i, (size, out) in enumerate(double, 2)),
            ],
        ],
        _mean,
        192,
    )


def _forked(inside: int, pool: Callable[[Tensor], Tensor]) -> Mixed:
    return Mixed(
        inside,
        [
            [("branch1x1", 320, 1)],
            [("branch3x3_1", 384, 1), ("branch3x3_2ab", 384, 3)],
            [("branch3x3dbl_1", 448, 1), ("branch3x3dbl_2", 384, 3), ("branch3x3dbl_3ab", 384, 3)],
        ],
        pool,
        192,
    )


def _first_halving() -> Mixed:
    double = [("branch3x3dbl_1", 64, 1), ("branch3x3dbl_2", 96, 3), ("branch3x3dbl_3", 96, 3)]
    return Mixed(288, [[("branch3x3", 384, 3)], double], _halved, stride=2)


def _second_halving() -> Mixed:
    crossed: list[_Step] = [
        ("branch7x7x3_1", 192, 1),
        ("branch7x7x3_2", 192, (1, 7)),
        ("branch7x7x3_3", 192, (7, 1)),
        ("branch7x7x3_4", 192, 3),
    ]
    return Mixed(768, [[("branch3x3_1", 192, 1), ("branch3x3_2", 320, 3)], crossed], _halved, 0, 2)


class FidInception(nn.Module):
    """The network up to its last pooling; names are those of the published file."""

    def __init__(self) -> None:
        super().__init__()
        self.Conv2d_1a_3x3 = ConvNorm(3, 32, 3, 2)
        self.Conv2d_2a_3x3 = ConvNorm(32, 32, 3)
        self.Conv2d_2b_3x3 = ConvNorm(32, 64, 3, 1, 1)
        self.Conv2d_3b_1x1 = ConvNorm(64, 80, 1)
        self.Conv2d_4a_3x3 = ConvNorm(80, 192, 3)
        self.Mixed_5b = _narrow(192, 32)
        self.Mixed_5c = _narrow(256, 64)
        self.Mixed_5d = _narrow(288, 64)
        self.Mixed_6a = _first_halving()
        self.Mixed_6b = _crossed(128)
        self.Mixed_6c = _crossed(160)
        self.Mixed_6d = _crossed(160)
        self.Mixed_6e = _crossed(192)
        self.Mixed_7a = _second_halving()
        self.Mixed_7b = _forked(1280, _mean)
        self.Mixed_7c = _forked(2048, _maximum)

    def forward(self, images: Tensor) -> Tensor:
        """Features `[N, 2048]` of images `[N, 3, 299, 299]` in [-1, 1]."""
        x = images
        for name, block in self.named_children():
            x = block(x)
            if name in ("Conv2d_2b_3x3", "Conv2d_4a_3x3"):
                x = _halved(x)
        return x.mean((2, 3))
