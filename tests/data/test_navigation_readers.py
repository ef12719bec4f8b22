"""Readers of LH-VLN's and VLN-CE's episode files, on files written by independent code."""

import gzip
import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from navigation_files import (
    INSTRUCTION,
    SCENE,
    lhvln_config,
    lhvln_step_task,
    lhvln_task,
    lhvln_trial,
    put_json,
    put_lhvln,
    put_r2r,
    rxr_episode,
    vlnce_episode,
)

from worldsim.data.navigation.frames import (
    from_habitat,
    heading_of_quaternion,
    heading_of_yaw,
    quaternion_of_heading,
    to_habitat,
    wrapped,
    yaw_of_heading,
)
from worldsim.data.navigation.lhvln import read_lhvln_episodes, read_lhvln_tasks
from worldsim.data.navigation.vlnce import read_vlnce
from worldsim.data.navigation.walk import FORWARD, LEFT, STOP
from worldsim.errors import DataError, DataWarning
from worldsim.validation.navigation import NAVIGATION_METRICS, Course, straight_line


def test_frames_by_hand() -> None:
    """Habitat's forward is -z, its right +x, its up +y; ours are +x, -y, +z."""
    there = [(0, 0, -1), (1, 0, 0), (0, 1, 0)]
    np.testing.assert_array_equal(from_habitat(there), [(1, 0, 0), (0, -1, 0), (0, 0, 1)])
    assert np.linalg.det(from_habitat(np.eye(3))) == pytest.approx(1), "no mirror"
    points = np.random.default_rng(0).normal(size=(5, 2, 3))
    np.testing.assert_array_equal(to_habitat(from_habitat(points)), points)


@pytest.mark.parametrize("degrees", [0, 30, 90, 179, -30, -90, -179])
def test_headings_by_hand(degrees: float) -> None:
    """A quaternion about +y turns left, and a heading counts turns left."""
    half = math.radians(degrees) / 2
    quaternion = (0.0, math.sin(half), 0.0, math.cos(half))
    assert heading_of_quaternion(quaternion) == pytest.approx(2 * half)
    assert heading_of_quaternion(-np.array(quaternion) * 3) == pytest.approx(2 * half)
    assert quaternion_of_heading(2 * half) == pytest.approx(quaternion)
    # An agent turned by this quaternion looks along its -z column.
    ahead = from_habitat((-math.sin(2 * half), 0.0, -math.cos(2 * half)))
    np.testing.assert_allclose(ahead, (math.cos(2 * half), math.sin(2 * half), 0), atol=1e-12)
    assert yaw_of_heading(heading_of_yaw(degrees)) == pytest.approx(degrees)
    assert heading_of_yaw(180) == 0 and heading_of_yaw(-150) == pytest.approx(math.radians(30))
    assert wrapped(2 * half + 6 * math.pi) == pytest.approx(2 * half)


@pytest.mark.parametrize("given", [[0, 0, 0, 0], [0, 0, 1], [0, math.nan, 0, 1], [1, 0, 0, 1]])
def test_no_rotation_is_refused(given: list[float]) -> None:
    """The last looks straight up."""
    with pytest.raises(DataError, match=r"no quaternion|no heading"):
        heading_of_quaternion(given)


def test_an_lhvln_task_with_its_expert(tmp_path: Path) -> None:
    put_lhvln(tmp_path)
    with pytest.warns(DataWarning, match=r"starts 0\.25 m from where the expert began it"):
        (episode,) = read_lhvln_tasks(tmp_path, "batch_7")
    assert (episode.name, episode.scene) == (f"2/{INSTRUCTION}", SCENE)
    assert episode.instruction == INSTRUCTION and episode.robot == "spot"
    assert episode.plan == tuple(lhvln_config()["Subtask list"])
    told = [(t.target, t.region, t.room, t.goals) for t in episode.sub_tasks]
    assert told == [("bag", "0", "Bedroom", ()), ("desk", "4", "Office", ())]
    walk = episode.expert
    assert walk is not None
    assert walk.actions == (FORWARD, FORWARD, STOP, LEFT, FORWARD, STOP)
    np.testing.assert_allclose(walk.positions[0], (-5, -1, 0.2))
    np.testing.assert_allclose(walk.positions[2] - walk.positions[1], (0.25, 0, 0), atol=1e-12)
    assert walk.headings[3] == 0 and walk.headings[4] == pytest.approx(math.radians(30))
    moved = walk.positions[5] - walk.positions[4]
    assert math.atan2(moved[1], moved[0]) == pytest.approx(walk.headings[4], abs=0.02)
    assert episode.start is not None and episode.start.position == (-5, -1, 0.2)
    (step,) = episode.step_tasks
    assert (step.first, step.last, step.target, step.region) == (2, 3, "desk", "4")
    assert step.start is not None
    assert step.start.position == pytest.approx((-4.5, -1, 0.2)), "where the expert began it"
    assert step.start.heading == pytest.approx(0)
    with pytest.raises(DataError, match=r"does not say where \['bag', 'desk'\] are"):
        Course.of(episode, straight_line)


