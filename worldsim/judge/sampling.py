"""Which rows of a cache a judge trains on.

Of the folds that episodes lie in (`worldsim.data.split`) one is for the report, one for choosing
the threshold, and the rest are for training. Success is rare and short, so rows are drawn by
kind: successes, rows that come close (the boundary is what a verdict hangs on), and all others.
"""

from dataclasses import dataclass, field
from typing import Annotated

import numpy as np
from numpy.typing import NDArray

from worldsim.config.limits import (
    MOST,
    Count,
    OneOf,
    Positive,
    Seed,
    Share,
    Weight,
    Whole,
    between,
)
from worldsim.config.values import Checked
from worldsim.data.cache import CachedDataset
from worldsim.data.split import FOLDS, HELD_OUT
from worldsim.errors import DataError, UsageError
from worldsim.judge.augment import AugmentConfig

Rows = NDArray[np.int64]
STOPS = "stops"
TRAINED_KINDS = ("learned", STOPS)
"""Judges that `worldsim train` trains."""
REPORTED, CALIBRATED = HELD_OUT, FOLDS // 2 - 1
"""The judge reports on the episodes that world-model training holds out too."""
TRAINED = tuple(fold for fold in range(FOLDS) if fold not in (REPORTED, CALIBRATED))


@dataclass(frozen=True)
class JudgeConfig(Checked):
    """How a judge is built and trained.

    Attributes:
        kind: registered judge: `learned` reads success off any frame, `stops` whether a stop has
            met what the instruction asked for.
        width, keypoints, hidden: see `StateEstimatorConfig`.
        steps: optimiser steps.
        batch_size: rows a step.
        learning_rate: peak, reached after a tenth of the steps, then cosine to zero.
        success_share: share of each batch drawn from successful rows.
        close_share: share drawn from failed rows near a success or of high progress.
        close_rows: how many rows before a success count as near it.
        buffer_share: share of each batch replaced by frames of the buffer, where a model is given.
        buffer_size: how many rows of the buffer are encoded and decoded.
        imagined_size: how many of its rows are imagined along the recording, about; of a judge of
            stops so many frames of whole episodes, from their first ones on.
        imagined_steps: from how many steps before; more than the model's recent frames, so that
            it sees nothing but its own. A judge of stops does not ask.
        state_weight: weight of the state loss beside success and progress.
        holds: candidate numbers of consecutive frames for the verdict rule.
        augment: random changes of the frames.
        strayed: how many times the tokenizer's own error an imagined training frame may differ from
            the recorded one whose labels it keeps; see `worldsim.judge.buffer.strayed`.
            A judge of stops does not ask: where an agent stands is told.
        replays: held-out episodes of each outcome that are imagined again, whole and to every
            depth, to measure the judge where it is used; 0 measures nothing.
        depth_band: least number of steps that a band of depth holds.
        gate_steps: optimiser steps of the inverse dynamics by which rollouts are gated; 0 makes no
            gate.
        gate_draws: how often each replayed step is drawn, for a gate by their disagreement; 0 makes
            none.
        gate_quantile: share of held-out replays that a gate's limit lets pass.
        seed: of initialisation, order and augmentation.
    """

    kind: Annotated[str, OneOf(lambda: TRAINED_KINDS)] = "learned"
    width: Count = 24
    keypoints: Count = 32
    hidden: Count = 192
    steps: Count = 1500
    batch_size: Annotated[int, between(2, MOST)] = 64
    learning_rate: Positive = 2e-3
    success_share: Share = 0.3
    close_share: Share = 0.3
    close_rows: Whole = 8
    buffer_share: Share = 0.4
    buffer_size: Whole = 4000
    imagined_size: Whole = 3000
    imagined_steps: Count = 12
    state_weight: Weight = 2.0
    holds: tuple[Count, ...] = (1, 2, 3)
    augment: AugmentConfig = field(default_factory=AugmentConfig)
    strayed: Positive = 4.0
    replays: Whole = 32
    depth_band: Count = 10
    gate_steps: Whole = 600
    gate_draws: Whole = 0
    gate_quantile: Share = 0.95
    seed: Seed = 0

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.holds:
            raise UsageError("holds is empty; expected one hold or more, such as [1]")
        if self.gate_draws == 1:
            raise UsageError(
                "gate_draws is 1, and one draw disagrees with nothing; expected 0, or 2 or more"
            )
        if self.gate_draws and self.kind == STOPS:
            raise UsageError(
                f"gate_draws is {self.gate_draws}, and a judge of stops says nothing of the steps "
                "between them; expected 0"
            )
        if self.gate_draws and not self.replays:
            raise UsageError(
                f"gate_draws is {self.gate_draws} and replays is 0; a gate's limit is chosen on "
                "replays, so expected replays of 1 or more"
            )
        if self.success_share + self.close_share > 1:
            raise UsageError(
                f"success_share is {self.success_share} and close_share {self.close_share}; "
                "expected 1 or less together"
            )


