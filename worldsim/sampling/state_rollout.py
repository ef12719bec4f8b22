"""Hand and scene of a batch of streams: where they begin, and where pushed actions take them.

Legend: N rows, n some of them, V views, H W pixels, K actions, Q width of the queue, A action,
D body, P proprioception, S state.
"""

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from worldsim.diffusion.schedule import Schedule
from worldsim.errors import QualityWarning, UsageError
from worldsim.models.tabletop.contact_dynamics import BodyDynamics
from worldsim.models.tabletop.maps import RigTensors
from worldsim.models.world_model import WorldModel
from worldsim.sampling.chunk_sampler import Flight, new_flight
from worldsim.spec import WorldSpec

Array = np.ndarray | Tensor


@dataclass(eq=False)
class Places:
    """Where hand and scene are in one frame, and were in the one before.

    Attributes:
        now: `[N, D]`, physical units.
        before: `[N, D]`.
    """

    now: Tensor
    before: Tensor


@dataclass(eq=False)
class Queue:
    """Actions whose frames are not finished, oldest first; rows may hold differently many.

    Attributes:
        action: `[N, Q, A]`.
        before: `[N, Q, D]` body before each.
        after: `[N, Q, D]` body after it.
        length: `[N]` how many of Q are real.
    """

    action: Tensor
    before: Tensor
    after: Tensor
    length: np.ndarray


def padded(queue: Queue, width: int) -> Queue:
    """The same queue, at least `width` wide."""
    lacking = max(width - queue.action.shape[1], 0)
    wide = [
        torch.nn.functional.pad(part, (0, 0, 0, lacking))
        for part in (queue.action, queue.before, queue.after)
    ]
    return Queue(wide[0], wide[1], wide[2], queue.length)


def appended(queue: Queue, rows: list[int], action: Tensor, before: Tensor, after: Tensor) -> Queue:
    """A queue with K more entries in `rows`: `[n, K, A]`, `[n, K, D]` and `[n, K, D]`."""
    added, length = action.shape[1], queue.length.copy()
    length[rows] += added
    wide = padded(queue, int(length.max()))
    device = queue.action.device
    index = torch.as_tensor(rows, device=device)[:, None]
    columns = torch.as_tensor(queue.length[rows], device=device)[:, None]
    columns = columns + torch.arange(added, device=device)
    parts = []
    for part, new in ((wide.action, action), (wide.before, before), (wide.after, after)):
        fresh = part.clone()
        fresh[index, columns] = new
        parts.append(fresh)
    return Queue(parts[0], parts[1], parts[2], length)


def dropped(queue: Queue, frames: np.ndarray) -> Queue:
    """A queue without the first `frames` `[N]` entries of each row."""
    length = queue.length - frames
    width = int(length.max())
    device = queue.action.device
    columns = torch.as_tensor(frames, device=device)[:, None] + torch.arange(width, device=device)
    columns = columns.clamp(max=max(queue.action.shape[1] - 1, 0))
    index = torch.arange(len(frames), device=device)[:, None]
    parts = [part[index, columns] for part in (queue.action, queue.before, queue.after)]
    return Queue(parts[0], parts[1], parts[2], length)


@dataclass(eq=False)
class StreamRows:
    """Everything that belongs to the rows of a batch of streams.

    Attributes:
        flight: frames in the making, and the context.
        queue: actions pushed for them.
        pushed: places after the last action pushed.
        shown: places in the newest finished frame.
        rig: calibration.
        view_mask: `[N, 1, V]`.
    """

    flight: Flight
    queue: Queue
    pushed: Places
    shown: Places
    rig: RigTensors
    view_mask: Tensor


def start_rows(
    model: WorldModel,
    schedule: Schedule,
    pixels: Array,
    agent_pos: Array,
    rig: Mapping[str, Array] | None,
    keys: Sequence[tuple[int, int]],
    state: Array | None,
    views: Array | None = None,
) -> StreamRows:
    """Rows that stand at their first frame.

    Args:
        model: the world model.
        schedule: of the streams.
        pixels: uint8 `[N, V, H, W, 3]`.
        agent_pos: `[N, P]`.
        rig: `intrinsics [N,V,3,3]`, `extrinsics [N,V,4,4]`, `mounted [N,V]`; None if unknown.
        keys: (seed, env id) of each row.
        state: `[N, S]`, NaN where unknown; what is unknown is read off the frames.
        views: `[N, V]` bool, False where a camera is missing; None has them all.

    Raises:
        UsageError: shapes do not fit the model's spec.
    """
    frames, hand = _check(model, pixels, agent_pos)
    count = len(frames)
    batch = {"agent_pos": hand[:, None]}
    device = frames.device
    batch |= {name: torch.as_tensor(value, device=device) for name, value in (rig or {}).items()}
    calibration = model.rig(batch)
    view_mask = _seen(model, views, count)
    latents = model.encode(frames) * view_mask[:, 0, :, None, None, None]
    body = model.dynamics.join(hand, _known_state(model, latents, view_mask, state))
    none = body.new_zeros(count, 1, model.spec.action.dim)
    first, unknown = body[:, None], body.new_zeros(count, 1)
    cond = model.condition_frames(none, unknown, first, first, view_mask, calibration)
    flight = new_flight(model, schedule, latents[:, None], cond, keys, uncommitted=1)
    empty = body.new_zeros(count, 0, body.shape[1])
    queue = Queue(none[:, :0], empty, empty, np.zeros(count, dtype=np.int64))
    pushed, shown = (Places(body.clone(), body.clone()) for _ in range(2))
    return StreamRows(flight, queue, pushed, shown, calibration, view_mask)