def test_lhvln_episodes_in_one_file(tmp_path: Path) -> None:
    task = lhvln_config(gt_step=[3, 2])
    both = {"lh_task": task, "st_task": [lhvln_step_task()]}
    path = put_json(tmp_path / "batch_7.json.gz", {"5": both})
    (episode,) = read_lhvln_episodes(path)
    assert episode.name == "5" and episode.expert is None and episode.start is None
    assert [t.expert_steps for t in episode.sub_tasks] == [3, 2]
    (step,) = episode.step_tasks
    assert step.start is not None and step.start.heading == pytest.approx(math.radians(30))
    np.testing.assert_allclose(step.start.position, (-4.28, -0.875, 0.2))


def test_an_r2r_episode(tmp_path: Path) -> None:
    path = put_r2r(tmp_path / "train.json.gz", vlnce_episode())
    truth = {
        "17": {
            "locations": [[2, 0.1, -3], [1.75, 0.1, -3]],
            "actions": [2, 1, 3, 0],
            "forward_steps": 1,
        }
    }
    gt = put_json(tmp_path / "train_gt.json.gz", truth)
    (episode,) = read_vlnce(path, gt)
    assert (episode.name, episode.details["trajectory_id"]) == ("17", "4")
    assert episode.start is not None
    assert episode.start.position == pytest.approx((3, -2, 0.1))
    assert episode.start.heading == pytest.approx(math.pi / 2)
    (task,) = episode.sub_tasks
    assert task.radius == 3 and task.expert_length == 6.5 and task.expert_steps == 3
    assert task.goals == ((3.5, 4, 0.1),)
    np.testing.assert_allclose(episode.reference_path, [(3, -2, 0.1), (3, 0, 0.1), (3.5, 4, 0.1)])
    np.testing.assert_allclose(episode.expert_path, [(3, -2, 0.1), (3, -1.75, 0.1)])
    assert episode.expert_actions == ("turn_left", "move_forward", "turn_right", "stop")
    course = Course.of(episode, straight_line)
    assert course.reference_path is not None and len(course.reference_path) == 2
    assert course.expert_lengths == (6.5,) and course.expert_steps == (3,)
    course.check(np.array(episode.start.position))


def test_rxr_episodes_by_language(tmp_path: Path) -> None:
    rows = [rxr_episode("hi-IN", episode_id="1"), rxr_episode("en-IN", episode_id="2")]
    path = put_json(tmp_path / "val_guide.json.gz", {"episodes": rows})
    (english,) = read_vlnce(path, languages=("en-US", "en-IN"))
    assert english.name == "2" and english.details["annotator_id"] == "22"
    assert len(read_vlnce(path)) == 2
    with pytest.raises(DataError, match="holds no episode"):
        read_vlnce(path, languages=("te-IN",))


def test_a_test_split_hides_goals(tmp_path: Path) -> None:
    hidden = vlnce_episode(goals=None, reference_path=None, info=None)
    (episode,) = read_vlnce(put_r2r(tmp_path / "test.json.gz", hidden))
    assert episode.sub_tasks == () and episode.reference_path == ()
    with pytest.raises(DataError, match="does not say where"):
        Course.of(episode, straight_line)


SPOILT_VLNCE: list[tuple[dict[str, Any], str]] = [
    ({"reference_path": []}, "reference path of episode 17 has an empty path"),
    ({"reference_path": [[0, 0, math.nan]]}, "nan"),
    ({"info": {"geodesic_distance": math.inf}}, "goal cannot be reached"),
    ({"info": {"geodesic_distance": -1}}, "metres from 0"),
    ({"info": {"geodesic_distance": math.nan}}, "metres from 0"),
    ({"goals": []}, "empty list of goals"),
    ({"goals": [{"radius": 3}]}, "lacks the key 'position'"),
    ({"goals": [{"position": [0, 0, 0], "radius": -1}]}, "radius"),
    ({"start_position": [0, 0]}, "shape"),
    ({"start_rotation": [0, 0, 0, 0]}, "no quaternion"),
    ({"start_rotation": ["a", 0, 0, 1]}, "no array of numbers"),
    ({"start_position": [10**400, 0, 0]}, "no array of numbers"),
    ({"instruction": {"instruction_text": "  "}}, "empty instruction"),
    ({"instruction": None}, "'instruction' is None, expected dict"),
    ({"scene_id": 3}, "'scene_id' is 3, expected str"),
]


