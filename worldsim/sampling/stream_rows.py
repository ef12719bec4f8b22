"""The rows of a batch of streams: actions pushed, where these lead, and frames finished.

Legend: N rows, n some of them, V views, c h w latent, K actions or frames, L most frames in flight,
Q width of the queue, A action, D world state (agent and objects), P proprioception, S state,
E events.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from worldsim.errors import UsageError
from worldsim.memory.base import Memory
from worldsim.models.conditioners.steps import FrameSteps, RigTensors
from worldsim.models.denoisers.conditioning import Conditioning
from worldsim.models.dynamics.base import Dynamics
from worldsim.models.recall import recall, remember
from worldsim.models.world_model import WorldModel
from worldsim.rows import take_rows
from worldsim.sampling.chunk_sampler import SamplerState
from worldsim.sampling.walls import meet_walls
from worldsim.spec import WorldSpec

Array = np.ndarray | Tensor
Rows = Sequence[int] | None
"""Of a batch; None for all of them."""


@dataclass(eq=False)
class StatePair:
    """Hand and objects in one frame and in the one before.

    Attributes:
        current: `[N, D]`, physical units.
        previous: `[N, D]`.
    """

    current: Tensor
    previous: Tensor


@dataclass(eq=False)
class Queue:
    """Actions whose frames are not finished, oldest first; rows may hold differently many.

    Attributes:
        action: `[N, Q, A]`.
        before: `[N, Q, D]` world state before each.
        after: `[N, Q, D]` world state after it.
        free: `[N, Q, 1]` 1 where the dynamics say so, 0 where it was given.
        length: `[N]` how many of Q are real.
    """

    action: Tensor
    before: Tensor
    after: Tensor
    free: Tensor
    length: np.ndarray

    @property
    def parts(self) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        return self.action, self.before, self.after, self.free


def padded(queue: Queue, width: int) -> Queue:
    """The same queue, at least `width` wide."""
    lacking = max(width - queue.action.shape[1], 0)
    wide = [torch.nn.functional.pad(part, (0, 0, 0, lacking)) for part in queue.parts]
    return Queue(wide[0], wide[1], wide[2], wide[3], queue.length)


def appended(queue: Queue, rows: list[int], new: tuple[Tensor, Tensor, Tensor, Tensor]) -> Queue:
    """A queue with K more entries in `rows`: `parts` of these, `[n, K, ...]`."""
    added, length = new[0].shape[1], queue.length.copy()
    length[rows] += added
    wide = padded(queue, int(length.max()))
    device = queue.action.device
    index = torch.as_tensor(rows, device=device)[:, None]
    columns = torch.as_tensor(queue.length[rows], device=device)[:, None]
    columns = columns + torch.arange(added, device=device)
    parts = []
    for part, entries in zip(wide.parts, new, strict=True):
        fresh = part.clone()
        fresh[index, columns] = entries
        parts.append(fresh)
    return Queue(parts[0], parts[1], parts[2], parts[3], length)


def dropped(queue: Queue, frames: np.ndarray) -> Queue:
    """A queue without the first `frames` `[N]` entries of each row."""
    length, device = queue.length - frames, queue.action.device
    width = int(length.max())
    columns = torch.as_tensor(frames, device=device)[:, None] + torch.arange(width, device=device)
    columns = columns.clamp(max=max(queue.action.shape[1] - 1, 0))
    index = torch.arange(len(frames), device=device)[:, None]
    kept = [part[index, columns] for part in queue.parts]
    return Queue(kept[0], kept[1], kept[2], kept[3], length)


@dataclass(eq=False)
class StreamRows:
    """Everything that belongs to the rows of a batch of streams.

    Attributes:
        sampling: frames in the making, and the context.
        queue: actions pushed for them.
        pushed: agent and objects after the last action pushed.
        shown: agent and objects in the newest finished frame.
        rig: calibration.
        view_mask: `[N, 1, V]`.
        memory: of the frames shown; None if the model keeps none.
    """

    sampling: SamplerState
    queue: Queue
    pushed: StatePair
    shown: StatePair
    rig: RigTensors
    view_mask: Tensor
    memory: Memory | None

    @property
    def world_state_dim(self) -> int:
        """D."""
        return self.shown.current.shape[-1]


@dataclass(frozen=True, eq=False)
class StateRollout:
    """Hand and objects along K actions.

    Attributes:
        before: `[n, K, D]` world state before each action.
        after: `[n, K, D]` world state after it.
        end: after the last action.
    """

    before: Tensor
    after: Tensor
    end: StatePair


def state_rollout(
    dynamics: Dynamics, start: StatePair, actions: Tensor, given: Tensor | None
) -> StateRollout:
    """Hand and objects from `start` on under actions `[n, K, A]`, of which there is at least one.

    Args:
        dynamics: says where an action leads.
        start: of n rows.
        actions: normalised.
        given: `[n, K, D]` where the actions lead; None asks the dynamics.
    """
    pair, before, after = start, [], []
    mask = actions.new_ones(len(actions))
    for step in range(actions.shape[1]):
        last, now, action = pair.previous, pair.current, actions[:, step]
        moved = dynamics.step(last, now, action, mask) if given is None else given[:, step]
        before.append(now)
        after.append(moved)
        pair = StatePair(moved, now)
    return StateRollout(torch.stack(before, 1), torch.stack(after, 1), pair)


def push_actions(
    rows: StreamRows, dynamics: Dynamics, index: list[int], actions: Tensor, given: Tensor | None
) -> None:
    """Queue checked actions `[n, K, A]` for the rows `index`, in place; see `state_rollout`."""
    pushed = rows.pushed
    every = index == list(range(len(pushed.current)))
    before = pushed if every else take_rows(pushed, index)
    rollout = state_rollout(dynamics, before, actions, given)
    if every:
        rows.pushed = rollout.end
    else:
        pushed.current[index], pushed.previous[index] = rollout.end.current, rollout.end.previous
    free = torch.full_like(actions[..., :1], float(given is None))
    rows.queue = appended(rows.queue, index, (actions, rollout.before, rollout.after, free))


def _next_steps(rows: StreamRows, frames: int) -> FrameSteps:
    """Steps to the `frames` frames after the newest one.

    Actions that are not pushed are masked, and lead nowhere.
    """
    queue, device = padded(rows.queue, frames), rows.queue.action.device
    length = torch.as_tensor(queue.length, device=device)[:, None]
    mask = torch.arange(frames, device=device) < length
    pushed, end = mask[..., None], rows.pushed.current[:, None]
    return FrameSteps(
        queue.action[:, :frames],
        mask.float(),
        torch.where(pushed, queue.before[:, :frames], end),
        torch.where(pushed, queue.after[:, :frames], end),
        rows.view_mask.expand(-1, frames, -1),
        rows.rig,
    )


def next_conditions(model: WorldModel, rows: StreamRows) -> Conditioning:
    """Conditions of the L frames after the newest one, of which memory and walls are asked."""
    if model.stride_head is not None and rows.queue.action.shape[1]:
        meet_walls(model, rows, _next_steps(rows, 1))
    steps = _next_steps(rows, rows.sampling.x.shape[1])
    view = None if rows.memory is None else recall(model, rows.memory, steps)
    return model.condition_frames(steps, view)


@dataclass(frozen=True, eq=False)
class Chunk:
    """Frames that a pass finished.

    Attributes:
        latents: `[N, K, V, c, h, w]`, oldest first, padded where a row finished fewer.
        agent_pos: `[N, K, P]` where the dynamics put the agent, physical units.
        state: `[N, K, S]` where they put the objects; as read off the frame if it is not tracked.
        frames: `[N]` how many of K are real.
        camera_pose: `[N, K, V, 4, 4]` cameras to world, NaN where their calibration is unknown;
            None in worlds that record no poses.
        events: `[N, K, E]` probability of each event of the world, as the model reads it off the
            frames; None without an event head.
    """

    latents: Tensor
    agent_pos: Tensor
    state: Tensor
    frames: np.ndarray
    camera_pose: Tensor | None = None
    events: Tensor | None = None


def take_finished(
    model: WorldModel,
    rows: StreamRows,
    latents: Tensor,
    frames: np.ndarray,
    depth: Tensor | None = None,
    before: Tensor | None = None,
) -> Chunk:
    """Show what a pass finished (see `ChunkSampler.advance`); `rows` move on in place.

    The memory takes it in, with its `depth` `[N, K, V, H, W]` if it was seen rather than imagined.
    Events are read off it where the frames `before` it `[N, V, c, h, w]` are given.
    """
    queue, count = rows.queue, latents.shape[1]
    steps, pose = _next_steps(rows, count), None
    if model.spec.camera_pose:
        known = steps.rig.known[:, None, None, None, None] > 0
        pose = steps.cameras(model.dynamics)[1].where(known, torch.nan)
    if rows.memory is not None:
        real = torch.as_tensor(frames, device=latents.device)
        remember(model, rows.memory, steps, latents, real, depth)
    events = None
    if model.event_head is not None and before is not None:
        led = torch.cat([before[:, None].to(latents), latents], dim=1)
        events = model.event_head.along(led, steps).sigmoid()
    world_state = queue.after[:, :count]
    some = np.flatnonzero(frames)
    last = torch.as_tensor(frames[some] - 1, device=world_state.device)
    index = torch.as_tensor(some, device=world_state.device)
    rows.shown.current[index] = queue.after[index, last]
    rows.shown.previous[index] = queue.before[index, last]
    rows.queue = dropped(queue, frames)
    agent_pos, state = model.dynamics.parts(world_state)
    if state.shape[-1] < model.spec.state.dim:
        mask = rows.view_mask.expand(-1, count, -1)
        state = model.read_state(latents, mask).state
    return Chunk(latents, agent_pos, state, frames, pose, events)


def check_actions(spec: WorldSpec, actions: Array, count: int, *, chunks: bool) -> np.ndarray:
    """Float32 `[count, K, A]`, clipped, of actions `[count, K, A]` or, no `chunks`, `[count, A]`.

    Raises:
        UsageError: wrong shape, or NaN.
    """
    array = np.asarray(actions, dtype=np.float32)
    fits = array.ndim == (3 if chunks else 2) and array.shape[0] == count
    if not fits or array.shape[-1] != spec.action.dim:
        expected = f"[{count}, {'K, ' if chunks else ''}{spec.action.dim}]"
        raise UsageError(f"actions have shape {list(array.shape)}, expected {expected}")
    checked = spec.action.check(array, "stream")
    return checked if chunks else checked[:, None]


def check_world_states(world_states: Array | None, actions: Tensor, dim: int) -> Tensor | None:
    """Where actions lead, `[n, K, D]` on their device; UsageError where that is no such thing."""
    if world_states is None:
        return None
    given = torch.as_tensor(np.asarray(world_states, dtype=np.float32), device=actions.device)
    expected = [*actions.shape[:2], dim]
    if list(given.shape) == expected and bool(given.isfinite().all()):
        return given
    shape = list(given.shape)
    raise UsageError(f"world_states have shape {shape}, expected {expected}, all finite")
