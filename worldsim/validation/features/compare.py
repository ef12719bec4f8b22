"""Two worlds' features against the recorded ones: distances, intervals, halves.

Legend: E episodes, n samples, D features, B draws.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from worldsim.ranking.bootstrap import Estimate, bootstrap_interval, finite
from worldsim.validation.episode_errors import LEVEL, episode_draws
from worldsim.validation.features.distances import KernelSums, frechet_distance

Float = NDArray[np.float64]

RECORDED = "recorded"
DRAWS = 200
MOST_SAMPLES = 512
"""Above so many independent directions, an interval of a Frechet distance takes too long, and so do
many halvings."""
FEW = "no interval: {} samples of {} features are more than {}; the kernel distance has one"


@dataclass(frozen=True, eq=False)
class Features:
    """Samples of one world.

    Attributes:
        values: `[n, D]`.
        episodes: `[n]` whose they are, 0 to E - 1.
    """

    values: Float
    episodes: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.values)

    def of(self, chosen: NDArray[np.bool_]) -> Float:
        """Samples of chosen episodes, `chosen` `[E]`."""
        return self.values[chosen[self.episodes]]


@dataclass(frozen=True)
class Halves:
    """Distances from the recorded clips of other episodes, half of them each; means over splits.

    Recorded clips stand beside, whose distance from others is what a perfect model would have. All
    have the same counts, so that the bias of few samples is in each of them alike.

    Attributes:
        samples: of a half.
        splits: halvings; one alone where a distance takes long, see `MOST_SAMPLES`.
        frechet: by world, `recorded` among them.
        kernel: likewise.
    """

    samples: int
    splits: int
    frechet: dict[str, float | None]
    kernel: dict[str, float | None]


@dataclass(frozen=True)
class Comparison:
    """Attributes:
    episodes: E.
    samples: n of the recorded ones, clips or frames.
    frechet: distance of each world.
    kernel: likewise.
    halves: None of fewer than four episodes.
    """

    episodes: int
    samples: int
    frechet: dict[str, Estimate]
    kernel: dict[str, Estimate]
    halves: Halves | None

    def to_json(self) -> dict[str, Any]:
        """Plain values; what was not measured is null."""
        halves = self.halves
        return {
            "episodes": self.episodes,
            "samples": self.samples,
            "frechet": {name: each.to_json() for name, each in self.frechet.items()},
            "kernel": {name: each.to_json() for name, each in self.kernel.items()},
            "halves": None if halves is None else vars(halves),
        }


def compare(
    worlds: Mapping[str, Features], recorded: Features, splits: int, seed: int = 0
) -> Comparison:
    """Distances of worlds from the recorded one, in the same E episodes.

    Args:
        worlds: by name.
        recorded: what they are compared with.
        splits: halvings.
        seed: of draws and halvings.
    """
    # Distances do not change with the origin; near the samples least is lost to rounding.
    origin = recorded.values.mean(0)
    count = int(recorded.episodes.max()) + 1
    sums = {
        name: KernelSums.of(each.values, recorded.values, each.episodes, recorded.episodes, count)
        for name, each in (*worlds.items(), (RECORDED, recorded))
    }
    near = Features(recorded.values - origin, recorded.episodes)
    moved = {name: Features(x.values - origin, x.episodes) for name, x in worlds.items()}
    draws = episode_draws(count, seed, DRAWS)
    return Comparison(
        episodes=count,
        samples=len(recorded),
        frechet={name: _frechet(each, near, draws) for name, each in moved.items()},
        kernel={name: _kernel(sums[name], draws) for name in worlds},
        halves=_halves({**moved, RECORDED: near}, sums, count, splits, seed),
    )


def _frechet(one: Features, other: Features, draws: Float) -> Estimate:
    value = frechet_distance(one.values, other.values)
    wide = one.values.shape[1]
    if (size := min(max(len(one), len(other)), wide)) > MOST_SAMPLES:
        return Estimate(finite(value), None, FEW.format(size, wide, MOST_SAMPLES))
    samples = [
        frechet_distance(one.values, other.values, draw[one.episodes], draw[other.episodes])
        for draw in draws
    ]
    return _estimate(value, np.array(samples), (0.0, np.inf))


def _kernel(sums: KernelSums, draws: Float) -> Estimate:
    whole = np.ones((1, draws.shape[1]))
    value = float(sums.distance(whole, whole)[0])
    return _estimate(value, sums.distance(draws, draws), (-np.inf, np.inf))


def _estimate(value: float, samples: Float, bounds: tuple[float, float]) -> Estimate:
    known = finite(value)
    if known is None:
        return Estimate(None, None, "fewer than two episodes")
    return Estimate(known, *bootstrap_interval(samples, known, LEVEL, bounds))


def _halves(
    worlds: Mapping[str, Features],
    sums: Mapping[str, KernelSums],
    count: int,
    splits: int,
    seed: int,
) -> Halves | None:
    if count < 4:
        return None
    rng, size = np.random.default_rng(seed), count // 2
    frechet: dict[str, list[float]] = {name: [] for name in worlds}
    kernel: dict[str, list[float]] = {name: [] for name in worlds}
    samples, wide = 0, worlds[RECORDED].values.shape
    often = splits if min(wide) // 2 <= MOST_SAMPLES else 1
    for _ in range(often):
        order = rng.permutation(count)
        left, right = (np.isin(np.arange(count), part) for part in np.split(order[: 2 * size], 2))
        truth = worlds[RECORDED].of(right)
        samples = len(truth)
        for name, each in worlds.items():
            frechet[name].append(frechet_distance(each.of(left), truth))
            drawn = left[None].astype(np.float64), right[None].astype(np.float64)
            kernel[name].append(float(sums[name].distance(*drawn)[0]))
    return Halves(
        samples,
        often,
        *(
            {name: finite(float(np.mean(values))) for name, values in each.items()}
            for each in (frechet, kernel)
        ),
    )
