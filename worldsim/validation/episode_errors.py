"""Errors episode by episode, for intervals of what is averaged over episodes.

Steps of one episode are not independent, so episodes are what is drawn with replacement. Intervals
answer "other held-out episodes, same model"; of few episodes they are somewhat too narrow.

Legend: N episodes, K horizons, V views, n streams, B bootstrap samples.
"""

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from worldsim.ranking.bootstrap import Interval, bootstrap_interval
from worldsim.validation.video_metrics import FrameErrors, psnr

Float = NDArray[np.float64]

SAMPLES = 1000
LEVEL = 0.95


class EpisodeErrors:
    """Sums over the streams of each episode, collected step by step.

    Args:
        episodes: N.
        horizons: K.
        views: V.
        names: of the positions whose distances are collected.
    """

    def __init__(self, episodes: int, horizons: int, views: int, names: Sequence[str]) -> None:
        self._moving_sum = np.zeros((episodes, horizons, views))
        self._moving_count = np.zeros((episodes, horizons, views))
        self._distance = {name: np.zeros((episodes, horizons)) for name in names}
        self._streams = np.zeros((episodes, horizons))

    def add(
        self,
        horizon: int,
        places: NDArray[np.int64],
        errors: FrameErrors,
        distances: dict[str, Float],
    ) -> None:
        """Collect a step.

        Args:
            horizon: steps from the first frame, from 1.
            places: `[n]` whose episodes they are, 0 to N - 1.
            errors: of frames `[n, V]`.
            distances: `[n]` metres of each name.
        """
        step = horizon - 1
        np.add.at(self._moving_sum[:, step], places, errors.moving_sum)
        np.add.at(self._moving_count[:, step], places, errors.moving_count)
        for name, values in distances.items():
            np.add.at(self._distance[name][:, step], places, values)
        np.add.at(self._streams[:, step], places, 1.0)

    def distances(self) -> dict[str, Float]:
        """`[K]` mean over all streams that reach a horizon, of each name; NaN where none does."""
        streams = self._streams.sum(0)
        count = np.where(streams > 0, streams, np.nan)
        return {name: sums.sum(0) / count for name, sums in self._distance.items()}

    def intervals(self) -> dict[str, Interval]:
        """Of `psnr_moving_model` and every `<name>_error_m` of `OpenLoopReport.summary`.

        Those that most resamples leave undefined are missing.
        """
        found = {
            "psnr_moving_model": quotient_interval(
                self._moving_sum, self._moving_count, (-np.inf, np.inf), finish=psnr
            )
        }
        for name, sums in self._distance.items():
            found[f"{name}_error_m"] = quotient_interval(sums, self._streams, (0.0, np.inf))
        return {name: interval for name, interval in found.items() if interval is not None}


def quotient_interval(
    sums: Float,
    counts: Float,
    bounds: Interval,
    *,
    finish: Callable[[Float], Float] | None = None,
    seed: int = 0,
) -> Interval | None:
    """Interval, over draws of episodes, of the mean over columns of `finish` of sums by counts.

    Args:
        sums: `[N, ...]`; added up over the episodes drawn.
        counts: what they are divided by then, of the same shape.
        bounds: of the statistic.
        finish: applied to quotients; None leaves them as they are.
        seed: of the draws.
    """

    def statistic(weights: Float) -> Float:
        total, number = (weights @ x.reshape(len(x), -1) for x in (sums, counts))
        with np.errstate(invalid="ignore", divide="ignore"):
            mean = total / np.where(number > 0, number, np.nan)
        each = mean if finish is None else finish(mean)
        return _known_mean(each)

    return _interval(statistic, len(sums), bounds, seed)


def ratio_interval(above: Float, below: Float, counts: Float) -> Interval | None:
    """Interval, over draws of episodes, of a ratio of means over steps, less one.

    Both means are over steps of means over streams; the same episodes are drawn for both.

    Args:
        above: `[N, k]` sums over the streams of an episode at each step.
        below: the same of what it is compared with.
        counts: `[N, k]` streams that are added up there.
    """

    def statistic(weights: Float) -> Float:
        with np.errstate(invalid="ignore", divide="ignore"):
            number = weights @ counts
            number = np.where(number > 0, number, np.nan)
            means = [_known_mean((weights @ sums) / number) for sums in (above, below)]
            ratio: Float = (means[0] - means[1]) / np.maximum(np.abs(means[1]), 1e-9)
        return ratio

    return _interval(statistic, len(above), (-1.0, np.inf))


def _interval(
    statistic: Callable[[Float], Float], count: int, bounds: Interval, seed: int = 0
) -> Interval | None:
    """Interval of a statistic of weights `[B, N]` over draws of N episodes.

    Returns:
        None where it is not defined, or in most draws not. One episode tells nothing of others.
    """
    if count < 2:
        return None
    value = float(statistic(np.ones((1, count)))[0])
    if not np.isfinite(value):
        return None
    return bootstrap_interval(statistic(episode_draws(count, seed)), value, LEVEL, bounds)[0]


def episode_draws(count: int, seed: int, samples: int = SAMPLES) -> Float:
    """How often each of N episodes is drawn in each bootstrap sample, `[B, N]`."""
    rng = np.random.default_rng(seed)
    return rng.multinomial(count, np.full(count, 1.0 / count), size=samples).astype(np.float64)


def _known_mean(values: Float) -> Float:
    """Mean over the last axis of what is finite, NaN where nothing is."""
    known = np.isfinite(values)
    count = np.where(known.any(-1), known.sum(-1), np.nan)
    mean: Float = np.where(known, values, 0.0).sum(-1) / count
    return mean