@pytest.mark.parametrize(("changes", "message"), SPOILT_VLNCE)
def test_a_spoilt_vlnce_episode(tmp_path: Path, changes: dict[str, Any], message: str) -> None:
    whole = vlnce_episode(episode_id=18)
    path = put_r2r(tmp_path / "train.json.gz", vlnce_episode(**changes), whole)
    with pytest.raises(DataError, match=message):
        read_vlnce(path)
    with pytest.warns(DataWarning, match="left out"):
        (kept,) = read_vlnce(path, skip_faulty=True)
    assert kept.name == "18"


def test_a_missing_scene_is_named(tmp_path: Path) -> None:
    path = put_r2r(tmp_path / "train.json.gz", vlnce_episode())
    with pytest.raises(DataError, match=r"no .*mp3d/17DRP5sb8fy/17DRP5sb8fy\.glb; put the scene"):
        read_vlnce(path, scenes=tmp_path)
    scene = tmp_path / "mp3d" / "17DRP5sb8fy" / "17DRP5sb8fy.glb"
    scene.parent.mkdir(parents=True)
    scene.write_bytes(b"glTF")
    assert len(read_vlnce(path, scenes=tmp_path)) == 1
    prefixed = vlnce_episode(scene_id="data/scene_datasets/mp3d/17DRP5sb8fy/17DRP5sb8fy.glb")
    assert read_vlnce(put_r2r(tmp_path / "aug.json.gz", prefixed), scenes=tmp_path)
    put_lhvln(tmp_path)
    with pytest.raises(DataError, match=f"no .*val/{SCENE} or .*{SCENE}; put"):
        read_lhvln_tasks(tmp_path, "batch_7", scenes=tmp_path / "hm3d")


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda path: path.unlink(), "no such episode file"),
        (lambda path: path.write_bytes(path.read_bytes()[:-20]), "not whole gzip"),
        (lambda path: path.write_bytes(gzip.compress(b'{"episodes": [')), "not valid JSON"),
        (lambda path: path.write_bytes(gzip.compress(b"\xff\xfe")), "not valid JSON"),
        (lambda path: path.write_bytes(gzip.compress(b"[]")), "expected an object with key"),
        (lambda path: path.write_bytes(gzip.compress(b"{}")), "lacks the key 'episodes'"),
        (lambda path: path.write_bytes(gzip.compress(b'{"episodes": []}')), "holds no episode"),
        (
            lambda path: path.write_bytes(gzip.compress(b'{"episodes": [3]}')),
            "is 3, expected an obj",
        ),
    ],
)
def test_a_spoilt_vlnce_file(tmp_path: Path, spoil: Callable[[Path], Any], message: str) -> None:
    path = put_r2r(tmp_path / "train.json.gz", vlnce_episode())
    spoil(path)
    with pytest.raises(DataError, match=message):
        read_vlnce(path)


def test_a_file_that_is_not_compressed_is_read(tmp_path: Path) -> None:
    path = tmp_path / "train.json"
    path.write_text(json.dumps({"episodes": [vlnce_episode()]}))
    assert len(read_vlnce(path)) == 1


@pytest.mark.parametrize(
    ("truth", "message"),
    [
        ({}, "has no episode 17; is it of the same split"),
        ({"17": {"locations": []}}, "empty path"),
        ({"17": {"locations": [[0, 0, 0]], "actions": [9]}}, "action 9 is none of 0 to 5"),
        ([], "no object of episodes"),
    ],
)
def test_a_spoilt_truth_file(tmp_path: Path, truth: Any, message: str) -> None:
    path = put_r2r(tmp_path / "train.json.gz", vlnce_episode())
    with pytest.raises(DataError, match=message):
        read_vlnce(path, put_json(tmp_path / "gt.json.gz", truth))


