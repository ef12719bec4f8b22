"""Data sets whose columns are called otherwise than LeRobot's, or are several."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
from lerobot_testing import ForeignSet, codes

from worldsim.data.cache import build_cache
from worldsim.data.dataset import LeRobotDataset
from worldsim.data.faults import errors_of
from worldsim.data.merge import merge
from worldsim.data.selection import Selection, read_selection
from worldsim.data.verify import verify
from worldsim.envs.imagination import DatasetStarts
from worldsim.errors import DataError, DataWarning, UsageError

OPENPI = {"action": "actions", "observation.state": "state"}
FILMS = ("image", "wrist_image")


def renamed(made: ForeignSet, names: dict[str, str]) -> ForeignSet:
    for before, after in names.items():
        made.info["features"][after] = made.info["features"].pop(before)
        for rows in made.rows:
            rows[after] = rows.pop(before)
    return made


def with_column(made: ForeignSet, name: str, names: list[str] | None = None) -> ForeignSet:
    """A column of two numbers a row: of the episode, and of the row."""
    made.info["features"][name] = {"dtype": "float32", "shape": [2], "names": names}
    for episode, rows in enumerate(made.rows):
        rows[name] = [[float(episode), float(row)] for row in range(made.lengths[episode])]
    return made


def columns(**given: Any) -> Selection:
    return read_selection(given)


@pytest.fixture
def openpi(tmp_path: Path) -> Path:
    made = ForeignSet("v3.0", cameras=FILMS, kind="image")
    return renamed(made, OPENPI).write(tmp_path / "openpi")


def test_names_of_openpi_are_found_and_said(openpi: Path, tmp_path: Path) -> None:
    with pytest.warns(DataWarning, match="column 'actions' is taken as 'action'"):
        dataset = LeRobotDataset(openpi)
    standard = LeRobotDataset(ForeignSet("v3.0", cameras=FILMS, kind="image").write(tmp_path / "b"))
    assert dataset.spec == standard.spec and dataset.spec.camera_names == FILMS
    for episode in range(3):
        found, truth = dataset.episode(episode), standard.episode(episode)
        np.testing.assert_array_equal(found.action, truth.action)
        np.testing.assert_array_equal(found.agent_pos, truth.agent_pos)
    faults = verify(openpi)
    assert len(faults) == 2 and not errors_of(faults), "which names were found is told"


def test_columns_are_joined_in_the_order_given(tmp_path: Path) -> None:
    made = with_column(ForeignSet("v2.1"), "action.gripper", ["width", "force"])
    root = renamed(made, {"action": "action.arm"}).write(tmp_path / "set")
    with pytest.raises(DataError, match=r"columns.action=NAME says which"):
        _ = LeRobotDataset(root).spec
    chosen = columns(
        action=["action.arm", "action.gripper"], state=["action.gripper", "observation.state"]
    )
    dataset = LeRobotDataset(root, chosen)
    spec, episode = dataset.spec, dataset.episode(1)
    assert spec.action.names == ("arm_0", "arm_1", "arm_2", "width", "force")
    assert spec.action.low[3:] == (0.0, 0.0) and spec.action.high[3:] == (2.0, 6.0)
    assert spec.agent_pos.names[:2] == ("width", "force")
    np.testing.assert_array_equal(
        episode.action[:, :3], np.float32(made.rows[1]["action.arm"][:-1])
    )
    np.testing.assert_array_equal(episode.action[:, 3:], [[1.0, row] for row in range(4)])
    np.testing.assert_array_equal(episode.agent_pos[:, 2:], made.rows[1]["observation.state"])
    np.testing.assert_array_equal(
        build_cache(root, selection=chosen).action[:5], dataset.arrays(0)["action"][:5]
    )


def test_a_column_takes_the_place_of_the_one_of_lerobots_name(tmp_path: Path) -> None:
    root = with_column(ForeignSet("v2.1"), "target").write(tmp_path / "set")
    stats = {"action": {"min": [-9.0] * 3, "max": [9.0] * 3}}
    (root / "meta/stats.json").write_text(json.dumps(stats))
    dataset = LeRobotDataset(root, columns(action="target"))
    assert dataset.spec.action.dim == 2 and dataset.spec.action.high == (2.0, 6.0)
    assert "target" not in dataset.rows(0).column_names


def test_names_that_two_columns_share_are_told_apart(tmp_path: Path) -> None:
    made = with_column(ForeignSet("v2.1"), "left.pose", ["x", "y"])
    root = with_column(made, "right.arm", ["x", "y"]).write(tmp_path / "set")
    spec = LeRobotDataset(root, columns(action=["left.pose", "right.arm"])).spec
    assert spec.action.names == ("pose.x", "pose.y", "arm.x", "arm.y")


@pytest.mark.parametrize("kind", ["image", "video"])
@pytest.mark.parametrize(
    ("wanted", "names"),
    [
        (["wrist_image"], ("wrist_image",)),
        (["wrist_image", "image"], ("wrist_image", "image")),
        ({"hand": "wrist_image", "top": "image"}, ("hand", "top")),
        ({"image": "wrist_image", "wrist_image": "image"}, ("image", "wrist_image")),
    ],
)
def test_cameras_are_chosen_ordered_and_renamed(
    wanted: Any, names: tuple[str, ...], kind: str, tmp_path: Path
) -> None:
    made = ForeignSet("v3.0", cameras=FILMS, kind=kind)
    root = made.write(tmp_path / "set")
    chosen = columns(cameras=wanted)
    dataset = LeRobotDataset(root, chosen)
    assert dataset.spec.camera_names == names
    columns_of = wanted if isinstance(wanted, dict) else {name: name for name in wanted}
    whole = LeRobotDataset(root)
    for name, column in columns_of.items():
        assert codes(dataset.frames(1, name)) == codes(whole.frames(1, column))
    assert verify(root, selection=chosen) == []
    start = DatasetStarts(root, "all", selection=chosen).episode(0)
    assert len(start.pixels) == len(names)


@pytest.mark.parametrize("kind", ["image", "video"])
def test_merged_sets_have_lerobots_names(kind: str, tmp_path: Path) -> None:
    roots = [
        renamed(ForeignSet("v3.0", cameras=FILMS, kind=kind), OPENPI).write(tmp_path / name)
        for name in "ab"
    ]
    chosen = columns(action="actions", state="state", cameras={"top": "image"})
    merged = merge(roots, tmp_path / "both", selection=chosen)
    assert {"action", "observation.state", "observation.images.top"} <= set(merged.info["features"])
    assert not {"actions", "state", *FILMS} & set(merged.info["features"])
    stored = pq.read_schema(merged.index.records[0].data).names
    assert "action" in stored and "actions" not in stored
    assert codes(merged.frames(3, "top")) == codes(
        LeRobotDataset(roots[0], chosen).frames(0, "top")
    )
    assert verify(merged.root) == []


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"action": "actoins"}, "Did you mean 'actions'"),
        ({"action": "image"}, "unknown column of numbers"),
        ({"cameras": ["top"]}, "unknown camera .* Known: image, wrist_image"),
        ({"cameras": {"a": "image", "b": "image"}}, "'image' twice"),
        ({"action": {"x": 1}}, r"columns.action is .*expected text .* or a list"),
        ({"cameras": {"a": 3}}, "columns.cameras.a is 3"),
        ({"actions": "x"}, "Did you mean 'action'"),
    ],
)
def test_columns_that_are_not_there_are_refused(given: Any, said: str, openpi: Path) -> None:
    with pytest.raises(UsageError, match=said):
        LeRobotDataset(openpi, read_selection(given))
