"""Exact statistics of features: means, extremes and true quantiles over all frames.

LeRobot's own `stats.json` aggregates quantiles over episodes as minima and maxima, which are
bounds and not quantiles; here they are always recomputed from the frames.
"""

from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from worldsim.data.faults import Fault
from worldsim.data.layout import STATS
from worldsim.data.rows import column_array
from worldsim.errors import DataError
from worldsim.files import read_json

QUANTILES = {"q01": 0.01, "q10": 0.10, "q50": 0.50, "q90": 0.90, "q99": 0.99}
Float64 = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class FeatureStatistics:
    """Statistics of a feature over `count` frames; each array is `[D]` (`[3]` for images)."""

    min: Float64
    max: Float64
    mean: Float64
    std: Float64
    q01: Float64
    q10: Float64
    q50: Float64
    q90: Float64
    q99: Float64
    count: int

    def to_json(self, image: bool = False) -> dict[str, Any]:
        """LeRobot's form: lists, of shape (3, 1, 1) for images, and `count` as a list of one."""
        names = ("min", "max", "mean", "std", *QUANTILES)
        arrays = {name: getattr(self, name) for name in names}
        shaped = {k: a.reshape(-1, 1, 1) if image else a for k, a in arrays.items()}
        return {**{k: a.tolist() for k, a in shaped.items()}, "count": [self.count]}


def feature_statistics(values: NDArray[Any]) -> FeatureStatistics:
    """Statistics over the first axis of `[N, D]` (or `[N]`), computed in float64.

    `std` is the population's; quantiles interpolate linearly between order statistics.

    Raises:
        DataError: no rows, or non-finite values.
    """
    if not len(values):
        raise DataError("statistics of a feature without frames were asked for")
    rows = np.asarray(values, np.float64).reshape(len(values), -1)
    if not np.isfinite(rows).all():
        bad = int(np.flatnonzero(~np.isfinite(rows).all(axis=1))[0])
        raise DataError(f"a feature holds NaN or infinity, first in row {bad}")
    quantiles = np.quantile(rows, list(QUANTILES.values()), axis=0)
    return FeatureStatistics(
        min=rows.min(0),
        max=rows.max(0),
        mean=rows.mean(0),
        std=rows.std(0),
        count=len(rows),
        **dict(zip(QUANTILES, quantiles, strict=True)),
    )


def pixel_histogram(frames: NDArray[np.uint8]) -> NDArray[np.int64]:
    """Counts `[3, 256]` of each channel's values in frames `[..., 3]`."""
    channels = frames.reshape(-1, 3)
    return np.stack([np.bincount(channels[:, c], minlength=256) for c in range(3)])


def image_statistics(histogram: NDArray[np.int64], frames: int) -> FeatureStatistics:
    """Exact statistics in [0, 1] of the pixels counted in `histogram` `[3, 256]`.

    Args:
        frames: number of frames that were counted, reported as `count`.
    """
    levels = np.arange(256) / 255.0
    total = histogram.sum(1)
    if not (total > 0).all():
        raise DataError("image statistics without any pixel were asked for")
    mean = histogram @ levels / total
    variance = (histogram * (levels - mean[:, None]) ** 2).sum(1) / total
    present = [np.flatnonzero(row) for row in histogram]
    return FeatureStatistics(
        min=np.array([values[0] for values in present]) / 255.0,
        max=np.array([values[-1] for values in present]) / 255.0,
        mean=mean,
        std=np.sqrt(variance),
        count=frames,
        **{name: _histogram_quantile(histogram, q) / 255.0 for name, q in QUANTILES.items()},
    )


def _histogram_quantile(histogram: NDArray[np.int64], q: float) -> Float64:
    """Linear interpolation between the order statistics around rank q (n - 1), per channel."""
    cumulative = histogram.cumsum(1)
    rank = q * (cumulative[:, -1] - 1)
    below = np.floor(rank)
    low, high = _values_at(cumulative, below), _values_at(cumulative, np.ceil(rank))
    interpolated: Float64 = low.astype(np.float64) + (rank - below) * (high - low)
    return interpolated


def _values_at(cumulative: NDArray[np.int64], rank: Float64) -> NDArray[np.intp]:
    """Per channel, the value of the pixel at `rank` of the sorted pixels."""
    pairs = zip(cumulative, rank, strict=True)
    return np.array([np.searchsorted(counts, r, "right") for counts, r in pairs])


def sample_rows(length: int, most: int = 4) -> list[int]:
    """Indices of up to `most` frames spread evenly over an episode, ends included."""
    return sorted({round(x) for x in np.linspace(0, length - 1, min(most, length))})


class ExtremesSeen:
    """Least and greatest values of all numeric features, collected episode by episode.

    Args:
        features: of info.json.
    """

    def __init__(self, features: Mapping[str, Any]) -> None:
        self._keys = [key for key, each in features.items() if each["dtype"].startswith("float")]
        self._extremes: dict[str, NDArray[np.float64]] = {}

    def add(self, table: pa.Table) -> None:
        """Take in the rows of an episode."""
        for key in self._keys:
            with suppress(DataError, KeyError):  # `row_faults` tells
                values = column_array(table[key], key)
                found = np.stack([values.min(axis=0), values.max(axis=0)]).astype(np.float64)
                before = self._extremes.get(key, found)
                if before.shape == found.shape:
                    least, most = np.minimum(before, found)[0], np.maximum(before, found)[1]
                    self._extremes[key] = np.stack([least, most])

    def faults(self, root: Path) -> Iterator[Fault]:
        """A warning for each feature whose stored extremes are not those of the rows.

        worldsim takes its statistics from the rows; LeRobot's policies take them from the file.
        """
        path = root / STATS
        if not path.exists():
            return
        try:
            stats = read_json(path)
        except DataError as error:
            yield Fault(STATS, None, str(error), "warning")
            return
        for key, found in self._extremes.items():
            stored = stats.get(key) if isinstance(stats, dict) else None
            if isinstance(stored, dict) and not _agree(stored, found):
                message = (
                    f"{key} lies between {stored.get('min')} and {stored.get('max')}, but its rows "
                    f"between {found[0].tolist()} and {found[1].tolist()}"
                )
                yield Fault(STATS, None, message, "warning")


def _agree(stored: Mapping[str, Any], found: NDArray[np.float64]) -> bool:
    try:
        told = np.array([np.ravel(stored["min"]), np.ravel(stored["max"])], np.float64)
    except (KeyError, TypeError, ValueError):
        return False
    room = 1e-4 * np.maximum(np.abs(found).max(axis=0), 1e-3)
    return told.shape == found.shape and bool((np.abs(told - found) <= room).all())
