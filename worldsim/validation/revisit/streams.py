"""Walks streamed by a model with a memory.

In the first visit the model is shown what the simulator shows, or imagines it too from the first
frame on; the return is always imagined. Where the agent is along the way is given, so that a
memory is not judged by how well the model counts its steps.

Legend: T frames of a walk, R streams of it that differ in their noise, V views, H W pixels,
P proprioception, c h w latent.
"""

from dataclasses import dataclass, field
from time import perf_counter
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from worldsim.errors import UsageError
from worldsim.memory.oracle import OracleMemory, Truth
from worldsim.models.world_model import WorldModel
from worldsim.sampling.observed import observe
from worldsim.sampling.stream import Stream
from worldsim.validation.revisit.arms import Arm, tell_depth, told_depth
from worldsim.validation.revisit.copies import (
    Pixels,
    Streamed,
    cameras_of,
    first_visit,
    turned,
)
from worldsim.validation.revisit.walk import Walk


def require_posed(model: WorldModel) -> None:
    """Refuse a model whose state a route does not tell.

    Raises:
        UsageError: its dynamics carry more than proprioception.
    """
    if model.dynamics.dim != model.spec.agent_pos.dim:
        raise UsageError(
            f"a revisit tells a model where the agent is, and this one's dynamics carry "
            f"{model.dynamics.dim - model.spec.agent_pos.dim} entries of the simulator's state "
            "too; train it with model.dynamics.name=pose"
        )


def stream_walk(
    stream: Stream,
    walk: Walk,
    arm: Arm,
    seeds: tuple[int, ...],
    shown: bool,
    wrong: Walk | None = None,
    film: bool = False,
) -> Streamed:
    """Stream a walk.

    Args:
        stream: of a model with the arm's memory.
        walk: its way.
        arm: what its memory is told.
        seeds: R, of its noise.
        shown: whether the first visit is shown to it.
        wrong: another walk, whose first visit the memory holds when the return begins.
        film: whether renders are kept.
    """
    table = told_depth(torch.from_numpy(walk.depth), arm.noise)
    _begin(stream, walk, seeds, table)
    taken = _Taken(stream, walk, table, film)
    for t in range(1, len(walk.pixels)):
        if t == walk.back and wrong is not None:
            _exchange(stream, wrong, arm)
        taken.step(t, shown and t < walk.back)
    return taken.streamed()


@dataclass(eq=False)
class _Taken:
    """Frames of a walk so far.

    Attributes:
        stream: stands at the newest of them.
        walk: its way.
        table: depth that a map may be told, `[T, V, H, W]`.
        film: whether renders are kept.
    """

    stream: Stream
    walk: Walk
    table: Tensor
    film: bool
    frames: list[Any] = field(default_factory=list)
    depths: list[Any] = field(default_factory=list)
    renders: list[Pixels] = field(default_factory=list)
    seconds: list[float] = field(default_factory=list)

    def __post_init__(self) -> None:
        first = self.walk.pixels[0]
        self.frames.append(_repeated(first, self.stream.num_envs))
        self.depths.append(_told(self.stream))
        self.renders.append(np.zeros_like(first))

    def step(self, t: int, shown: bool) -> None:
        """Frame t, shown or imagined."""
        stream, walk, rows = self.stream, self.walk, self.stream.num_envs
        if self.film:
            self.renders.append(_render(stream, walk, t))
        action, place = (_repeated(x, rows) for x in (walk.actions[t - 1], walk.agent_pos[t]))
        if shown:
            seen = _repeated(walk.pixels[t], rows)
            observe(stream, action, seen, place, _repeated(self.table[t].numpy(), rows))
            self.frames.append(seen)
        else:
            begun = perf_counter()
            stream.act(action, place)
            self.frames.append(stream.pixels())
            self.seconds.append(perf_counter() - begun)
        self.depths.append(_told(stream))

    def streamed(self) -> Streamed:
        """All of them."""
        memory = self.stream.memory
        return Streamed(
            np.stack(self.frames),
            None if self.depths[0] is None else np.stack(self.depths),
            float(np.median(self.seconds)) if self.seconds else float("nan"),
            0.0 if memory is None else float(memory.stats().get("bytes", 0.0)),
            np.stack(self.renders) if self.film else None,
        )


