"""Which columns of a data set are action, proprioception and cameras, and its rows so named.

LeRobot calls them `action`, `observation.state` and `observation.images.<camera>`. Where a set
calls them otherwise, or spreads one over several columns, its features and rows are shown to all
readers as LeRobot has them.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from worldsim.data.channels import ACTION, IMAGES, STATE, is_own, renamed
from worldsim.data.faults import Fault
from worldsim.data.features import ImageFeature, entry_names, flat_names
from worldsim.data.layout import INFO
from worldsim.data.records import DatasetIndex, EpisodeRecord, read_parquet
from worldsim.data.rows import column_array, vector_column, without_gaps
from worldsim.errors import DataError, UsageError, unknown_name

WELL_KNOWN = {ACTION: ("actions",), STATE: ("state",)}
"""Names that openpi's and LIBERO's sets use; taken where LeRobot's own name is absent."""
NUMERIC = ("float", "int", "uint", "bool")


@dataclass(frozen=True)
class Columns:
    """What the user says of a data set's columns; what is left empty is found by name.

    Attributes:
        action: columns that together, one after the other, are the action.
        state: columns that together are proprioception.
        cameras: {name: column} of the cameras to take, in view order. A column may be given by its
            short name, such as "top" for "observation.images.top"; given its column as a name, a
            camera keeps its own.
    """

    action: tuple[str, ...] = ()
    state: tuple[str, ...] = ()
    cameras: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class ColumnMap:
    """How columns of a data set become those that LeRobot names.

    Attributes:
        joined: for `action` and `observation.state`, where they are something else: their columns.
        pictures: for each camera that is called otherwise: {column: new name}.
        dropped: columns of cameras that were not chosen.
        found: those keys of `joined` that nobody asked for, told by well-known names.
    """

    joined: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    pictures: Mapping[str, str] = field(default_factory=dict)
    dropped: frozenset[str] = frozenset()
    found: tuple[str, ...] = ()

    @property
    def changes(self) -> bool:
        """Whether anything is called otherwise."""
        return bool(self.joined or self.pictures or self.dropped)

    def features(self, features: Mapping[str, Any]) -> dict[str, Any]:
        """The `features` of info.json, under LeRobot's names."""
        kept = {self.pictures.get(k, k): f for k, f in features.items() if k not in self._gone}
        return kept | {name: _joined(features, parts) for name, parts in self.joined.items()}

    def keyed(self, values: Mapping[str, Any]) -> dict[str, Any]:
        """What stands under the names of cameras' columns, under LeRobot's."""
        kept = (key for key in values if key not in self.dropped)
        return {self.pictures.get(key, key): values[key] for key in kept}

    def table(self, table: pa.Table, where: str) -> pa.Table:
        """Rows of the data set, under LeRobot's names.

        Raises:
            DataError: a column is missing or holds no numbers.
        """
        if not self.changes:
            return table
        joined = {name: self.vector(name, table, where) for name in self.joined}
        table = table.drop_columns([k for k in table.column_names if k in self._gone])
        table = table.rename_columns([self.pictures.get(k, k) for k in table.column_names])
        for name, values in joined.items():
            table = table.append_column(name, vector_column(values.astype(np.float32)))
        return table

    def sources(self, name: str) -> tuple[str, ...]:
        """Columns of the data set that make the one that LeRobot calls `name`."""
        return self.joined.get(name, (name,))

    def vector(self, name: str, table: pa.Table, where: str) -> NDArray[Any]:
        """`[N, D]` of `name` out of rows that hold its `sources`.

        Raises:
            DataError: a column is missing or holds no numbers.
        """
        parts = self.sources(name)
        if absent := [part for part in parts if part not in table.column_names]:
            raise DataError(f"{where} lacks the columns {absent}")
        arrays = [column_array(table[part], f"{where}, {part}") for part in parts]
        return np.concatenate(arrays, axis=1)

    def faults(self) -> list[Fault]:
        """A warning for each column that was found by a well-known name."""
        texts = [f"column {self.joined[name][0]!r} is taken as {name!r}" for name in self.found]
        return [Fault(INFO, None, f"{t}; columns= says otherwise", "warning") for t in texts]

    @property
    def _gone(self) -> frozenset[str]:
        """Columns that are no more there: those in whose stead others stand.

        Left beside it, `actions` would be one more action to whoever goes by LeRobot's names.
        """
        parts = {part for parts in self.joined.values() for part in parts}
        return self.dropped | (parts - {ACTION, STATE}) | frozenset(self.joined)


