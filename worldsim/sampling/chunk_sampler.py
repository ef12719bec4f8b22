"""Chunks in flight: the state of a schedule between two passes of the denoiser, and one pass.

A pass commits what the previous one finished (as clean leading frames that see nothing newer) and
moves every chunk in flight one rung down. Rows may stand at different places of the schedule, since
envs are reset alone; those at the same place share a call.

Legend: N envs, V views, c h w latent, F frames a chunk, L frames of the longest flight, P most
frames that one pass finishes, K frames emitted.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from worldsim.diffusion.flow import add_noise, as_history, step_down
from worldsim.diffusion.schedule import Schedule
from worldsim.models.denoisers.base import Denoiser
from worldsim.models.denoisers.conditioning import Conditioning
from worldsim.models.world_model import WorldModel
from worldsim.sampling.context import Context, new_context, put_rows, take_rows
from worldsim.sampling.sampler import Descent

NoiseSource = Callable[[list[tuple[int, ...]], Sequence[int]], Tensor]


def env_noise(keys: Iterable[tuple[int, ...]], shape: Sequence[int]) -> Tensor:
    """Unit Gaussian noise `[N, *shape]` float32; row i is a function of keys[i] alone.

    Args:
        keys: (seed, env id, step of its episode, and rung where there are several) of each row.
        shape: of one row.
    """
    rows = [
        np.random.Generator(np.random.Philox(np.random.SeedSequence(key))).standard_normal(
            tuple(shape), dtype=np.float32
        )
        for key in keys
    ]
    return torch.from_numpy(np.stack(rows)) if rows else torch.empty(0, *shape)


@dataclass(eq=False)
class Flight:
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


def new_flight(
    model: WorldModel,
    schedule: Schedule,
    recent: Tensor,
    recent_cond: Conditioning,
    keys: Sequence[tuple[int, int]],
    *,
    uncommitted: int,
) -> Flight:
    """A flight with nothing under way and an empty context.

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
    flown = schedule.most_in_flight * schedule.chunk
    passes, done, begun, frames = np.zeros((4, count), dtype=np.int64)
    return Flight(
        context=context,
        x=recent.new_zeros(count, flown, *recent.shape[2:]),
        recent=recent[:, places],
        recent_cond=recent_cond.pick(places),
        uncommitted=np.full(count, uncommitted, dtype=np.int64),
        passes=passes,
        done=done,
        begun=begun,
        frames=frames,
        keys=list(keys),
    )


@dataclass(frozen=True, eq=False)
class Finished:
    """What a pass finished.

    Attributes:
        latents: `[N, K, V, c, h, w]` clean frames, oldest first; rows that finished fewer are
            padded at their end.
        frames: `[N]` how many of them are real.
    """

    latents: Tensor
    frames: np.ndarray


