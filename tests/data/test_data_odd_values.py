"""One odd value anywhere in a data set is told in words, or does no harm; verify agrees."""

import json
import warnings
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from lerobot_testing import TOP, ForeignSet

from worldsim.data.dataset import LeRobotDataset
from worldsim.data.faults import errors_of
from worldsim.data.verify import verify
from worldsim.errors import WorldsimError

ODD_VALUES: tuple[Any, ...] = (None, float("nan"), -1, 10**12, "text", [], {}, True, 0.5)
SIZE = (16, 16)


def is_told(root: Path, what: Any) -> bool:
    """Whether a set is refused in words, which verify then says too; anything else is raised."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            dataset = LeRobotDataset(root)
            for episode in range(dataset.num_episodes):
                dataset.episode(episode)
        except WorldsimError:
            assert errors_of(verify(root)), what
            return True
    partial = dataset.num_episodes < len(dataset.whole.records)  # files are where none are
    assert bool(errors_of(verify(root))) == partial, what
    return partial


@pytest.mark.parametrize("version", ["v3.0", "v2.1"])
def test_of_info(tmp_path: Path, version: str) -> None:
    root = ForeignSet(version, lengths=(3, 2), size=SIZE).write(tmp_path / "set")
    path = root / "meta/info.json"
    sound = json.loads(path.read_text())
    places: list[tuple[str, ...]] = [(key,) for key in sound]
    places += [("features", key) for key in sound["features"]]
    places += list(product(("features",), (TOP, "action"), ("dtype", "shape", "names")))
    told = 0
    for place, value in product(places, ODD_VALUES):
        info = json.loads(json.dumps(sound))
        node = info
        for key in place[:-1]:
            node = node[key]
        node[place[-1]] = value
        path.write_text(json.dumps(info))
        told += is_told(root, (place, value))
    assert told > len(places)


@pytest.mark.parametrize("version", ["v3.0", "v2.1"])
def test_of_the_episodes_table(tmp_path: Path, version: str) -> None:
    told = 0
    for column, (number, value) in product(
        ForeignSet(version).episodes[0], enumerate(ODD_VALUES[:5])
    ):
        data = ForeignSet(version, lengths=(3, 2), size=SIZE)
        data.episodes[1] = {**data.episodes[1], column: value}
        try:
            root = data.write(tmp_path / f"{column.replace('/', '_')}_{number}")
        except pa.ArrowException:
            continue  # no column holds both kinds of values
        told += is_told(root, (column, value))
    assert told > 6


def test_of_the_rows(tmp_path: Path) -> None:
    told = 0
    for column, (number, value) in product(
        ForeignSet().rows[0], enumerate((None, float("nan"), -7))
    ):
        data = ForeignSet(kind="image", lengths=(3, 2), size=SIZE)
        cells: list[Any] = [
            cell.item() if isinstance(cell, np.generic) else cell for cell in data.rows[1][column]
        ]
        cells[1] = [value, 0.0, 0.0] if isinstance(cells[1], list) else value
        data.rows[1][column] = cells
        try:
            root = data.write(tmp_path / f"{column}_{number}")
        except pa.ArrowException:
            continue
        told += is_told(root, (column, value))
    assert told > 6


def test_of_the_lengths_of_lists(tmp_path: Path) -> None:
    """Lists of 2 and 4 numbers are not two lists of 3."""
    data = ForeignSet(kind="image", lengths=(3, 2), size=SIZE)
    data.rows[1]["action"] = [[0.1, 0.2], [0.3, 0.4, 0.5, 0.6]]
    assert is_told(data.write(tmp_path / "set"), "lists")
