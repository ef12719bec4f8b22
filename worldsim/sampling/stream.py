"""Streams of imagined frames: actions in, chunks of frames out, for as long as asked.

One engine for every schedule (`worldsim.diffusion.schedule`). Pushed actions move the body (hand
and scene) at once, by the model's dynamics; frames follow as the schedule finishes them.

Legend: N envs, V views, H W pixels, c latent channels, h w latent size, A action, P proprioception,
S state, D body, K frames, L frames of the longest flight.
"""

import copy
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np
import torch
from torch import Tensor

from worldsim.diffusion.schedule import Schedule
from worldsim.errors import UsageError
from worldsim.models.denoisers.conditioning import Conditioning
from worldsim.models.world_model import WorldModel
from worldsim.sampling.chunk_sampler import Finished, Pilot
from worldsim.sampling.context import exchange_rows, take_rows
from worldsim.sampling.sampler import Acceleration, Descent, Precision, Sampler, for_inference
from worldsim.sampling.state_rollout import (
    Array,
    StreamRows,
    appended,
    check_actions,
    check_bodies,
    driven,
    dropped,
    padded,
    start_rows,
    warn_if_uncalibrated,
)


@dataclass(frozen=True, eq=False)
class Chunk:
    """Frames that a pass finished.

    Attributes:
        latents: `[N, K, V, c, h, w]`, oldest first, padded where a row finished fewer.
        agent_pos: `[N, K, P]` where the dynamics put the hand, physical units.
        state: `[N, K, S]` where they put the scene; as read off the frame if it is not tracked.
        frames: `[N]` how many of K are real.
    """

    latents: Tensor
    agent_pos: Tensor
    state: Tensor
    frames: np.ndarray