class Pilot:
    """Runs passes of one schedule.

    Args:
        denoiser: of a world model.
        schedule: which chunks are in flight at which levels.
        history_sigma: label of re-read frames.
        descent: how chunks go down a rung.
        noise: unit noise `[n, *shape]` of n named rows.
    """

    def __init__(
        self,
        denoiser: Denoiser,
        schedule: Schedule,
        history_sigma: float,
        descent: Descent = "flow",
        noise: NoiseSource = env_noise,
    ) -> None:
        self.denoiser, self.schedule = denoiser, schedule
        self.history_sigma, self.descent, self.noise = history_sigma, descent, noise

    def due(self, flight: Flight) -> np.ndarray:
        """`[N]` frames, counted from the oldest unfinished one, that the next pass needs."""
        return np.array([len(self._rungs(flight, row, 1 << 30)) for row in range(flight.count)]) * (
            self.schedule.chunk
        )

    def _rungs(self, flight: Flight, row: int, available: int) -> tuple[int, ...]:
        """Rungs of the chunks that the next pass covers, of which `available` have conditions."""
        schedule = self.schedule
        if flight.begun[row] == flight.done[row]:
            return (0,) * min(available, schedule.window if schedule.slope == 0 else 1)
        rungs = []
        done, number = int(flight.done[row]), int(flight.passes[row])
        for chunk in range(done, done + min(schedule.most_in_flight, available)):
            rung = number - schedule.begin(chunk)
            if rung < 0 or (chunk >= flight.begun[row] and rung > 0):
                break
            rungs.append(rung)
        return tuple(rungs)

    def advance(self, flight: Flight, cond: Conditioning, available: np.ndarray) -> Finished | None:
        """One pass.

        Args:
            flight: changed in place.
            cond: conditions of the L frames from each row's oldest unfinished one on.
            available: `[N]` how many of them are known; chunks without do not begin.

        Returns:
            What it finished, if anything.
        """
        self._rest(flight)
        groups: dict[tuple[int, tuple[int, ...]], list[int]] = {}
        for row in range(flight.count):
            rungs = self._rungs(flight, row, int(available[row]) // self.schedule.chunk)
            if rungs:
                groups.setdefault((int(flight.uncommitted[row]), rungs), []).append(row)
        parts = []
        for (_, rungs), rows in groups.items():
            whole = len(rows) == flight.count
            part = flight if whole else take_rows(flight, rows)
            x0 = self.fly(part, cond if whole else take_rows(cond, rows), rungs)
            parts.append((rows, x0[:, : self._ended(rungs)]))
            if not whole:
                put_rows(flight, rows, part)
        return _gather(parts, flight)

    @staticmethod
    def _rest(flight: Flight) -> None:
        """Rows with nothing in flight are at the beginning of their schedule."""
        flight.restart(flight.begun == flight.done)

    def _ended(self, rungs: tuple[int, ...]) -> int:
        """Frames that a pass finishes."""
        return sum(rung == self.schedule.steps - 1 for rung in rungs) * self.schedule.chunk

    def fly(self, part: Flight, cond: Conditioning, rungs: tuple[int, ...]) -> Tensor:
        """A pass over rows at the same place of the schedule.

        Args:
            part: changed in place; what it keeps is detached from any graph.
            cond: conditions of the frames from the oldest unfinished one on.
            rungs: of the chunks it covers, oldest first.

        Returns:
            Clean estimates `[n, frames, V, c, h, w]` of all frames it covers; those of chunks on
            the last rung are finished.
        """
        chunk, ladder = self.schedule.chunk, self.schedule.ladder
        self._begin(part, rungs)
        frames, ended = len(rungs) * chunk, self._ended(rungs)
        x, cond = part.x[:, :frames], cond.frames(0, frames)
        sigma = self._levels([ladder[rung] for rung in rungs], x)
        below = self._levels([ladder[rung + 1] for rung in rungs], x)
        # Fresh noise is put on a clean frame, so that is where the estimate must lead.
        target = below if self.descent == "flow" else torch.zeros_like(below)
        x0 = self._denoise(part, x, sigma, target, cond)
        x0 = x0 * cond.view_mask[..., None, None, None].to(x0.dtype)
        kept = x0.detach()
        if self.descent == "flow":
            lowered = step_down(x, kept, sigma, below)
        else:
            lowered = add_noise(kept, self._noise(part, range(frames), rungs), below)
        part.x = torch.cat([lowered, part.x[:, frames:]], dim=1).roll(-ended, dims=1)
        part.passes += 1
        part.done += ended // chunk
        part.frames += ended
        part.uncommitted[:] = ended
        if ended:
            room = part.recent.shape[1]
            part.recent = torch.cat([part.recent, kept[:, :ended]], dim=1)[:, -room:]
            past = part.recent_cond.then(cond.frames(0, ended))
            part.recent_cond = past.frames(ended, ended + room)
        return x0

    def _levels(self, each: list[float], like: Tensor) -> Tensor:
        """Levels of chunks to levels of frames `[n, frames]`."""
        chunk = self.schedule.chunk
        row = torch.cat([torch.full((chunk,), level, device=like.device) for level in each])
        return row.expand(like.shape[0], -1)

    def _begin(self, part: Flight, rungs: tuple[int, ...]) -> None:
        """Put chunks that are on the first rung to pure noise."""
        chunk = self.schedule.chunk
        first = next((slot for slot, rung in enumerate(rungs) if rung == 0), len(rungs))
        if first < len(rungs):
            span = range(first * chunk, len(rungs) * chunk)
            part.x = part.x.clone()
            part.x[:, span.start : span.stop] = self._noise(part, span, None)
        part.begun[:] = part.done + len(rungs)

    def _noise(self, part: Flight, frames: range, rungs: tuple[int, ...] | None) -> Tensor:
        """Unit noise `[n, K, V, c, h, w]` of `frames` in flight, a function of seed, env, frame and
        rung alone."""
        rows: list[tuple[int, ...]] = []
        for key, done in zip(part.keys, part.frames, strict=True):
            for offset in frames:
                name: tuple[int, ...] = (*key, int(done) + offset + 1)
                if rungs is not None:
                    name = (*name, rungs[offset // self.schedule.chunk] + 1)
                rows.append(name)
        noise = self.noise(rows, part.x.shape[2:])
        return noise.reshape(len(part.keys), len(frames), *part.x.shape[2:]).to(part.x)

    def _denoise(
        self, part: Flight, x: Tensor, sigma: Tensor, target: Tensor, cond: Conditioning
    ) -> Tensor:
        """Clean estimates of the frames in flight; commits what was finished before."""
        context, new = part.context, int(part.uncommitted[0])
        # Ages are counted from the first of these frames, so that no number grows with the stream.
        positions = torch.arange(new + x.shape[1], device=x.device).expand(x.shape[0], -1)
        # Frames to commit come first and see nothing newer.
        blocks = (*(1,) * new, x.shape[1]) if self.schedule.bidirectional else None
        past = as_history(part.recent[:, part.recent.shape[1] - new :], self.history_sigma)
        marks = past.new_full(past.shape[:2], self.history_sigma)
        known = part.recent_cond.frames(part.recent.shape[1] - new, part.recent.shape[1])
        out: Tensor = self.denoiser(
            torch.cat([past, x], dim=1),
            torch.cat([marks, sigma], dim=1),
            known.then(cond),
            positions,
            context,
            write=new,
            blocks=blocks,
            target=torch.cat([marks, target], dim=1),
        )
        if new:
            context.commit(past, marks)
        return out[:, new:]


def _gather(parts: list[tuple[list[int], Tensor]], flight: Flight) -> Finished | None:
    """Results of groups of rows as one batch."""
    most = max((part.shape[1] for _, part in parts), default=0)
    if most == 0:
        return None
    frames = np.zeros(flight.count, dtype=np.int64)
    latents = flight.x.new_zeros(flight.count, most, *flight.x.shape[2:])
    for rows, part in parts:
        frames[rows] = part.shape[1]
        latents[rows, : part.shape[1]] = part
    return Finished(latents, frames)