def _check(model: WorldModel, pixels: Array, agent_pos: Array) -> tuple[Tensor, Tensor]:
    frames = torch.as_tensor(pixels, device=model.device)
    camera = model.spec.cameras[0]
    expected = (model.views, camera.height, camera.width, 3)
    if frames.ndim != 5 or tuple(frames.shape[1:]) != expected:
        raise UsageError(
            f"first frames have shape {tuple(frames.shape)}, expected [N, "
            f"{', '.join(map(str, expected))}] for cameras {model.spec.camera_names}"
        )
    hand = torch.as_tensor(agent_pos, dtype=torch.float32, device=model.device)
    wanted = (len(frames), model.spec.agent_pos.dim)
    if tuple(hand.shape) != wanted:
        raise UsageError(
            f"agent_pos has shape {tuple(hand.shape)}, expected [{wanted[0]}, {wanted[1]}]"
        )
    if not hand.isfinite().all():
        raise UsageError(f"agent_pos must be finite, got {hand.tolist()}")
    return frames, hand


def warn_if_uncalibrated(model: WorldModel, rows: StreamRows) -> bool:
    """Warn (`QualityWarning`) if cameras are unknown to a model that was trained to know them.

    Returns:
        Whether there was something to warn of.
    """
    if not model.config.calibrated or bool(rows.rig.known.all()):
        return False
    warnings.warn(
        "this world model was trained with calibrated cameras and is begun without calibration, "
        "so it cannot tell where in the pictures hand and things are, and imagines much worse. "
        "Give it: `rig` (a worldsim.cameras.rig.CameraRig, such as a simulator's "
        "env.unwrapped.camera_rig) beside pixels and agent_pos of "
        "reset(options={'initial_state': ...}), Start(rig=...), Stream.reset(rig=...), or data "
        "sets whose episodes tell their rig",
        QualityWarning,
        stacklevel=3,
    )
    return True


def _seen(model: WorldModel, views: Array | None, count: int) -> Tensor:
    """`[N, 1, V]`: 1 where a camera is there."""
    if views is None:
        return torch.ones(count, 1, model.views, device=model.device)
    seen = torch.as_tensor(views, device=model.device)
    if tuple(seen.shape) != (count, model.views) or seen.dtype != torch.bool:
        raise UsageError(
            f"views is {seen.dtype} {tuple(seen.shape)}, expected bool [{count}, {model.views}] "
            f"for cameras {model.spec.camera_names}"
        )
    if not seen.any(dim=1).all():
        raise UsageError("views: a stream needs at least one camera")
    return seen.float()[:, None]


def _known_state(
    model: WorldModel, latents: Tensor, view_mask: Tensor, state: Array | None
) -> Tensor:
    """`[N, S]`: the given entries, the others as read off the frames."""
    shape = (len(latents), model.spec.state.dim)
    given = latents.new_full(shape, torch.nan)
    if state is not None:
        given = torch.as_tensor(state, device=latents.device).float()
    if tuple(given.shape) != shape:
        raise UsageError(
            f"state has shape {tuple(given.shape)}, expected {list(shape)} "
            f"({', '.join(model.spec.state.names)})"
        )
    if given.isinf().any():
        raise UsageError(f"state must be finite, or NaN where it is unknown, got {given.tolist()}")
    if not given.isnan().any():
        return given
    read = model.read_state(latents[:, None], view_mask).state[:, 0]
    return torch.where(given.isnan(), read, given)


@dataclass(frozen=True, eq=False)
class Drive:
    """A way through K actions.

    Attributes:
        before: `[n, K, D]` body before each action.
        after: `[n, K, D]` body after it.
        places: where it ends.
    """

    before: Tensor
    after: Tensor
    places: Places


def driven(dynamics: BodyDynamics, start: Places, actions: Tensor, known: Tensor | None) -> Drive:
    """The way from `start` under actions `[n, K, A]`, of which there is at least one.

    Args:
        dynamics: says where an action leads.
        start: of n rows.
        actions: normalised.
        known: `[n, K, D]` where the actions lead, if that need not be asked.
    """
    places, before, after = start, [], []
    told = actions.new_ones(len(actions))
    for step in range(actions.shape[1]):
        if known is None:
            moved = dynamics(places.before, places.now, actions[:, step], told)
        else:
            moved = known[:, step]
        before.append(places.now)
        after.append(moved)
        places = Places(moved, places.now)
    return Drive(torch.stack(before, 1), torch.stack(after, 1), places)


def check_actions(spec: WorldSpec, actions: Array, count: int) -> np.ndarray:
    """Float32 actions `[count, K, A]`, clipped to the spec's limits.

    Raises:
        UsageError: wrong shape, or NaN.
    """
    array = np.asarray(actions, dtype=np.float32)
    if array.ndim != 3 or array.shape[0] != count or array.shape[2] != spec.action.dim:
        raise UsageError(
            f"actions have shape {array.shape}, expected [{count}, K, {spec.action.dim}]"
        )
    flat = spec.action.check(array.reshape(-1, array.shape[2]), "stream")
    return flat.reshape(array.shape)


def check_bodies(bodies: Array, actions: Tensor, now: Tensor) -> Tensor:
    """Bodies `[n, K, D]` for these actions, where the actions are.

    Raises:
        UsageError: wrong shape, or not finite.
    """
    known = torch.as_tensor(np.asarray(bodies, dtype=np.float32), device=actions.device)
    expected = (*actions.shape[:2], now.shape[-1])
    if known.shape != expected or not bool(known.isfinite().all()):
        raise UsageError(
            f"bodies have shape {list(known.shape)}, expected {list(expected)}, all finite"
        )
    return known
