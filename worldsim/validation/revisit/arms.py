"""Arms of a revisit: one model, of which the memory alone differs, and copies without a network.

Every registered memory is an arm under its own name. The others are below. Two memories and one
source of depth exist for them alone; importing this file registers these.

Legend: N rows, S kept frames, T frames of a walk or to come, V views, H W pixels.
"""

from dataclasses import dataclass, replace
from typing import Literal

import torch
from torch import Tensor

from worldsim.errors import UsageError, unknown_name
from worldsim.memory.base import (
    FrameCameras,
    Memory,
    MemoryConfig,
    ShownFrames,
    register_memory,
    registered_memories,
)
from worldsim.memory.depth import DEPTHS, Depth, DepthSource
from worldsim.memory.frames import FrameMemory
from worldsim.memory.frames_points import FramesPointsMemory
from worldsim.memory.points import PointMemory

Maker = Literal["model", "latents", "pixels"]
RANDOM, TOLD = "random_frames", "told"
NONE, ORACLE = "none", "oracle"


@register_memory(RANDOM)
class RandomFrames(FrameMemory):
    """Keeps what `frames` keeps, and gives any of them: retrieval without a reason."""

    def retrieve(self, cameras: FrameCameras) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        if not self.width:
            return self.widened(1).retrieve(cameras)
        frames, most = cameras.pose.shape[1], min(self.config.retrieved, self.width)
        able = (self.number >= 0) & (self.number < self.now[:, None] - self.config.skipped)
        draws = []
        for now, may in zip(self.now.tolist(), able, strict=True):
            # A function of the frame alone, so that a row does not depend on those beside it, nor
            # on how much they hold.
            generator = torch.Generator().manual_seed(int(now))
            lots = torch.rand(frames, self.config.frames, generator=generator).to(self.latents)
            draws.append(lots[:, : self.width].masked_fill(~may, -1.0))
        best = torch.stack(draws).topk(most, dim=-1)
        return self.chosen(cameras, best.indices, (best.values >= 0).float())


@DEPTHS.register(TOLD)
class ToldDepth(DepthSource):
    """The depth of a walk that the streams follow, frame by frame, imagined ones too."""

    privileged = True
    table: Tensor | None = None

    def depth(self, shown: ShownFrames, past: ShownFrames | None) -> Depth | None:
        assert self.spec.depth is not None, "a revisit has checked that its world tells depth"
        metres = shown.depth
        if metres is None and self.table is not None:
            metres = self.table[shown.number].to(shown.latents)
        return None if metres is None else Depth(metres, self.spec.depth)


def tell_depth(memory: Memory, table: Tensor) -> None:
    """Give a map the depth `[T, V, H, W]` of the walk that all its rows follow."""
    points = memory.points if isinstance(memory, FramesPointsMemory) else memory
    if isinstance(points, PointMemory) and isinstance(points.source, ToldDepth):
        points.source.table = table


@dataclass(frozen=True)
class Arm:
    """Attributes:
    name: of the arm.
    words: what differs in it.
    memory: registered; None takes the model's own.
    depth: registered source of depth; None takes the model's own.
    noise: standard deviation of the logarithm of each frame's scale of told depth.
    maker: who makes the frames: the model, or the memory's render alone, as latents or as pixels.
    wrong: whether the memory is that of another scene when the return begins.
    """

    name: str
    words: str
    memory: str | None = None
    depth: str | None = None
    noise: float = 0.0
    maker: Maker = "model"
    wrong: bool = False

    @property
    def told(self) -> bool:
        """Whether it needs the depth of the walks."""
        return self.depth == TOLD or self.maker == "pixels"

    def config(self, own: MemoryConfig) -> MemoryConfig:
        """Its memory, sizes as in the model's own."""
        name = self.memory
        if name is None:
            tells = registered_memories().get(own.name)
            name = "points" if not tells.tells or tells.told_truth else own.name
        return replace(own, name=name, depth=self.depth or own.depth)


EXTRA = (
    Arm(RANDOM, "frames retrieved at random", memory=RANDOM),
    Arm("points_simulator", "a map by the simulator's depth", memory="points", depth=TOLD),
    Arm(
        "points_corrupted",
        "the same, of a wrong scale in every frame",
        memory="points",
        depth=TOLD,
        noise=0.1,
    ),
    Arm("wrong_room", "the model's own memory, of another scene", wrong=True),
    Arm("copy_render", "no network: the render of the model's own memory", maker="latents"),
    Arm("copy_pixels", "no network: pixels drawn again by the simulator's depth", maker="pixels"),
)


def known_arms() -> dict[str, Arm]:
    """Every arm by its name."""
    memories = (Arm(name, f"memory {name}", memory=name) for name in registered_memories())
    return {each.name: each for each in (*memories, *EXTRA)}


def chosen_arms(names: tuple[str, ...] | None) -> tuple[Arm, ...]:
    """Arms by their names, none first since the others are compared with it; None takes all.

    Raises:
        UsageError: there is no such arm, or one stands there twice.
    """
    known = known_arms()
    if names is None:
        return tuple(sorted(known.values(), key=lambda each: (each.name != NONE, each in EXTRA)))
    if not names:
        raise UsageError(f"arms is []; name some of {', '.join(known)}, or null for all")
    for name in names:
        if name not in known:
            raise unknown_name("arm", name, known)
    if len(set(names)) < len(names):
        raise UsageError(f"arms are {list(names)}; name each of them once")
    return tuple(known[name] for name in names)


def told_depth(depth: Tensor, noise: float) -> Tensor:
    """The depth `[T, V, H, W]` of a walk, each frame off by a scale of its own."""
    generator = torch.Generator().manual_seed(0)
    scale = (noise * torch.randn(len(depth), generator=generator)).exp()
    return depth * scale[:, None, None, None]
