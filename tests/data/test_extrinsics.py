"""Cameras whose stated pose does not agree with what they show are flagged."""

import json
from pathlib import Path

import numpy as np
import pytest
from recordings import Array, Take, takes, write_films

from worldsim.cameras.rig import CameraRig
from worldsim.cli.main import main
from worldsim.data.dataset import LeRobotDataset
from worldsim.data.extrinsics import extrinsics_faults, hand_entries, projected, reprojections
from worldsim.data.verify import verify

SIDE = 64


def looking_down(height: float = 2.0) -> Array:
    """A camera over the origin: x of the picture is x of the world, down is -y."""
    pose = np.eye(4)
    pose[:3, :3] = np.diag([1.0, -1.0, -1.0])
    pose[2, 3] = height
    return pose


def rig_of(pose: Array) -> CameraRig:
    focal = np.array([[SIDE, 0, SIDE / 2], [0, SIDE, SIDE / 2], [0, 0, 1]], np.float32)
    return CameraRig(("front",), focal[None], pose[None].astype("f"), np.array([False]))


def drawn(take: Take) -> Take:
    """`take` as the camera above sees its hand, before a still pattern."""
    places = projected(take.state[:, :3].astype(float), rig_of(looking_down()), 0)
    pattern = np.random.default_rng(0).integers(0, 255, (SIDE // 8, SIDE // 8, 3), np.uint8)
    frames = np.repeat(pattern.repeat(8, 0).repeat(8, 1)[None], len(places), 0)
    for frame, (x, y) in zip(frames, places.astype(int), strict=True):
        frame[max(y - 3, 0) : y + 4, max(x - 3, 0) : x + 4] = (255, 0, 0)
    return Take(take.action, take.state, frames, take.wrist, take.success, take.task)


def turned_away() -> Array:
    pose = looking_down()
    pose[:3, :3] = np.eye(3)
    return pose


def beside() -> Array:
    pose = looking_down()
    pose[:2, 3] = (0.7, 0.7)
    return pose


def mirrored() -> Array:
    pose = looking_down()
    pose[:3, :2] *= -1
    return pose


@pytest.fixture(scope="module")
def films(tmp_path_factory: pytest.TempPathFactory) -> Path:
    recorded = [drawn(take) for take in takes(6, scale=0.2)]
    return write_films(tmp_path_factory.mktemp("films") / "set", recorded)


@pytest.mark.parametrize(
    ("pose", "says"),
    [
        (looking_down(), ""),
        (turned_away(), "lies outside the picture in 100%"),
        (beside(), "changes more than in"),
        (mirrored(), "changes more than in"),
    ],
)
def test_wrong_poses_are_flagged(
    films: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], pose: Array, says: str
) -> None:
    (tmp_path / "rig.json").write_text(json.dumps(rig_of(pose).to_json()))
    out = tmp_path / "set"
    options = [f"source={films}", f"out={out}", f"rig={tmp_path / 'rig.json'}"]
    assert main(["data", "import", *options]) == 0
    told, dataset = capsys.readouterr().err, LeRobotDataset(out)
    [found] = reprojections(dataset)
    assert found.camera == "front"
    assert (says in found.message and says in told) if says else not found.message
    assert ("looks wrong" in told) == bool(says) == bool(list(extrinsics_faults(dataset)))
    texts = [str(fault) for fault in verify(out)]
    assert any("pose of camera 'front'" in text for text in texts) == bool(says)
    if not says:
        assert found.seen > 0.95 and found.rank > 0.95


def test_points_are_projected_as_the_pinhole_has_them() -> None:
    points = np.array([[0, 0, 0], [0.5, 0, 0], [0, 0.5, 1.0], [0, 0, 3.0]])
    found = projected(points, rig_of(looking_down()), 0)
    np.testing.assert_allclose(found[:3], [[32, 32], [48, 32], [32, 0]])
    assert np.isnan(found[3]).all(), "behind the camera"


def test_the_hand_is_found_by_its_names() -> None:
    assert hand_entries(("x", "y", "z", "gripper")) == [0, 1, 2]
    assert hand_entries(("grip", "ee_x", "ee_y", "ee_z")) == [1, 2, 3]
    named = ("robot0_eef_pos_x", "robot0_eef_pos_y", "robot0_eef_pos_z")
    assert hand_entries(("q", *named)) == [1, 2, 3]
    assert hand_entries(("joint_0", "joint_1")) is None