LAMP = ["Move_to('lamp_0')"]
SPOILT_LHVLN: list[tuple[dict[str, Any], str]] = [
    ({"Subtask list": LAMP}, "asks for lamp_0, and its objects are bag_0, desk_4"),
    ({"Subtask list": ["Move_to('bag_4')"]}, "asks for bag_4"),
    ({"Subtask list": ["Move_to('bag_0')", "Grab('lamp')"]}, "asks for lamp"),
    ({"Subtask list": ["Go('bag_0')"]}, "none of Move_to"),
    ({"Subtask list": ["Move_to('bag')"]}, "names no region"),
    ({"Subtask list": ["Grab('bag')"]}, "nowhere to go"),
    ({"Object": [["bag", "Bedroom"]]}, "no 'Region i: Room'"),
    ({"Object": ["bag", "desk"]}, "no .name, 'Region i: Room'"),
    ({"Task instruction": ""}, "empty instruction"),
    ({"gt_step": [3]}, "for 2 moves"),
    ({"gt_step": ["x", 2]}, "expert_steps"),
    ({"gt_step": [10**400, 2]}, "expert_steps"),
    ({"worldsim": {"sub_tasks": [None, None]}}, "is None, expected an object"),
    ({"worldsim": {"sub_tasks": [{"goals": [[0, 0]]}, {}]}}, "shape"),
    ({"worldsim": {"start": {"position": [0, 0, 0]}}}, "lacks the key 'heading'"),
]


@pytest.mark.parametrize(("changes", "message"), SPOILT_LHVLN)
def test_a_spoilt_lhvln_task(tmp_path: Path, changes: dict[str, Any], message: str) -> None:
    tasks = {"1": lhvln_config(**changes), "2": lhvln_config()}
    data = {name: {"lh_task": task, "st_task": []} for name, task in tasks.items()}
    path = put_json(tmp_path / "batch_7.json.gz", data)
    with pytest.raises(DataError, match=message):
        read_lhvln_episodes(path)
    with pytest.warns(DataWarning, match="left out"):
        assert [each.name for each in read_lhvln_episodes(path, skip_faulty=True)] == ["2"]


def trial(**changes: Any) -> dict[str, Any]:
    parts = lhvln_trial()
    return lhvln_task(trial=parts | {"trial_1": parts["trial_1"] | changes})


@pytest.mark.parametrize(
    ("task", "message"),
    [
        (lhvln_task(**{"Geo dis": [0.5, math.inf]}), "goal of sub-task 2 cannot be reached"),
        (trial(pos=[]), "trial_1 .* empty path"),
        (trial(pos=[[0, math.nan, 0]]), "nan"),
        (trial(yaw=[0.0]), "3 positions, 1 yaws"),
        (trial(action=["stop"]), "3 positions, 3 yaws, 1 actions"),
        (trial(action=[1, 2, 3]), "expected strings"),
        (lhvln_task(trial={"trial_3": {}}), "lacks the key 'trial_0'"),
    ],
)
def test_a_spoilt_expert(tmp_path: Path, task: dict[str, Any], message: str) -> None:
    folder = put_lhvln(tmp_path)
    put_json(folder / "success" / "trial_1" / "task.json", task)
    with pytest.raises(DataError, match=message):
        read_lhvln_tasks(tmp_path, "batch_7")


def test_a_step_task_beyond_the_walk_and_a_missing_batch(tmp_path: Path) -> None:
    put_lhvln(tmp_path)
    put_json(tmp_path / "step_task" / "batch_7" / "late.json", lhvln_step_task(end=9))
    (tmp_path / "step_task" / "batch_7" / "Turn left, go to the desk.json").unlink()
    with pytest.raises(DataError, match="from action 2 to 9, and the expert has 4"):
        read_lhvln_tasks(tmp_path, "batch_7")
    with pytest.raises(DataError, match="no such batch"):
        read_lhvln_tasks(tmp_path, "batch_8")


def test_metrics_of_an_expert_from_a_file(tmp_path: Path) -> None:
    """Given goals, the expert of the file succeeds at both sub-tasks."""
    own = {"sub_tasks": [{"goals": [[-4.0, -1, 0.2]]}, {"goals": [[-4.0, -0.5, 0.2]]}]}
    folder = put_lhvln(tmp_path)
    put_json(folder / "config.json", lhvln_config(worldsim=own))
    put_json(tmp_path / "step_task" / "batch_7" / "Turn left, go to the desk.json",
             lhvln_step_task(start_pos=[1.0, 0.2, 4.5], start_yaw=180))  # fmt: skip
    (episode,) = read_lhvln_tasks(tmp_path, "batch_7")
    assert episode.expert is not None
    course = Course.of(episode, straight_line)
    assert NAVIGATION_METRICS.get("sr_view")(episode.expert, course) == 1
    assert NAVIGATION_METRICS.get("ndtw_repeats")(episode.expert, course) == 1
