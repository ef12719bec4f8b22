"""`meta/stats.json` against the rows that it was made of."""

from collections.abc import Iterator, Mapping
from contextlib import suppress
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
