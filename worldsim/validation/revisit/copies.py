"""Copies of a memory's render, without a network; and memories of first visits, which these need.

Legend: T frames of a walk, K frames that are shown, R rows, V views, H W pixels, c h w latent.
"""

from dataclasses import dataclass
from time import perf_counter

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from worldsim.cameras.projection import scale_intrinsics
from worldsim.memory.base import (
    FrameCameras,
    FrameReader,
    Memory,
    MemoryConfig,
    MemorySize,
    ShownFrames,
    registered_depths,
    registered_memories,
)
from worldsim.memory.view import reference
from worldsim.models.recall import new_memory
from worldsim.models.world_model import WorldModel
from worldsim.validation.revisit.arms import Arm, tell_depth, told_depth
from worldsim.validation.revisit.walk import Walk

Pixels = NDArray[np.uint8]
PIXEL_VOXEL, PIXEL_POINTS = 0.02, 1 << 19
"""Metres of a voxel and most points of a map of pixels, fine enough to lose nothing of a walk."""
AT_ONCE = 16


@dataclass(frozen=True, eq=False)
class Streamed:
    """Attributes:
    frames: uint8 `[T, R, V, H, W, 3]`, those of the simulator where they were shown.
    depth: `[T, R, V, h, w]` metres that the model reads off its own frames, 0 of those shown; None
        without a head.
    seconds: an imagined frame takes, all R streams of it.
    bytes_kept: that the memory of a stream holds in the end.
    renders: uint8 `[T, V, H, W, 3]` what the first stream's memory rendered, black where it covers
        nothing; None if it was not asked for.
    """

    frames: Pixels
    depth: NDArray[np.float32] | None
    seconds: float
    bytes_kept: float
    renders: Pixels | None = None


def cameras_of(model: WorldModel, walk: Walk, frames: slice, rows: int) -> FrameCameras:
    """Where the cameras of some frames of a walk stand, as latents show them, the same for all
    rows."""
    pose = torch.from_numpy(walk.poses[frames]).float()
    if model.facing is not None:
        pose = model.facing.poses(pose, torch.from_numpy(walk.agent_pos[frames]))
    pose = pose.expand(rows, -1, -1, -1, -1)
    factor = model.latent_shape[1] / model.spec.cameras[0].height
    scaled = scale_intrinsics(torch.from_numpy(walk.rig.intrinsics).float(), factor)
    device = model.device
    known = torch.ones(rows, device=device)
    return FrameCameras(pose.to(device), scaled.expand(rows, -1, -1, -1).to(device), known)


def first_visit(model: WorldModel, walk: Walk, arm: Arm, rows: int) -> Memory:
    """A memory of a walk's first visit as the simulator shows it."""
    with torch.inference_mode():
        memory = new_memory(model, rows)
        table = told_depth(torch.from_numpy(walk.depth), arm.noise)
        table = turned(model, walk, table)
        tell_depth(memory, table)
        latents = encoded(model, walk, slice(0, walk.back))
        cameras = cameras_of(model, walk, slice(0, walk.back), rows)
        fill(memory, latents, cameras, table[: walk.back], model.config.memory, model.reader)
    return memory


def turned(model: WorldModel, walk: Walk, depth: Tensor) -> Tensor:
    """Depth `[T, V, H, W]` of a walk, turned as latents are."""
    found = model.turned_depth(depth, torch.from_numpy(walk.agent_pos))
    assert found is not None
    return found


def encoded(model: WorldModel, walk: Walk, frames: slice) -> Tensor:
    """Latents `[K, V, c, h, w]` of some frames of a walk."""
    pixels, agent = torch.from_numpy(walk.pixels[frames]), torch.from_numpy(walk.agent_pos[frames])
    parts = [
        model.encode(*(part[first : first + AT_ONCE] for part in (pixels, agent)))
        for first in range(0, len(pixels), AT_ONCE)
    ]
    return torch.cat(parts)