def _repeated(row: NDArray[Any], rows: int) -> NDArray[Any]:
    return np.repeat(row[None], rows, axis=0)


def _begin(stream: Stream, walk: Walk, seeds: tuple[int, ...], table: Tensor) -> None:
    """Stand at the first frame of a walk."""
    rows, rig = len(seeds), walk.rig
    parts = {"intrinsics": rig.intrinsics, "extrinsics": rig.extrinsics, "mounted": rig.mounted}
    extras = {"camera_pose": _repeated(walk.poses[0], rows)}
    if stream.spec.depth is not None:
        extras["depth"] = _repeated(table[0].numpy(), rows)
    stream.reset(
        _repeated(walk.pixels[0], rows),
        _repeated(walk.agent_pos[0], rows),
        {name: _repeated(value, rows) for name, value in parts.items()},
        env_ids=seeds,
        extras=extras if stream.spec.camera_pose else None,
    )
    if isinstance(stream.memory, OracleMemory):
        stream.memory.tell([_truth(stream.model, walk)] * rows)
    elif stream.memory is not None:
        tell_depth(stream.memory, turned(stream.model, walk, table))


def _told(stream: Stream) -> NDArray[np.float32] | None:
    """What the model's head reads off its newest frames, `[R, V, h, w]`, as they are seen."""
    model = stream.model
    if model.depth_head is None:
        return None
    metres = model.depth_head.metres(stream.newest)
    if model.facing is not None:
        metres = model.facing.depth_away(metres, stream.world_state)
    return np.asarray(metres.cpu().numpy())


@torch.inference_mode()
def _render(stream: Stream, walk: Walk, frame: int) -> Pixels:
    """What the memory of the first row renders of a frame to come, uint8 `[V, H, W, 3]`."""
    memory, model = stream.memory, stream.model
    if memory is None:
        return np.zeros_like(walk.pixels[frame])
    at = cameras_of(model, walk, slice(frame, frame + 1), 1)
    latents, coverage = memory.select([0]).render(at)
    agent = torch.from_numpy(walk.agent_pos[frame])
    shown = model.decode(latents[0, 0], state=agent)
    covered = torch.nn.functional.interpolate(coverage[0, 0], shown.shape[1:3])
    if model.facing is not None:
        covered = model.facing.away(covered, agent)
    covered = covered[:, 0, ..., None].clamp(0, 1)
    return np.asarray((shown * covered).round().to(torch.uint8).cpu().numpy())


def _truth(model: WorldModel, walk: Walk) -> Truth:
    """The walk's own frames, found by where the camera stands."""
    poses = cameras_of(model, walk, slice(None), 1).pose[0]
    agent = torch.from_numpy(walk.agent_pos)

    def truth(pose: Tensor, intrinsics: Tensor) -> tuple[Tensor, Tensor]:
        apart = (poses[None].to(pose) - pose[:, None]).flatten(2).norm(dim=-1)
        nearest = apart.argmin(1).cpu()
        latents = model.encode(torch.from_numpy(walk.pixels[nearest.numpy()]), agent[nearest])
        return latents, torch.ones_like(latents[:, :, :1])

    return truth


def _exchange(stream: Stream, wrong: Walk, arm: Arm) -> None:
    """Put the memory of another walk's first visit in the place of the stream's own."""
    running = stream._running
    if running.memory is None:
        return
    now = running.memory.now
    running.memory = first_visit(stream.model, wrong, arm, len(now))
    running.memory.now = now.clone()
    stream._cond = None