@dataclass(frozen=True, eq=False)
class RowKinds:
    """Training rows by kind; each kind may be empty."""

    success: Rows
    close: Rows
    other: Rows


def episodes_in(data: CachedDataset, folds: tuple[int, ...]) -> list[int]:
    """Episodes that lie in one of `folds`."""
    return [i for i, fold in enumerate(data.folds) if fold in folds]


def tells_progress(data: CachedDataset) -> bool:
    """Whether there is progress to learn; recordings without that column have zeros for it."""
    progress = np.asarray(data.progress)
    return bool(len(progress) and progress.max() > progress.min())


def taught_rows(data: CachedDataset, config: JudgeConfig) -> RowKinds:
    """The rows that a judge learns from; also asked before hours of training that end in it.

    Raises:
        DataError: too few episodes, or rows of one outcome only.
    """
    episodes = episodes_in(data, TRAINED)
    if not episodes:
        raise DataError("cannot train a judge on fewer than two episodes")
    if config.kind == STOPS:
        from worldsim.judge.stop_items import require_stops

        require_stops(data)
    return sort_rows(data, episodes, config.close_rows)


def sort_rows(data: CachedDataset, episodes: list[int], close_rows: int) -> RowKinds:
    """File the rows of `episodes` by kind.

    Raises:
        DataError: there is no successful or no failed row, so nothing can be learned.
    """
    starts = np.asarray(data.episode_start)
    success_all = np.asarray(data.success)
    success: list[Rows] = []
    close: list[Rows] = []
    other: list[Rows] = []
    rows_all = np.concatenate([np.arange(starts[e], starts[e + 1]) for e in episodes])
    high = float(np.quantile(np.asarray(data.progress)[rows_all], 0.85))
    for episode in episodes:
        rows = np.arange(starts[episode], starts[episode + 1])
        good = success_all[rows]
        ahead = np.convolve(good[::-1], np.ones(close_rows + 1), "full")[: len(good)][::-1] > 0
        near = ~good & (ahead | (np.asarray(data.progress[rows]) > high))
        success.append(rows[good])
        close.append(rows[near])
        other.append(rows[~good & ~near])
    kinds = RowKinds(*(np.concatenate(part).astype(np.int64) for part in (success, close, other)))
    if not len(kinds.success) or not len(kinds.close) + len(kinds.other):
        raise DataError(
            f"cannot train a judge: {len(kinds.success)} successful and "
            f"{len(kinds.close) + len(kinds.other)} failed rows; record episodes of both kinds, "
            "with a column success or next.success"
        )
    return kinds


def draw_rows(kinds: RowKinds, config: JudgeConfig, rng: np.random.Generator) -> Rows:
    """One batch of rows in the configured shares; an empty kind leaves its share to the others."""
    wanted = int(round(config.success_share * config.batch_size))
    close = int(round(config.close_share * config.batch_size)) if len(kinds.close) else 0
    rest = config.batch_size - wanted - close
    parts = [rng.choice(kinds.success, wanted), rng.choice(kinds.close, close) if close else None]
    pool = kinds.other if len(kinds.other) else kinds.close
    parts.append(rng.choice(pool, rest))
    return np.concatenate([part for part in parts if part is not None])
