"""The formats that are imported, by name.

One more format is one more file with `recognises(path)` and `open_source(path, options)`, and one
more row here.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from worldsim.data.importing import demos, film_files, films, lerobot, minari, rlds
from worldsim.data.importing.source import Source, SourceOptions
from worldsim.errors import UsageError
from worldsim.registry import Registry


@dataclass(frozen=True)
class Importer:
    """One format.

    Attributes:
        recognises: whether a file or folder is of the format.
        open: opens it; may raise DataError and UsageError.
        layout: what is expected, for messages.
    """

    recognises: Callable[[Path], bool]
    open: Callable[[Path, SourceOptions], Source]
    layout: str


IMPORTERS: Registry[Importer] = Registry("kind of recordings")

_ROWS = {
    "lerobot": Importer(lerobot.recognises, lerobot.open_source, "meta/info.json"),
    "minari": Importer(minari.recognises, minari.open_source, f"data/{minari.MAIN}"),
    "libero": Importer(
        demos.is_libero, demos.open_libero, "*.hdf5 with data/demo_N, and problem_info of data"
    ),
    "robomimic": Importer(
        demos.is_robomimic, demos.open_robomimic, "*.hdf5 with data/demo_N/{obs,actions}"
    ),
    "rlds": Importer(rlds.recognises, rlds.open_source, "*.tfrecord*, an episode a record"),
    "films": Importer(
        film_files.recognises,
        films.open_source,
        "NAME.csv beside NAME.mp4, or NAME/{actions.csv,CAMERA.mp4}",
    ),
}
for _name, _row in _ROWS.items():
    IMPORTERS.register(_name)(_row)


def kind_of(path: Path) -> str:
    """The format of a file or folder.

    Raises:
        UsageError: none of them recognises it.
    """
    found = next((name for name, row in _ROWS.items() if row.recognises(path)), None)
    if found is None:
        expected = "; ".join(f"{name}: {row.layout}" for name, row in _ROWS.items())
        raise UsageError(f"{path} is of no known kind. Expected {expected}")
    return found
