"""Streams of imagined frames: actions in, chunks of frames out, for as long as asked.

One engine for every schedule. Pushed actions move agent and objects at once; frames follow.

Legend: N envs, V views, H W pixels, c h w latent, A action, P proprioception, S state, K frames,
D world state, L most frames in flight.
"""

import copy
from collections.abc import Mapping, Sequence
from typing import Self

import numpy as np
import torch
from torch import Tensor

from worldsim.diffusion.schedule import Schedule
from worldsim.errors import UsageError
from worldsim.memory.base import Memory
from worldsim.models.denoisers.conditioning import Conditioning
from worldsim.models.world_model import WorldModel
from worldsim.rows import exchange_rows, take_rows
from worldsim.sampling.chunk_sampler import ChunkSampler
from worldsim.sampling.initial import initial_rows, warn_if_uncalibrated
from worldsim.sampling.redraw import branched
from worldsim.sampling.sampler import (
    Acceleration,
    Precision,
    Sampler,
    Solver,
    check_schedule,
    for_inference,
)
from worldsim.sampling.stream_rows import (
    Array,
    Chunk,
    Rows,
    StreamRows,
    check_actions,
    check_world_states,
    dropped,
    next_conditions,
    padded,
    push_actions,
    take_finished,
)


class Stream:
    """A batch of independent streams of one world model.

    Args:
        model: the world model; it is copied, never changed.
        schedule: the order of denoising.
        solver: how chunks go down a level.
        precision: of denoiser and tokenizer; "auto" takes bfloat16 where it is fast.
        acceleration: how passes are run; see `worldsim.sampling.sampler`.

    Raises:
        UsageError: the model's context cannot take in what one pass finishes, or the schedule has
            levels that a distilled model does not know.
    """

    def __init__(
        self,
        model: WorldModel,
        schedule: Schedule,
        solver: Solver = "ode",
        precision: Precision = "auto",
        acceleration: Acceleration = "none",
    ) -> None:
        check_schedule(model, schedule, solver)
        self.model = for_inference(model, precision, acceleration)
        self.spec, self.schedule = model.spec, schedule
        parts = self.model.denoiser, schedule, model.config.history_sigma, solver
        self._sampler = ChunkSampler(*parts)
        self._rows: StreamRows | None = None
        self._cond: Conditioning | None = None
        self._warned = False

    @classmethod
    def of(cls, model: WorldModel, sampler: Sampler) -> Self:
        """A stream of `model` that is sampled as `sampler` says; see `Stream`."""
        return cls(model, sampler.schedule(), sampler.solver, acceleration=sampler.acceleration)

    @property
    def num_envs(self) -> int:
        """N."""
        return self._running.sampling.count

    @property
    def waiting(self) -> np.ndarray:
        """`[N]` actions pushed whose frames are not finished."""
        return self._running.queue.length.copy()

    @property
    def _running(self) -> StreamRows:
        if self._rows is None:
            raise UsageError("a stream was used before reset; call reset(...) first")
        return self._rows

    @torch.inference_mode()
    def reset(
        self,
        pixels: Array,
        agent_pos: Array,
        rig: Mapping[str, Array] | None = None,
        env_ids: Sequence[int] | None = None,
        seed: int = 0,
        rows: Rows = None,
        state: Array | None = None,
        views: Array | None = None,
        extras: Mapping[str, Array] | None = None,
    ) -> None:
        """Start streams from given first frames.

        Args:
            pixels: uint8 `[N, V, H, W, 3]`.
            agent_pos: `[N, P]`.
            rig: `intrinsics [N,V,3,3]`, `extrinsics [N,V,4,4]`, `mounted [N,V]`; None if unknown.
            env_ids: names of the streams for their noise; default 0..N-1.
            seed: noise seed.
            rows: restart only these rows of the running batch (N = len(rows)), leave the others.
            state: `[N, S]`, NaN where unknown, which is read off the frames.
            views: `[N, V]` bool, False where a camera is missing, which stays black.
            extras: optional channels of the first frames that the world records, such as
                `camera_pose [N, V, 4, 4]` (NaN where the rig tells it) and `depth [N, V, H, W]`.

        Raises:
            UsageError: shapes do not fit the model's spec.
        """
        keys = [(seed, int(env)) for env in (range(len(pixels)) if env_ids is None else env_ids)]
        given = (pixels, agent_pos, rig, keys, state, views, extras)
        fresh = initial_rows(self.model, self.schedule, *given)
        self._warned = self._warned or warn_if_uncalibrated(self.model, fresh)
        if rows is not None:
            # Queues are as wide as their longest row.
            fresh.queue = padded(fresh.queue, self._running.queue.action.shape[1])
            fresh = exchange_rows(self._running, rows, fresh, self.num_envs)
        self._rows, self._cond = fresh, None

    @torch.inference_mode()
    def push(self, actions: Array, rows: Rows = None, *, world_states: Array | None = None) -> None:
        """Add actions at the end of the streams.

        Args:
            actions: `[N, K, A]`, normalised as the spec says; clipped to its limits.
            rows: of the batch; all by default.
            world_states: `[N, K, D]` where the actions take agent and objects, physical units,
                from a recording or a tracker; by default the dynamics say it.

        Raises:
            UsageError: wrong shape, or NaN.
        """
        index = list(range(self.num_envs)) if rows is None else list(rows)
        checked = check_actions(self.spec, actions, len(index), chunks=True)
        self._push(checked, index, world_states)

    def _push(self, checked: np.ndarray, index: list[int], world_states: Array | None) -> None:
        """Queue checked actions `[n, K, A]` for the rows `index`."""
        if not checked.shape[1]:
            return
        running, actions = self._running, torch.as_tensor(checked, device=self.model.device)
        given = check_world_states(world_states, actions, running.world_state_dim)
        push_actions(running, self.model.dynamics, index, actions, given)
        self._cond = None

    @torch.inference_mode()
    def step(self) -> Chunk | None:
        """One pass of the denoiser; what it finishes, or nothing.

        Raises:
            UsageError: too few actions were pushed.
        """
        due, queued = self._sampler.due(self._running.sampling), self._running.queue.length
        if (queued < due).any():
            row = int(np.argmax(due - queued))
            raise UsageError(
                f"the next pass needs {due[row]} actions beyond the newest frame and row {row} has "
                f"{queued[row]}; push {due[row] - queued[row]} more, or drain()"
            )
        return self._advance()

    @torch.inference_mode()
    def act(self, actions: Array, world_states: Array | None = None) -> Chunk:
        """One action for every env, and its frame: what an env's step needs.

        Args:
            actions: `[N, A]`, normalised as the spec says; clipped to its limits.
            world_states: `[N, D]`, see `push`.

        Raises:
            UsageError: wrong shape, NaN, a schedule of longer chunks, or other actions are waiting.
        """
        if self.waiting.any():
            waiting = f"act takes one action at a time and {self.waiting.max()} pushed before wait"
            raise UsageError(f"{waiting} for their frames; drain() first")
        checked = check_actions(self.spec, actions, self.num_envs, chunks=False)
        given = None if world_states is None else np.asarray(world_states)[:, None]
        self._push(checked, list(range(self.num_envs)), given)
        return self.drain()[0]

    @torch.inference_mode()
    def drain(self) -> list[Chunk]:
        """Finish every frame whose action was pushed.

        Raises:
            UsageError: pushed actions do not make whole chunks.
        """
        length, chunk = self._running.queue.length, self.schedule.chunk
        if (length % chunk).any():
            row = int(np.argmax(length % chunk))
            raise UsageError(
                f"row {row} waits for {length[row]} frames and chunks have {chunk}; push "
                f"{-length[row] % chunk} more actions"
            )
        passes = []
        while self._running.queue.length.any():
            passes.append(self._advance())
        return [chunk for chunk in passes if chunk is not None]

    @torch.inference_mode()
    def revise(self, actions: Array, *, world_states: Array | None = None) -> None:
        """Take back every action whose frame is not finished, and push others instead.

        Args:
            actions: `[N, K, A]`, from the first unfinished frame on.
            world_states: `[N, K, D]`, see `push`.

        Raises:
            UsageError: wrong shape, or NaN; the stream is unchanged then.
        """
        running = self._running
        checked = check_actions(self.spec, actions, self.num_envs, chunks=True)
        check_world_states(world_states, torch.as_tensor(checked), running.world_state_dim)
        running.sampling.restart(np.ones(self.num_envs, dtype=bool))
        running.queue = dropped(running.queue, running.queue.length)
        running.pushed = take_rows(running.shown, range(self.num_envs))
        self._cond = None
        self._push(checked, list(range(self.num_envs)), world_states)

    def _advance(self) -> Chunk | None:
        running = self._running
        # Some rows may move on in place.
        before = None if self.model.event_head is None else self.newest.clone()
        if self._cond is None:
            self._cond = next_conditions(self.model, running)
        finished = self._sampler.advance(running.sampling, self._cond, running.queue.length)
        if finished is None:
            return None
        self._cond = None
        return take_finished(self.model, running, *finished, before=before)

    @property
    def newest(self) -> Tensor:
        """Latents `[N, V, c, h, w]` of the newest finished frame of every row."""
        return self._running.sampling.recent[:, -1]

    @property
    def memory(self) -> Memory | None:
        """Kept beyond the context; None without one."""
        return self._running.memory

    @property
    def world_state(self) -> Tensor:
        """A copy of the state `[N, D]` in the newest finished frame, physical units."""
        return self._running.shown.current.clone()

    @property
    def pose(self) -> Tensor | None:
        """`[N, 4, 4]` of what carries cameras in the newest frame; None in worlds without poses."""
        return self.model.dynamics.pose(self.world_state) if self.spec.camera_pose else None

    @torch.inference_mode()
    def pixels(self) -> np.ndarray:
        """`show` of the newest finished frames, uint8 `[N, V, H, W, 3]`."""
        return self.show(self.newest)

    @torch.inference_mode()
    def show(
        self, latents: Tensor, rows: Rows = None, agent_pos: Tensor | None = None
    ) -> np.ndarray:
        """Frames uint8 `[n, V, H, W, 3]` of latents `[n, V, c, h, w]`; of missing cameras black.

        `rows` of the batch are theirs, all by default, and `agent_pos` `[n, P]`; None: the newest.
        """
        index = list(range(self.num_envs)) if rows is None else list(rows)
        mask = self._running.view_mask[index, 0].bool()
        state = self._running.shown.current[index] if agent_pos is None else agent_pos
        return np.asarray(self.model.decode(latents, mask, state).cpu().numpy())

    def select(self, rows: Sequence[int]) -> None:
        """Keep only these rows, in this order; the others cost nothing from now on."""
        self._rows, self._cond = take_rows(self._running, rows), None

    def fork(self, draws: int = 0) -> Self:
        """A continuation that shares the weights; or `draws` of all rows, by other noise."""
        twin = copy.copy(self)
        twin._rows, twin._cond = branched(self._running, draws), None
        return twin
