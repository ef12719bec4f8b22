"""One start of an imagined episode: a first observation, and what is known of it.

Legend: N starts, V view, H, W pixels, P proprioception, S state.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from worldsim.cameras.rig import CameraRig
from worldsim.conventions import stack_views
from worldsim.data.channels import checked_extras, extra_channels
from worldsim.errors import UsageError
from worldsim.judge.judge import ObservedFrame
from worldsim.sampling.stream import Stream
from worldsim.spec import WorldSpec

Float = NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class Start:
    """One first observation, and what is needed to begin the same episode in the simulator.

    Attributes:
        pixels: uint8 `[V, H, W, 3]`.
        agent_pos: `[P]`.
        task: instruction text.
        rig: camera calibration, or None if unknown.
        state: `[S]` privileged state; empty if unknown.
        seed: given to the simulator's reset, or None where there was none.
        factors: factors of variation.
        views: `[V]` bool, False for cameras that are missing; None: all are there.
        drawn: whether the simulator itself drew the pixels; else a video was decoded.
        extras: what is known of the optional channels that the world records, one row of each.
    """

    pixels: NDArray[np.uint8]
    agent_pos: Float
    task: str
    rig: CameraRig | None = None
    state: Float = field(default_factory=lambda: np.zeros(0, np.float32))
    seed: int | None = None
    factors: dict[str, Any] = field(default_factory=dict)
    views: NDArray[np.bool_] | None = None
    drawn: bool = False
    extras: Mapping[str, NDArray[Any]] = field(default_factory=dict)

    def after(self, running: "Start") -> "Start":
        """This observation of the episode that began with `running`.

        What an observation does not tell stays as it was: calibration, instruction, and which
        cameras are missing (one whose picture is not black is there now).
        """
        views = self.views
        if views is None and running.views is not None:
            views = running.views | self.pixels.any(axis=(1, 2, 3))
        task, rig = self.task or running.task, self.rig or running.rig
        return replace(self, task=task, rig=rig, views=views)


def is_observation(state: Any) -> bool:
    """Whether an initial state is an observation; others name a start or are a simulator's."""
    if isinstance(state, Start):
        return True
    return (
        isinstance(state, Mapping)
        and {"pixels", "agent_pos"} <= set(state)
        and "physics" not in state
    )


def start_of_observation(
    state: Any, spec: WorldSpec, where: str = "options['initial_state']"
) -> Start:
    """A `Start` out of an observation of one env.

    Args:
        state: a `Start`, or a mapping with `pixels` ({camera: uint8 [H, W, 3]} or uint8
            `[V, H, W, 3]`), `agent_pos`, and optionally `task`, `rig` and `extras`.
        spec: the world it must fit.
        where: what is being read, for messages.

    Raises:
        UsageError: something is missing or of another shape.
    """
    if isinstance(state, Start):
        start = state
    elif not isinstance(state, Mapping) or not {"pixels", "agent_pos"} <= set(state):
        given = sorted(state) if isinstance(state, Mapping) else type(state).__name__
        raise UsageError(f"{where}: expected a Start, or pixels and agent_pos, got {given}")
    else:
        frames = state["pixels"]
        if isinstance(frames, Mapping):
            frames = stack_views(frames, spec.camera_names)
        agent_pos = np.asarray(state["agent_pos"], np.float32)
        task, rig = str(state.get("task", "")), state.get("rig")
        extras = state.get("extras") or {}
        start = Start(np.asarray(frames), agent_pos, task, rig, extras=extras)
    _check_first(start.pixels, start.agent_pos, spec, where)
    _check_rig(start.rig, spec, where)
    return replace(start, extras=checked_extras(start.extras, spec, where))


def _check_first(frames: NDArray[np.uint8], agent_pos: Float, spec: WorldSpec, where: str) -> None:
    """Refuse a first observation that does not fit `spec`."""
    camera = spec.cameras[0]
    expected = (len(spec.cameras), camera.height, camera.width, 3)
    if frames.dtype != np.uint8 or frames.shape != expected:
        raise UsageError(
            f"{where}: pixels are {frames.dtype} {frames.shape}, expected uint8 {expected} for "
            f"cameras {', '.join(spec.camera_names)}"
        )
    if agent_pos.shape != (spec.agent_pos.dim,) or not np.isfinite(agent_pos).all():
        raise UsageError(
            f"{where}: agent_pos must be {spec.agent_pos.dim} finite numbers "
            f"({', '.join(spec.agent_pos.names)}), got {agent_pos.tolist()}"
        )