class Stream:
    """A batch of independent streams of one world model.

    Args:
        model: the world model; it is copied, never changed.
        schedule: the order of denoising.
        descent: how chunks go down a rung.
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
        descent: Descent = "flow",
        precision: Precision = "auto",
        acceleration: Acceleration = "none",
    ) -> None:
        written = schedule.most_emitted * schedule.chunk
        if written > model.config.recent:
            raise UsageError(
                f"a pass finishes {written} frames and the model's context holds "
                f"{model.config.recent} recent ones; use smaller chunks or windows"
            )
        model.config.ladder.check(schedule, descent)
        if model.quality is not None:
            model.quality.warn_if_short(schedule.steps)
        self.model = for_inference(model, precision, acceleration)
        self.spec, self.schedule = model.spec, schedule
        self._pilot = Pilot(self.model.denoiser, schedule, model.config.history_sigma, descent)
        self._rows: StreamRows | None = None
        self._cond: Conditioning | None = None
        self._warned = False

    @classmethod
    def of(cls, model: WorldModel, sampler: Sampler) -> Self:
        """A stream of `model` that is sampled as `sampler` says.

        Raises:
            UsageError: see `Stream`.
        """
        acceleration = sampler.acceleration
        return cls(model, sampler.schedule(), sampler.descent, acceleration=acceleration)

    @property
    def num_envs(self) -> int:
        """N."""
        return self._running.flight.count

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
        rows: Sequence[int] | None = None,
        state: Array | None = None,
        views: Array | None = None,
    ) -> None:
        """Start streams from given first frames.

        Args:
            pixels: uint8 `[N, V, H, W, 3]`.
            agent_pos: `[N, P]`.
            rig: `intrinsics [N,V,3,3]`, `extrinsics [N,V,4,4]`, `mounted [N,V]`; None if unknown,
                of which a model that was trained with calibration warns once.
            env_ids: names of the streams for their noise; default 0..N-1.
            seed: noise seed.
            rows: restart only these rows of the running batch (N = len(rows)), leave the others.
            state: `[N, S]` of the first frames, NaN where unknown; what is unknown is read off the
                frames, to about a centimetre.
            views: `[N, V]` bool, False where a camera is missing: what its frames hold is ignored,
                and it stays black; None has them all.

        Raises:
            UsageError: shapes do not fit the model's spec.
        """
        ids = range(len(pixels)) if env_ids is None else env_ids
        keys = [(seed, int(env)) for env in ids]
        fresh = start_rows(self.model, self.schedule, pixels, agent_pos, rig, keys, state, views)
        self._warned = self._warned or warn_if_uncalibrated(self.model, fresh)
        if rows is None:
            self._rows = fresh
        else:
            running, queue = self._running, fresh.queue
            # Queues are as wide as their longest row.
            fresh.queue = padded(queue, running.queue.action.shape[1])
            self._rows = exchange_rows(running, rows, fresh, self.num_envs)
        self._cond = None

    @torch.inference_mode()
    def push(
        self,
        actions: Array,
        rows: Sequence[int] | None = None,
        *,
        bodies: Array | None = None,
    ) -> None:
        """Add actions at the end of the streams.

        Args:
            actions: `[N, K, A]`, normalised as the spec says; clipped to its limits.
            rows: of the batch; all by default.
            bodies: `[N, K, D]` where the actions take hand and scene, physical units, from a
                recording or a tracker; by default the dynamics say it.

        Raises:
            UsageError: wrong shape, or NaN.
        """
        running = self._running
        index = list(range(self.num_envs)) if rows is None else list(rows)
        checked = torch.as_tensor(
            check_actions(self.spec, actions, len(index)), device=self.model.device
        )
        if not checked.shape[1]:
            return
        start = take_rows(running.pushed, index)
        known = None if bodies is None else check_bodies(bodies, checked, start.now)
        drive = driven(self.model.dynamics, start, checked, known)
        places = drive.places
        running.pushed.now[index], running.pushed.before[index] = places.now, places.before
        running.queue = appended(running.queue, index, checked, drive.before, drive.after)
        self._cond = None

    @torch.inference_mode()
    def step(self) -> Chunk | None:
        """One pass of the denoiser; what it finishes, or nothing.

        Raises:
            UsageError: too few actions were pushed.
        """
        due, queued = self._pilot.due(self._running.flight), self._running.queue.length
        if (queued < due).any():
            row = int(np.argmax(due - queued))
            raise UsageError(
                f"the next pass needs {due[row]} actions beyond the newest frame and row {row} has "
                f"{queued[row]}; push {due[row] - queued[row]} more, or drain()"
            )
        return self._advance()

    def act(self, actions: Array, bodies: Array | None = None) -> Chunk:
        """One action for every env, and its frame: what an env's step needs.

        Args:
            actions: `[N, A]`, normalised as the spec says; clipped to its limits.
            bodies: `[N, D]`, see `push`.

        Raises:
            UsageError: wrong shape, NaN, a schedule of longer chunks, or other actions are waiting.
        """
        if self.waiting.any():
            raise UsageError(
                f"act takes one action at a time and {self.waiting.max()} pushed before wait for "
                "their frames; drain() first"
            )
        array, expected = np.asarray(actions), (self.num_envs, self.spec.action.dim)
        if array.shape != expected:
            raise UsageError(f"actions have shape {array.shape}, expected {list(expected)}")
        self.push(array[:, None], bodies=None if bodies is None else np.asarray(bodies)[:, None])
        (chunk,) = self.drain()
        return chunk

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
        chunks = []
        while self._running.queue.length.any():
            finished = self._advance()
            if finished is not None:
                chunks.append(finished)
        return chunks

    @torch.inference_mode()
    def revise(self, actions: Array, *, bodies: Array | None = None) -> None:
        """Take back every action whose frame is not finished, and push others instead.

        Args:
            actions: `[N, K, A]`, from the first unfinished frame on.
            bodies: `[N, K, D]`, see `push`.

        Raises:
            UsageError: wrong shape, or NaN; the stream is unchanged then.
        """
        running = self._running
        checked = torch.as_tensor(check_actions(self.spec, actions, self.num_envs))
        if bodies is not None:
            check_bodies(bodies, checked, running.shown.now)
        running.flight.restart(np.ones(self.num_envs, dtype=bool))
        running.queue = dropped(running.queue, running.queue.length)
        running.pushed = take_rows(running.shown, range(self.num_envs))
        self.push(actions, bodies=bodies)

    def _advance(self) -> Chunk | None:
        running = self._running
        finished = self._pilot.advance(running.flight, self._conditions(), running.queue.length)
        return None if finished is None else self._show(finished)

    def _conditions(self) -> Conditioning:
        """Conditions of the L frames after the newest one; what is not known yet is not told."""
        if self._cond is None:
            running, frames = self._running, self._running.flight.x.shape[1]
            queue = padded(running.queue, frames)
            device = self.model.device
            length = torch.as_tensor(queue.length, device=device)[:, None]
            told = torch.arange(frames, device=device) < length
            self._cond = self.model.condition_frames(
                queue.action[:, :frames],
                told.float(),
                queue.before[:, :frames],
                queue.after[:, :frames],
                running.view_mask.expand(-1, frames, -1),
                running.rig,
            )
        return self._cond

    def _show(self, finished: Finished) -> Chunk:
        running, count = self._running, finished.latents.shape[1]
        body = running.queue.after[:, :count]
        rows = np.flatnonzero(finished.frames)
        last = torch.as_tensor(finished.frames[rows] - 1, device=body.device)
        index = torch.as_tensor(rows, device=body.device)
        running.shown.now[index] = running.queue.after[index, last]
        running.shown.before[index] = running.queue.before[index, last]
        running.queue, self._cond = dropped(running.queue, finished.frames), None
        agent_pos, state = self.model.dynamics.parts(body)
        if state.shape[-1] < self.spec.state.dim:
            mask = running.view_mask.expand(-1, count, -1)
            state = self.model.read_state(finished.latents, mask).state
        return Chunk(finished.latents, agent_pos, state, finished.frames)

    @property
    def newest(self) -> Tensor:
        """Latents `[N, V, c, h, w]` of the newest finished frame of every row."""
        return self._running.flight.recent[:, -1]

    @property
    def body(self) -> Tensor:
        """`[N, D]` hand and tracked scene in the newest finished frame, physical units."""
        # A copy: what is shown moves on in place.
        return self._running.shown.now.clone()

    @torch.inference_mode()
    def pixels(self) -> np.ndarray:
        """The newest finished frames, uint8 `[N, V, H, W, 3]`; those of missing cameras black."""
        return self.show(self.newest)

    @torch.inference_mode()
    def show(self, latents: Tensor, rows: Sequence[int] | None = None) -> np.ndarray:
        """Frames of finished latents, uint8 `[n, V, H, W, 3]`; those of missing cameras black.

        Args:
            latents: `[n, V, c, h, w]`.
            rows: of the batch, whose frames they are; all by default.
        """
        mask = self._running.view_mask if rows is None else self._running.view_mask[list(rows)]
        seen = mask[:, 0].bool()
        frames = self.model.decode(latents)
        if not seen.all():
            frames = frames.masked_fill(~seen[..., None, None, None], 0)
        return np.asarray(frames.cpu().numpy())

    def select(self, rows: Sequence[int]) -> None:
        """Keep only these rows, in this order; the others cost nothing from now on."""
        self._rows, self._cond = take_rows(self._running, rows), None

    def fork(self) -> Self:
        """An independent continuation that shares the weights."""
        twin = copy.copy(self)
        twin._rows, twin._cond = take_rows(self._running, range(self.num_envs)), None
        return twin