def map_columns(
    columns: Columns, index: DatasetIndex
) -> tuple[ColumnMap, tuple[ImageFeature, ...]]:
    """How a data set's columns are to be called, and its cameras then.

    Raises:
        UsageError: a column is not there, is no vector, or means something else already.
    """
    root, features, own = index.root, index.info["features"], is_own(index.info)
    pictures, dropped, views = _map_cameras(columns.cameras, index.cameras, root)
    if own and (columns.action or columns.state or pictures):
        raise UsageError(
            f"{root} says itself which columns are action, state and cameras, as worldsim recorded "
            "it; columns.cameras=[NAME,...] may choose some of its cameras, and nothing else"
        )
    joined, found = {}, []
    for name, given in ((ACTION, columns.action), (STATE, columns.state)):
        if given and given != (name,):
            joined[name] = tuple(_vector(column, features, root) for column in given)
        elif name not in features and not own:
            known = [alias for alias in WELL_KNOWN[name] if alias in features]
            if len(known) == 1:
                joined[name] = (_vector(known[0], features, root),)
                found.append(name)
    return ColumnMap(joined, pictures, dropped, tuple(found)), views


def _map_cameras(
    wanted: Mapping[str, str], cameras: Sequence[ImageFeature], root: Path
) -> tuple[dict[str, str], frozenset[str], tuple[ImageFeature, ...]]:
    """`ColumnMap.pictures` and `.dropped`, and the cameras that are left, in order.

    Raises:
        UsageError: a camera is not there, or was asked for twice.
    """
    if not wanted:
        return {}, frozenset(), tuple(cameras)
    pictures, views = {}, []
    left = {camera.key for camera in cameras}
    for name, column in wanted.items():
        camera = _camera(column, cameras, root)
        if camera.key not in left:
            raise UsageError(f"columns.cameras names {camera.key!r} twice; name it once")
        left.remove(camera.key)
        if name not in (column, camera.name):
            pictures[camera.key] = IMAGES + name
            camera = replace(camera, name=name, key=IMAGES + name)
        views.append(camera)
    return pictures, frozenset(left), tuple(views)


def _vector(column: str, features: Mapping[str, Any], root: Path) -> str:
    """`column`, which must hold numbers.

    Raises:
        UsageError: it does not, or is not there.
    """
    vectors = [
        name
        for name, feature in features.items()
        if feature["dtype"].startswith(NUMERIC) and len(feature["shape"]) == 1
    ]
    if column not in vectors:
        raise unknown_name(f"column of numbers in {root}", column, vectors)
    return column


def _camera(column: str, cameras: Sequence[ImageFeature], root: Path) -> ImageFeature:
    """The camera with this key or short name."""
    for camera in cameras:
        if column in (camera.key, camera.name):
            return camera
    raise unknown_name(f"camera of {root}", column, [camera.name for camera in cameras])


def _joined(features: Mapping[str, Any], parts: Sequence[str]) -> dict[str, Any]:
    """The feature that several, one after the other, make."""
    named = [(part, entry_names(features[part], part)) for part in parts]
    counts = Counter(name for _, names in named for name in names)
    doubled = any(count > 1 for count in counts.values())
    names = [
        f"{part.rpartition('.')[2]}.{name}" if doubled else name
        for part, names in named
        for name in names
    ]
    if len(parts) == 1 and not flat_names(features[parts[0]]):
        return {**features[parts[0]], "names": None}
    return {"dtype": "float32", "shape": [len(names)], "names": names}


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
            table = without_gaps(self._columns.table(table, str(record.data)), self._index.root)
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

    def vectors(self, names: Sequence[str], most: int) -> list[list[NDArray[Any]]]:
        """`[N, D]` of each of some vectors, for up to `most` of the episodes that can be read."""
        stored = [part for name in names for part in self._columns.sources(name)]
        stored.append("episode_index")
        found: list[list[NDArray[Any]]] = []
        last: tuple[Path, pa.Table, NDArray[Any]] | None = None
        for record in self._index.records[:most]:
            with suppress(DataError):  # whoever reads it is told
                if last is None or last[0] != record.data:
                    table = read_parquet(record.data, stored)
                    last = record.data, table, _owners(table, record.data)
                rows = last[1].take(np.flatnonzero(last[2] == record.index))
                if not len(rows):
                    continue
                found.append([self._columns.vector(n, rows, str(record.data)) for n in names])
        return found

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
    """`[N]` the episode of each row."""
    if "episode_index" not in table.column_names:
        raise DataError(f"{path} lacks the column episode_index")
    return np.asarray(table["episode_index"].to_numpy())