def _check_rig(rig: Any, spec: WorldSpec, where: str) -> None:
    """Refuse a calibration that is not of the cameras of `spec`."""
    if rig is None:
        return
    expected = f"a worldsim.cameras.rig.CameraRig of cameras {', '.join(spec.camera_names)}"
    if not isinstance(rig, CameraRig):
        raise UsageError(f"{where}: rig is a {type(rig).__name__}, expected {expected}")
    if not set(spec.camera_names) <= set(rig.names):
        raise UsageError(f"{where}: rig is of cameras {', '.join(rig.names)}, expected {expected}")


def _stack_rigs(starts: Sequence[Start], names: Sequence[str]) -> dict[str, NDArray[Any]] | None:
    """Calibration of N starts as `Stream.reset` takes it; intrinsics of what is unknown are 0.

    None if nothing is known.

    Args:
        starts: N of them.
        names: of the cameras, in the order of the world they are for.
    """
    rigs = [None if start.rig is None else start.rig.arranged(names) for start in starts]
    known = next((rig for rig in rigs if rig is not None), None)
    if known is None:
        return None
    blank = {
        "intrinsics": np.zeros_like(known.intrinsics, np.float32),
        "extrinsics": np.zeros_like(known.extrinsics, np.float32),
        "mounted": np.zeros_like(known.mounted),
    }
    each = [blank if rig is None else vars(rig) for rig in rigs]
    return {
        name: np.stack([np.asarray(rig[name], value.dtype) for rig in each])
        for name, value in blank.items()
    }


def _stack_extras(starts: Sequence[Start], spec: WorldSpec) -> dict[str, Float]:
    """Extras of N starts as `Stream.reset` takes them; NaN where a start does not tell.

    What the stream's world does not record is left out: worlds that differ in that are one.
    """
    rows = {
        name: np.asarray(values, np.float32)
        for start in starts
        for name, values in start.extras.items()
        if name in extra_channels(spec)
    }
    return {
        name: np.stack([s.extras.get(name, np.full_like(row, np.nan)) for s in starts])
        for name, row in rows.items()
    }


def stack_states(starts: Sequence[Start], read: Float, spec: WorldSpec) -> Float:
    """Privileged states of N starts `[N, S]`, S as the model's `spec` says.

    The unknown ones are as a judge has `read` them, `[N, S]`, and NaN where it reads none.
    """
    unknown = np.full(spec.state.dim, np.nan, np.float32)
    return np.stack(
        [
            next((known for known in (start.state, row) if known.shape == unknown.shape), unknown)
            for start, row in zip(starts, read, strict=True)
        ]
    )


def carrier_poses(stream: Stream, agent_pos: Float, state: Float) -> Float | None:
    """Poses `[N, 4, 4]` of what carries cameras; None in worlds that record or tell none.

    Args:
        stream: of the world.
        agent_pos: `[N, P]` of the frames that are asked for.
        state: `[N, S]` of the same.
    """
    dynamics, device = stream.model.dynamics, stream.model.device
    if not stream.spec.camera_pose:
        return None
    agent, objects = (torch.from_numpy(np.array(part)).to(device) for part in (agent_pos, state))
    with torch.inference_mode():
        pose = dynamics.pose(dynamics.join(agent, objects))
    return None if pose is None else pose.cpu().numpy()


def first_shown(stream: Stream, starts: Sequence[Start]) -> ObservedFrame:
    """N first observations as a judge is shown them, before it has read states off them.

    A pose that depends on a state which a start does not know is NaN.
    """
    agent_pos = np.stack([start.agent_pos for start in starts])
    unread = np.full((len(starts), stream.spec.state.dim), np.nan, np.float32)
    pose = carrier_poses(stream, agent_pos, stack_states(starts, unread, stream.spec))
    return ObservedFrame(np.stack([start.pixels for start in starts]), agent_pos, pose)


def begin_stream(
    stream: Stream,
    starts: Sequence[Start],
    state: Float | None,
    env_ids: Sequence[int],
    seed: int,
    rows: Sequence[int] | None = None,
) -> None:
    """Put a stream to N starts, with calibration and missing cameras.

    Args:
        stream: of the starts' world.
        starts: N of them.
        state: privileged states `[N, S]`; None reads them off the frames.
        env_ids: N numbers that name the noise.
        seed: of the noise.
        rows: N rows of the stream to put there; None makes it one of N rows.
    """
    views = [np.ones(len(s.pixels), bool) if s.views is None else s.views for s in starts]
    stream.reset(
        np.stack([start.pixels for start in starts]),
        np.stack([start.agent_pos for start in starts]),
        _stack_rigs(starts, stream.spec.camera_names),
        env_ids,
        seed,
        rows,
        state=state,
        views=None if all(start.views is None for start in starts) else np.stack(views),
        extras=_stack_extras(starts, stream.spec),
    )