def fill(
    memory: Memory,
    latents: Tensor,
    cameras: FrameCameras,
    depth: Tensor,
    config: MemoryConfig,
    reader: FrameReader | None,
) -> None:
    """Show a memory frames `[K, V, c, h, w]` one by one, the same in all rows.

    Depth `[K, V, H, W]` is shown only to one that reads the simulator's.
    """
    rows, views = len(cameras.known), latents.shape[1]
    privileged = memory.reads_depth and registered_depths().get(config.depth).privileged
    for k in range(len(latents)):
        number = torch.full((rows, 1), k, device=latents.device)
        told = depth[k].to(latents).expand(rows, 1, -1, -1, -1) if privileged else None
        at = FrameCameras(cameras.pose[:, k : k + 1], cameras.intrinsics, cameras.known)
        mask = latents.new_ones(rows, 1, views)
        count = torch.ones(rows, dtype=torch.long, device=latents.device)
        one = latents[k].expand(rows, 1, -1, -1, -1, -1)
        memory.update(ShownFrames(one, at, mask, count, number, told, reader))


def copy_latents(model: WorldModel, walk: Walk, arm: Arm) -> Streamed:
    """The return as the render of a model's memory shows it, by its tokenizer alone."""
    memory = first_visit(model, walk, arm, 1)
    with torch.inference_mode():
        previous = encoded(model, walk, slice(walk.back - 1, walk.back))
        found, seconds = _copied(memory, cameras_of(model, walk, slice(None), 1), walk, previous)
        agent = torch.from_numpy(walk.agent_pos[walk.back :, None])
        shown = [
            model.decode(latents, state=state).cpu().numpy()
            for latents, state in zip(found, agent, strict=True)
        ]
    frames = np.concatenate([walk.pixels[: walk.back], *shown])[:, None]
    kept = float(memory.stats().get("bytes", 0.0))
    return Streamed(frames, None, seconds, kept)


def copy_pixels(walk: Walk) -> Streamed:
    """The return as a map of the first visit's pixels shows it, by true depth; no network at all.

    What the map does not cover stays as it was in the frame before.
    """
    config = MemoryConfig(
        "points", points=PIXEL_POINTS, voxel=PIXEL_VOXEL, detail=1, depth="simulator"
    )
    views, high, wide = walk.pixels.shape[1:4]
    size = MemorySize(walk.spec, (views, 3, high, wide), 1, torch.device("cpu"))
    with torch.inference_mode():
        memory = registered_memories().get("points").new(config, size)
        colours = torch.from_numpy(walk.pixels[: walk.back]).movedim(-1, 2).float()
        pose = torch.from_numpy(walk.poses).float()[None]
        intrinsics = torch.from_numpy(walk.rig.intrinsics).float()[None]
        cameras = FrameCameras(pose, intrinsics, torch.ones(1))
        depth = torch.from_numpy(walk.depth)[: walk.back]
        fill(memory, colours, cameras, depth, config, None)
        found, seconds = _copied(memory, cameras, walk, colours[-1:])
    shown = torch.cat(found).movedim(2, -1).round().clamp(0, 255).to(torch.uint8).numpy()
    frames = np.concatenate([walk.pixels[: walk.back], shown])[:, None]
    return Streamed(frames, None, seconds, float(memory.stats()["bytes"]))


def _copied(
    memory: Memory, cameras: FrameCameras, walk: Walk, previous: Tensor
) -> tuple[list[Tensor], float]:
    """Renders of a memory `[1, V, c, h, w]` along the return, and the seconds of one."""
    found, seconds = [], []
    for t in range(walk.back, len(walk.pixels)):
        begun = perf_counter()
        at = FrameCameras(cameras.pose[:, t : t + 1], cameras.intrinsics, cameras.known)
        render, coverage = memory.render(at)
        previous = reference(previous[None], render, coverage)[0]
        seconds.append(perf_counter() - begun)
        found.append(previous)
    return found, float(np.median(seconds))
