"""Which files of a folder are films and tables of which episode.

An episode is a folder with one table and one film a camera, called as the camera is:
`take1/{actions.csv,front.mp4,wrist.mp4}`. Or its files lie beside those of others and begin with
its name: `take1.csv`, `take1.mp4`, `take1_wrist.mp4`. `episodes.csv` may tell task and success by
episode.
"""

import csv
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from worldsim.data.importing.tables import SUFFIXES
from worldsim.errors import DataError

FILMS = (".mp4", ".mkv", ".mov", ".avi", ".webm")
ALONE = "camera"
"""Name of the camera of a film that is called as its episode is."""
MANIFEST = "episodes.csv"


@dataclass(frozen=True)
class Files:
    """Files of an episode: its name, its table, {camera: film}."""

    name: str
    table: Path
    films: Mapping[str, Path]


def recognises(path: Path) -> bool:
    """Whether a folder holds films with tables beside them."""
    return path.is_dir() and bool(episodes_of(path))


def episodes_of(root: Path) -> list[Files]:
    """Episodes of a folder and of all below it, by name."""
    folders = [root, *sorted(each for each in root.glob("**/*") if each.is_dir())]
    return [episode for folder in folders for episode in _in_folder(root, folder)]


def _in_folder(root: Path, folder: Path) -> list[Files]:
    inside = sorted(each for each in folder.iterdir() if each.is_file())
    films = [each for each in inside if each.suffix.lower() in FILMS]
    tables = [each for each in inside if each.suffix in SUFFIXES and each.name != MANIFEST]
    if not films or not tables:
        return []
    matched: dict[Path, dict[str, Path]] = {table: {} for table in tables}
    for film in films:
        owners = [table for table in tables if _camera_of(film, table) is not None]
        if owners:
            owner = max(owners, key=lambda table: len(table.stem))
            matched[owner][_camera_of(film, owner) or ALONE] = film
    if len(tables) == 1 and not matched[tables[0]]:
        name = str(folder.relative_to(root)) if folder != root else folder.name
        return [Files(name, tables[0], {film.stem: film for film in films})]
    return [
        Files(str(table.relative_to(root).with_suffix("")), table, each)
        for table, each in matched.items()
        if each
    ]


def _camera_of(film: Path, table: Path) -> str | None:
    """The camera of a film by its name after the table's; "" alone, None for another episode's."""
    rest = film.stem.removeprefix(table.stem)
    if not film.stem.startswith(table.stem) or (rest and rest[0] not in "_.-"):
        return None
    return rest[1:]


def read_manifest(path: Path) -> dict[str, dict[str, Any]]:
    """{episode: {"task", "success"}} of `episodes.csv`, where it is."""
    file = path / MANIFEST
    if not file.is_file():
        return {}
    with file.open(newline="", encoding="utf-8-sig") as lines:
        rows = list(csv.DictReader(lines))
    if not rows or "episode" not in rows[0]:
        raise DataError(f"{file}: expected a column `episode`, and `task` or `success` beside it")
    return {str(row["episode"]): row for row in rows}
