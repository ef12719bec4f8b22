"""Poses and depth of envs that draw themselves: axes, units, and rules that cannot be."""

from typing import Any

import numpy as np
import pytest
from picture_testing import DotEnv, register

from worldsim.envs.foreign import ForeignEnv
from worldsim.envs.foreign_entries import Entry, Returned
from worldsim.envs.foreign_sight import DepthRequest, PoseRequest
from worldsim.errors import UsageError

SUCCESS = {"key": "reached"}


class Body:
    """Where a walker is; y up, in feet, heading in degrees."""

    def __init__(self, place: Any) -> None:
        self.place, self.turned, self._secret = np.asarray(place, np.float64), 90.0, 1.0

    @property
    def nowhere(self) -> Any:
        return np.array([np.nan, 0.0, 0.0])


class SeeingDot(DotEnv):
    """A dot that somebody looks at; depth is the column's number, in centimetres."""

    def reset(self, *, seed: int | None = None, options: Any = None) -> Any:
        answer = super().reset(seed=seed)
        self.body = Body([3.0, 1.0, -2.0])
        return answer

    def step(self, action: Any) -> Any:
        self.body.place = self.body.place + (0, 0, -1)
        return super().step(action)

    def _observe(self) -> dict[str, Any]:
        seen = super()._observe()
        return {**seen, "labels": seen["view"][..., :1].copy()}

    def depth(self) -> Any:
        return np.tile(np.arange(1, 17, dtype=np.float32), (16, 1))[..., None]


POSE: dict[str, Any] = {
    "position": "env.body.place",
    "heading": "env.body.turned",
    "fovx": 90,
    "fovy": 60,
}
FEET: dict[str, Any] = {"axes": ["x", "-z", "y"], "metres": 0.3048, "height": 0.5, "degrees": True}
DEPTH: dict[str, Any] = {"kind": "planar", "method": "depth", "metres": 0.01}
ONE: dict[str, Any] = {"cameras": ["view"]}


def seeing(**kwargs: Any) -> ForeignEnv:
    return ForeignEnv(register(SeeingDot), **{"image_size": 16, "success": SUCCESS, **kwargs})


def test_a_place_and_a_heading_become_a_pose_in_our_axes() -> None:
    env = seeing(pose={**POSE, **FEET})
    _, info = env.reset(seed=0)
    pose = info["camera_pose"][0]
    np.testing.assert_allclose(pose[:3, 3], (0.3048 * 3, 0.3048 * 2, 0.3048 * 1 + 0.5), rtol=1e-6)
    np.testing.assert_allclose(pose[:3, 2], (0, 1, 0), atol=1e-6)  # ahead: a quarter turn left of x
    np.testing.assert_allclose(pose[:3, 0], (1, 0, 0), atol=1e-6)  # right
    np.testing.assert_allclose(pose[:3, 1], (0, 0, -1), atol=1e-6)  # down
    rig = env.camera_rig
    assert rig is not None and env.spec_world.camera_pose
    expected = np.array([[8.0, 0.0, 8.0], [0.0, 8.0 * 3**0.5, 8.0], [0.0, 0.0, 1.0]])
    np.testing.assert_allclose(rig.intrinsics[0], expected, rtol=1e-6)
    moved = env.step(np.zeros(1, np.float32))[4]["camera_pose"][0]
    np.testing.assert_allclose(moved[:3, 3] - pose[:3, 3], (0, 0.3048, 0), atol=1e-6)


def test_a_camera_may_ride_on_an_agent_whose_pose_is_then_measured() -> None:
    env = seeing(pose={**POSE, **FEET, "carrier": "agent"})
    plain = seeing(pose={**POSE, **FEET}).spec_world.agent_pos
    spec = env.spec_world
    added = ("agent_x", "agent_y", "agent_cos", "agent_sin")
    assert spec.agent_pos.names == (*plain.names, *added)
    assert spec.agent_pos.units[-4:] == ("m", "m", "1", "1")
    assert {camera.carrier for camera in spec.cameras} == {"agent"}
    observation, info = env.reset(seed=0)
    for _ in range(2):
        x, y, cos, sin = observation["agent_pos"][-4:]
        agent = np.array([[cos, -sin, 0, x], [sin, cos, 0, y], [0, 0, 1, 0], [0, 0, 0, 1]])
        rig = env.camera_rig
        assert rig is not None and rig.mounted.all()
        np.testing.assert_allclose(agent @ rig.extrinsics, info["camera_pose"], atol=1e-6)
        observation, _, _, _, info = env.step(np.zeros(1, np.float32))


