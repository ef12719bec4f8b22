"""The state of a schedule between two passes of the denoiser, and one pass.

A pass commits what the previous one finished (as clean leading frames that see nothing newer) and
takes every chunk in flight one step down. Rows may stand at different places of the schedule, since
envs are reset alone; those at the same place share a call.

Legend: N envs, V views, c h w latent, F frames a chunk, L most frames in flight, P most frames
that one pass finishes, K frames emitted.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from worldsim.diffusion.flow import add_noise, as_history, env_noise, step_down
from worldsim.diffusion.schedule import Schedule, next_steps
from worldsim.models.denoisers.base import Denoiser
from worldsim.models.denoisers.conditioning import Conditioning
from worldsim.models.world_model import WorldModel
from worldsim.rows import put_rows, take_rows
from worldsim.sampling.context import Context, new_context
from worldsim.sampling.sampler import Solver

UNLIMITED = 1 << 30
NoiseSource = Callable[[list[tuple[int, ...]], Sequence[int]], Tensor]


@dataclass(eq=False)
class SamplerState:
    """State of N rows.

    Attributes:
        context: what the denoiser remembers of committed frames.
        x: `[N, L, V, c, h, w]` chunks in flight, oldest first; what has not begun means nothing.
        recent: `[N, P, V, c, h, w]` the newest finished frames, clean, oldest first.
        recent_cond: their conditions.
        uncommitted: `[N]` how many of `recent`, at its end, the context has not taken in.
        passes: `[N]` passes since the schedule of the row began.
        done: `[N]` chunks finished since then.
        begun: `[N]` chunks begun since then.
        frames: `[N]` frames finished since the row's reset.
        keys: (seed, env id) of each row's noise.
    """

    context: Context
    x: Tensor
    recent: Tensor
    recent_cond: Conditioning
    uncommitted: np.ndarray
    passes: np.ndarray
    done: np.ndarray
    begun: np.ndarray
    frames: np.ndarray
    keys: list[tuple[int, int]]

    @property
    def count(self) -> int:
        """N."""
        return len(self.keys)

    def restart(self, rows: np.ndarray) -> None:
        """Forget what is in flight in `rows` `[N]` bool; their schedules begin anew."""
        for counter in (self.passes, self.done, self.begun):
            counter[rows] = 0


def new_sampler_state(
    model: WorldModel,
    schedule: Schedule,
    recent: Tensor,
    recent_cond: Conditioning,
    keys: Sequence[tuple[int, int]],
    *,
    uncommitted: int,
) -> SamplerState:
    """A state with nothing under way and an empty context.

    Args:
        model: whose streams they are; its parameters say where and how precise.
        schedule: of the streams.
        recent: `[N, R, V, c, h, w]` the newest frames there are, oldest first; the first of them
            stands for those before it.
        recent_cond: their conditions.
        keys: (seed, env id) of each row.
        uncommitted: how many of the newest frames the first pass shall commit.
    """
    count, have = recent.shape[:2]
    kept = schedule.most_emitted * schedule.chunk
    places = torch.arange(have - kept, have, device=recent.device).clamp_min(0)
    context = new_context(
        count,
        model.denoiser.context_shape,
        (model.views, *model.latent_shape),
        sink=model.config.sink,
        recent=model.config.recent,
        device=recent.device,
        dtype=next(model.denoiser.parameters()).dtype,
    )
    length = schedule.most_in_flight * schedule.chunk
    passes, done, begun, frames = np.zeros((4, count), dtype=np.int64)
    return SamplerState(
        context=context,
        x=recent.new_zeros(count, length, *recent.shape[2:]),
        recent=recent[:, places],
        recent_cond=recent_cond.pick(places),
        uncommitted=np.full(count, uncommitted, dtype=np.int64),
        passes=passes,
        done=done,
        begun=begun,
        frames=frames,
        keys=list(keys),
    )


Finished = tuple[Tensor, np.ndarray]
"""Clean frames `[N, K, V, c, h, w]` that a pass finished, oldest first, padded at the end of rows
that finished fewer; and `[N]` how many of K are real."""


class ChunkSampler:
    """Runs passes of one schedule.

    Args:
        denoiser: of a world model.
        schedule: which chunks are in flight at which levels.
        history_sigma: label of re-read frames.
        solver: how chunks go down a level.
        noise: unit noise `[n, *shape]` of n named rows.
        detached: whether what a pass leaves behind is cut from any graph.
    """

    def __init__(
        self,
        denoiser: Denoiser,
        schedule: Schedule,
        history_sigma: float,
        solver: Solver = "ode",
        noise: NoiseSource = env_noise,
        detached: bool = True,
    ) -> None:
        self.denoiser, self.schedule, self.solver = denoiser, schedule, solver
        self.history_sigma, self.noise, self.detached = history_sigma, noise, detached
        self._last = schedule.steps - 1

    def due(self, state: SamplerState) -> np.ndarray:
        """`[N]` frames, counted from the oldest unfinished one, that the next pass needs."""
        steps = [self._next_steps(state, row, UNLIMITED) for row in range(state.count)]
        return np.array([len(each) for each in steps]) * self.schedule.chunk

    def _next_steps(self, state: SamplerState, row: int, available: int) -> tuple[int, ...]:
        """Steps of the chunks that the next pass covers, of which `available` have conditions."""
        begun, done, passes = (int(c[row]) for c in (state.begun, state.done, state.passes))
        return next_steps(self.schedule, begun, done, passes, available)

    def advance(
        self, state: SamplerState, cond: Conditioning, available: np.ndarray
    ) -> Finished | None:
        """One pass.

        Args:
            state: changed in place.
            cond: conditions of the L frames from each row's oldest unfinished one on.
            available: `[N]` how many of them are conditioned; other chunks do not begin.

        Returns:
            What it finished, if anything.
        """
        # Rows with nothing in flight are at the beginning of their schedule.
        state.restart(state.begun == state.done)
        groups: dict[tuple[int, tuple[int, ...]], list[int]] = {}
        for row in range(state.count):
            steps = self._next_steps(state, row, int(available[row]) // self.schedule.chunk)
            if steps:
                groups.setdefault((int(state.uncommitted[row]), steps), []).append(row)
        parts = []
        for (_, steps), rows in groups.items():
            whole = len(rows) == state.count
            part = state if whole else take_rows(state, rows)
            x0 = self.denoise(part, cond if whole else take_rows(cond, rows), steps)
            parts.append((rows, x0[:, : self._ended(steps)]))
            if not whole:
                put_rows(state, rows, part)
        return _gather(parts, state)

    def _ended(self, steps: tuple[int, ...]) -> int:
        """Frames that a pass finishes."""
        return sum(step == self._last for step in steps) * self.schedule.chunk

    def denoise(self, part: SamplerState, cond: Conditioning, steps: tuple[int, ...]) -> Tensor:
        """A pass over rows at the same place of the schedule.

        Args:
            part: changed in place; what it keeps is detached from any graph where `detached`.
            cond: conditions of the frames from the oldest unfinished one on.
            steps: of the chunks it covers, oldest first.

        Returns:
            Clean estimates `[n, frames, V, c, h, w]` of all frames it covers; those of chunks on
            the last step are finished.
        """
        self._begin(part, steps)
        frames, ended = len(steps) * self.schedule.chunk, self._ended(steps)
        x, cond = part.x[:, :frames], cond.frames(0, frames)
        sigma = self._levels(steps, x)
        below = self._levels([step + 1 for step in steps], x)
        # Fresh noise is put on a clean frame, so that is where the estimate must lead.
        target = below if self.solver == "ode" else torch.zeros_like(below)
        x0 = self._estimate(part, x, sigma, target, cond)
        x0 = x0 * cond.view_mask[..., None, None, None].to(x0.dtype)
        kept = x0.detach() if self.detached else x0
        if self.solver == "ode":
            lowered = step_down(x, kept, sigma, below)
        else:
            lowered = add_noise(kept, self._noise(part, range(frames), steps), below)
        part.x = torch.cat([lowered, part.x[:, frames:]], dim=1).roll(-ended, dims=1)
        part.passes += 1
        self._finish(part, kept[:, :ended], cond)
        return x0

    def _finish(self, part: SamplerState, latents: Tensor, cond: Conditioning) -> None:
        """Count the first frames of those in flight, with their `latents`, as finished."""
        ended, room = latents.shape[1], part.recent.shape[1]
        part.done += ended // self.schedule.chunk
        part.frames += ended
        part.uncommitted[:] = ended
        if ended:
            part.recent = torch.cat([part.recent, latents], dim=1)[:, -room:]
            past = part.recent_cond.then(cond.frames(0, ended))
            part.recent_cond = past.frames(ended, ended + room)

    def _levels(self, steps: Sequence[int], like: Tensor) -> Tensor:
        """Levels of frames `[n, frames]` whose chunks are on these steps."""
        each = torch.tensor([self.schedule.sigmas[step] for step in steps], device=like.device)
        return each.repeat_interleave(self.schedule.chunk).expand(like.shape[0], -1)

    def _begin(self, part: SamplerState, steps: tuple[int, ...]) -> None:
        """Put chunks that are on the first step to pure noise."""
        chunk = self.schedule.chunk
        first = next((slot for slot, step in enumerate(steps) if step == 0), len(steps))
        if first < len(steps):
            span = range(first * chunk, len(steps) * chunk)
            part.x = part.x.clone()
            part.x[:, span.start : span.stop] = self._noise(part, span, None)
        part.begun[:] = part.done + len(steps)

    def _noise(self, part: SamplerState, frames: range, steps: tuple[int, ...] | None) -> Tensor:
        """Unit noise `[n, K, V, c, h, w]`, a function of seed, env, frame and step alone."""
        rows: list[tuple[int, ...]] = []
        for key, done in zip(part.keys, part.frames, strict=True):
            for offset in frames:
                name: tuple[int, ...] = (*key, int(done) + offset + 1)
                if steps is not None:
                    name = (*name, steps[offset // self.schedule.chunk] + 1)
                rows.append(name)
        noise = self.noise(rows, part.x.shape[2:])
        return noise.reshape(len(part.keys), len(frames), *part.x.shape[2:]).to(part.x)

    def _estimate(
        self, part: SamplerState, x: Tensor, sigma: Tensor, target: Tensor, cond: Conditioning
    ) -> Tensor:
        """Clean estimates of the frames in flight; commits what was finished before."""
        context, new = part.context, int(part.uncommitted[0])
        past = as_history(part.recent[:, part.recent.shape[1] - new :], self.history_sigma)
        marks = past.new_full(past.shape[:2], self.history_sigma)
        if new and not self.denoiser.context_shape.reads_frames:
            context.commit(past, marks)
            past, marks, new = past[:, :0], marks[:, :0], 0
        # Ages are counted from the first of these frames, so that no number grows with the stream.
        positions = torch.arange(new + x.shape[1], device=x.device).expand(x.shape[0], -1)
        # Frames to commit come first and see nothing newer.
        blocks = (*(1,) * new, x.shape[1]) if self.schedule.bidirectional else None
        past_cond = part.recent_cond.frames(part.recent.shape[1] - new, part.recent.shape[1])
        out: Tensor = self.denoiser(
            torch.cat([past, x], dim=1),
            torch.cat([marks, sigma], dim=1),
            past_cond.then(cond),
            positions,
            context,
            write=new,
            blocks=blocks,
            target=torch.cat([marks, target], dim=1),
        )
        context.commit(past, marks)
        return out[:, new:]


def _gather(parts: list[tuple[list[int], Tensor]], state: SamplerState) -> Finished | None:
    """Results of groups of rows as one batch."""
    most = max((part.shape[1] for _, part in parts), default=0)
    if most == 0:
        return None
    frames = np.zeros(state.count, dtype=np.int64)
    latents = state.x.new_zeros(state.count, most, *state.x.shape[2:])
    for rows, part in parts:
        frames[rows] = part.shape[1]
        latents[rows, : part.shape[1]] = part
    return latents, frames
