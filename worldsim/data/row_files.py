"""The rows of episodes out of parquet files, under LeRobot's names."""

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from worldsim.data.channels import is_own, renamed
from worldsim.data.columns import ColumnMap
from worldsim.data.records import DatasetIndex, EpisodeRecord, read_parquet
from worldsim.errors import DataError


class RowFiles:
    """Reads rows; the file that was read last stays in memory.

    Args:
        index: whose episodes they are.
        columns: how the stored columns become those that LeRobot names.
    """

    def __init__(self, index: DatasetIndex, columns: ColumnMap) -> None:
        self._index, self._columns = index, columns
        self._last: tuple[Path, pa.Table, NDArray[Any]] | None = None

    def rows(self, record: EpisodeRecord) -> pa.Table:
        """All columns of an episode.

        Raises:
            DataError: the file is unreadable, or its rows are more, fewer or scattered.
        """
        if self._last is None or self._last[0] != record.data:
            table = read_parquet(record.data)
            table = renamed(table) if is_own(self._index.info) else table
            table = self._columns.table(table, str(record.data))
            self._last = (record.data, table, _owners(table, record.data))
        _, table, owners = self._last
        places = np.flatnonzero(owners == record.index)
        if len(places) != record.length:
            raise DataError(
                f"{record.data}: episode {record.index} has {len(places)} rows, "
                f"the episodes table says {record.length}"
            )
        if len(places) and places[-1] - places[0] + 1 != len(places):
            raise DataError(f"{record.data}: the rows of episode {record.index} are scattered")
        return table.slice(int(places[0]), len(places))

    def extremes(self, name: str) -> tuple[list[float], list[float]]:
        """Least and greatest value of each entry of a vector, over all episodes that are there.

        They come from the rows, since stats.json may be of others.

        Raises:
            DataError: a file is unreadable, or there are no rows.
        """
        stored = [*self._columns.sources(name), "episode_index"]
        episodes = [record.index for record in self._index.records]
        parts = []
        for file in sorted({record.data for record in self._index.records}):
            if file.is_file():
                table = read_parquet(file, stored)
                values = self._columns.vector(name, table, str(file))
                parts.append(values[np.isin(_owners(table, file), episodes)])
        filled = [part for part in parts if len(part)]
        if not filled:
            raise DataError(f"{self._index.root}: its data files hold no rows")
        low = np.min([part.min(0) for part in filled], axis=0)
        high = np.max([part.max(0) for part in filled], axis=0)
        return [float(x) for x in low], [float(x) for x in high]


def _owners(table: pa.Table, path: Path) -> NDArray[Any]:
    """`[N]` the episode of each row.

    Raises:
        DataError: no column tells.
    """
    if "episode_index" not in table.column_names:
        raise DataError(f"{path} lacks the column episode_index")
    return np.asarray(table["episode_index"].to_numpy())