def test_a_state_brings_poses_back() -> None:
    env = seeing(pose={**POSE, **FEET})
    env.reset(seed=1)
    for _ in range(3):
        before = env.step(np.zeros(1, np.float32))[4]
    state = env.get_state()
    env.step(np.zeros(1, np.float32))
    again = env.reset(seed=5, options={"initial_state": state})[1]
    np.testing.assert_array_equal(before["camera_pose"], again["camera_pose"])


def test_depth_is_read_in_metres_and_grey_pictures_are_pictures() -> None:
    env = seeing(depth=DEPTH, image_size=8, **ONE)
    _, info = env.reset(seed=0)
    assert env.spec_world.depth == "planar" and info["depth"].shape == (1, 8, 8)
    np.testing.assert_allclose(info["depth"][0, 0], 0.01 * np.arange(1, 17, 2), rtol=1e-6)
    turned = [{"name": "a", "source": "view", "flip": "horizontal"}]
    mirrored = seeing(depth=DEPTH, image_size=8, cameras=turned).reset(seed=0)[1]["depth"]
    np.testing.assert_array_equal(mirrored, info["depth"][..., ::-1])
    grey = seeing(cameras=["labels"]).reset(seed=0)[0]["pixels"]["labels"]
    np.testing.assert_array_equal(grey[..., 0], grey[..., 2])
    assert grey.max() == 255


@pytest.mark.parametrize(
    ("kwargs", "said"),
    [
        ({"pose": {**POSE, "axes": ["x", "z", "y"]}}, "no mirror image"),
        ({"pose": {**POSE, "axes": ["x", "y", "up"]}}, "each of x, y and z once"),
        ({"pose": {**POSE, "axes": ["x", "y"]}}, "each of x, y and z once"),
        ({"pose": {**POSE, "metres": 0}}, "metres"),
        ({"pose": {**POSE, "fovx": 180}}, "fovx"),
        ({"pose": {"position": "env.body.place", "fovx": 9, "fovy": 9}}, "heading is missing"),
        ({"pose": {**POSE, "position": "env.body.turned"}}, "expected 3 finite numbers"),
        ({"pose": {**POSE, "position": "env.body.nowhere"}}, "expected 3 finite numbers"),
        ({"pose": {**POSE, "position": "env.body.legs"}}, "no public attribute 'legs'"),
        ({"pose": {**POSE, "heading": "env.body._secret"}}, "no public attribute '_secret'"),
        ({"pose": {**POSE, "heading": "env.depth"}}, "no public attribute 'depth'"),
        ({"pose": POSE, "cameras": [{"name": "a", "source": "view", "flip": "both"}]}, "turned"),
        ({"depth": {"kind": "planar"}, **ONE}, "one of key"),
        ({"depth": {**DEPTH, "kind": "inverse"}, **ONE}, "inverse"),
        ({"depth": {**DEPTH, "method": "_observe"}, **ONE}, "no public method"),
        ({"depth": {"kind": "planar", "key": "view"}, **ONE}, r"expected finite numbers \[H, W\]"),
        ({"depth": DEPTH, "cameras": ["view", "render"]}, "of one camera"),
    ],
)
def test_rules_that_cannot_be(kwargs: dict[str, Any], said: str) -> None:
    with pytest.raises(UsageError, match=said):
        seeing(**kwargs)


def test_a_mujoco_env_knows_its_own_poses() -> None:
    cameras: list[dict[str, Any]] = [{"name": "a", "position": [1, 0, 1], "target": [0, 0, 0]}]
    rules: list[dict[str, Any]] = [{"pose": POSE}, {"depth": DEPTH}]
    for kwargs in rules:
        with pytest.raises(UsageError, match="is a MuJoCo environment"):
            ForeignEnv("Pusher-v5", cameras=cameras, success=False, **kwargs)


def test_an_observation_that_holds_env_goes_before_the_env() -> None:
    returned = Returned({"env": {"x": 2.0}}, {}, Body([0, 0, 0]))
    assert Entry.parse("env.x").numbers(returned).tolist() == [2.0]
    assert Entry.parse("env.turned").numbers(Returned({}, {}, Body([0, 0, 0]))).tolist() == [90.0]


def test_requests_stand_for_themselves() -> None:
    """Made in Python, they are held to the same limits."""
    with pytest.raises(UsageError, match="metres"):
        DepthRequest("planar", key="a", metres=-1.0)
    with pytest.raises(UsageError, match="fovy"):
        PoseRequest("a", "b", 60.0, 0.0)
