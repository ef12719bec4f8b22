"""Sampling schedules as data: which chunks a pass of the denoiser covers, and at which levels.

Chunks of frames begin one after the other, `slope` passes apart, and each needs as many passes as
there are denoising steps. Slope 0 denoises a window of chunks together (full sequence), slope S one
chunk after the other (autoregressive), and slope 1 lets a staircase of chunks roll along (Rolling
Forcing, 2509.25161; the pyramid of Diffusion Forcing, 2407.01392, made endless).

Legend: S denoising steps, from each level to the next lower one.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property, lru_cache

from worldsim.errors import UsageError


@dataclass(frozen=True)
class Row:
    """One pass over successive chunks.

    Attributes:
        chunks: numbers of the chunks it denoises, oldest first.
        sigma: their levels before the pass.
        sigma_next: their levels after it.
        emit: those of `chunks` that are finished by it.
        commit: chunks, finished earlier, that the context takes in during the pass.
    """

    chunks: range
    sigma: tuple[float, ...]
    sigma_next: tuple[float, ...]
    emit: range
    commit: range


@dataclass(frozen=True)
class Schedule:
    """A staircase of chunks.

    Attributes:
        sigmas: S + 1 levels from 1 down to 0.
        chunk: frames a chunk.
        slope: passes between the beginnings of successive chunks, 0 to S.
        window: most chunks in flight.
        bidirectional: whether frames in flight also see the later ones among them.
    """

    sigmas: tuple[float, ...]
    chunk: int
    slope: int
    window: int
    bidirectional: bool = False

    def __post_init__(self) -> None:
        falling = all(a > b for a, b in zip(self.sigmas, self.sigmas[1:], strict=False))
        if len(self.sigmas) < 2 or not falling or self.sigmas[0] != 1 or self.sigmas[-1] != 0:
            raise UsageError(f"sigmas {self.sigmas} must fall from 1 to 0")
        if self.chunk < 1 or self.window < 1 or not 0 <= self.slope <= self.steps:
            raise UsageError(
                f"schedule: need chunk >= 1, window >= 1 and slope in 0..{self.steps}, got chunk "
                f"{self.chunk}, window {self.window}, slope {self.slope}"
            )

    @cached_property
    def steps(self) -> int:
        """S."""
        return len(self.sigmas) - 1

    @cached_property
    def most_in_flight(self) -> int:
        """Most chunks that a pass covers."""
        return self.window if self.slope == 0 else min(self.window, -(-self.steps // self.slope))

    @cached_property
    def most_emitted(self) -> int:
        """Most chunks that one pass finishes."""
        return self.window if self.slope == 0 else 1

    def begin(self, chunk: int) -> int:
        """The pass in which a chunk is pure noise; a full window waits for its oldest chunk."""
        period = max(self.window * self.slope, self.steps)
        return chunk // self.window * period + chunk % self.window * self.slope

    def rows(self, chunks: int) -> Iterator[Row]:
        """The passes that make `chunks` chunks: ramp-up, steady state, drain.

        The last chunks are not committed, since nothing follows them. Passes in which nothing is
        in flight do not exist: no chunk begins later than its predecessor ends.
        """
        done, committed = 0, 0
        for number in range(self.begin(chunks - 1) + self.steps):
            flying = [
                c
                for c in range(done, min(chunks, done + self.most_in_flight))
                if self.begin(c) <= number
            ]
            steps = [number - self.begin(c) for c in flying]
            finished = sum(step == self.steps - 1 for step in steps)
            yield Row(
                chunks=range(done, done + len(flying)),
                sigma=tuple(self.sigmas[step] for step in steps),
                sigma_next=tuple(self.sigmas[step + 1] for step in steps),
                emit=range(done, done + finished),
                commit=range(committed, done),
            )
            committed, done = done, done + finished


@lru_cache(maxsize=4096)
def next_steps(
    schedule: Schedule, begun: int, done: int, passes: int, available: int
) -> tuple[int, ...]:
    """Steps of the chunks that a stream's next pass covers, oldest first.

    Args:
        schedule: of the stream.
        begun: chunks that have begun.
        done: chunks that are finished.
        passes: passes since the schedule began.
        available: unfinished chunks whose conditions are known; other chunks do not begin.
    """
    if begun == done:
        return (0,) * min(available, schedule.window if schedule.slope == 0 else 1)
    steps = []
    for chunk in range(done, done + min(schedule.most_in_flight, available)):
        step = passes - schedule.begin(chunk)
        if step < 0 or (chunk >= begun and step > 0):
            break
        steps.append(step)
    return tuple(steps)


def autoregressive(sigmas: tuple[float, ...], chunk: int = 1) -> Schedule:
    """One chunk after the other; what `env.step` uses."""
    return Schedule(sigmas, chunk, slope=len(sigmas) - 1, window=1)


def rolling(sigmas: tuple[float, ...], chunk: int = 1, *, bidirectional: bool = False) -> Schedule:
    """A chunk on every step, one of them finished in every pass."""
    return Schedule(sigmas, chunk, slope=1, window=len(sigmas) - 1, bidirectional=bidirectional)


def full_sequence(
    sigmas: tuple[float, ...], chunk: int, window: int, *, bidirectional: bool = False
) -> Schedule:
    """`window` chunks together on the same step, window after window."""
    return Schedule(sigmas, chunk, slope=0, window=window, bidirectional=bidirectional)
