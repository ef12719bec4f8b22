"""The toy room as memories see it: latents that are pictures, poses and depth, for every walk."""

from collections.abc import Sequence

import torch
from torch import Tensor
from toy_room import HEIGHT, WIDTH, Walker, seen
from toy_room_data import SPEC

from worldsim.cameras.projection import whole_sphere_intrinsics
from worldsim.memory.base import (
    FrameCameras,
    Memory,
    MemoryConfig,
    MemorySize,
    ShownFrames,
    registered_memories,
)

SIZE = (3, HEIGHT, WIDTH)
"""(c, h, w) of latents that are pictures in [0, 1]."""


def new(name: str, rows: int = 1, **keys: object) -> Memory:
    """An empty memory whose depth is the simulator's, unless `keys` of its config say otherwise."""
    config = MemoryConfig(name, **{"depth": "simulator", **keys})  # type: ignore[arg-type]
    size = MemorySize(SPEC, (1, *SIZE), rows, torch.device("cpu"))
    return registered_memories().get(name).new(config, size)


def cameras(walks: Sequence[Sequence[Walker]]) -> FrameCameras:
    """Cameras of T frames of N rows."""
    pose = torch.stack([torch.stack([torch.from_numpy(w.pose) for w in walk]) for walk in walks])
    intrinsics = whole_sphere_intrinsics(HEIGHT, WIDTH).repeat(len(walks), 1, 1, 1)
    return FrameCameras(pose[:, :, None], intrinsics, torch.ones(len(walks)))


def shown(walks: Sequence[Sequence[Walker]], first: int = 0) -> ShownFrames:
    """What the walkers saw, with depth; rows need equally many frames."""
    pictures, depths = [], []
    for walk in walks:
        frames = [seen(walker) for walker in walk]
        pictures.append(torch.stack([torch.from_numpy(f[0]) for f in frames]))
        depths.append(torch.stack([torch.from_numpy(f[1]) for f in frames]))
    latents = torch.stack(pictures).movedim(-1, 2)[:, :, None].float() / 255
    rows, count = latents.shape[:2]
    number = torch.arange(first, first + count).expand(rows, -1)
    mask, length = torch.ones(rows, count, 1), torch.full((rows,), count)
    return ShownFrames(
        latents, cameras(walks), mask, length, number, torch.stack(depths)[:, :, None]
    )


def psnr(one: Tensor, other: Tensor, weight: Tensor) -> float:
    """Of pictures in [0, 1], `weight` broadcast over them."""
    weight = weight.expand_as(one)
    error = float(((one - other).square() * weight).sum() / weight.sum())
    return float(-10 * torch.tensor(max(error, 1e-12)).log10())
