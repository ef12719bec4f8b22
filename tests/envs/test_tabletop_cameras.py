"""Calibration and depth against what is actually drawn."""

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest

from worldsim.envs import make
from worldsim.envs.tabletop.base import TabletopEnv

SIZE = 96


def make_env(task: str) -> TabletopEnv:
    env = make(f"worldsim/Tabletop{task}-v0", image_size=SIZE, factors="camera_pose").unwrapped
    assert isinstance(env, TabletopEnv)
    return env


def end_effector_pose(agent_pos: np.ndarray) -> np.ndarray:
    """`[4, 4]` from position and 6-D rotation."""
    first, second = agent_pos[3:6].astype(float), agent_pos[6:9].astype(float)
    pose = np.eye(4)
    pose[:3, :3] = np.stack([first, second, np.cross(first, second)], axis=1)
    pose[:3, 3] = agent_pos[:3]
    return pose


def camera_to_world(env: TabletopEnv, view: int, agent_pos: np.ndarray) -> np.ndarray:
    rig = env.camera_rig
    pose = rig.extrinsics[view].astype(float)
    return np.asarray(end_effector_pose(agent_pos) @ pose if rig.mounted[view] else pose)


def project_marker(
    env: TabletopEnv, view: int, agent_pos: np.ndarray, place: np.ndarray
) -> tuple[np.ndarray, float]:
    """Centroid (x, y) and area of the marker's outline in pixels, pixel centres at half integers.

    From nearby a sphere's outline is not centred on its middle's projection; seen from the camera
    at distance d it is a circle of radius r sqrt(1 - r^2/d^2) around c (1 - r^2/d^2).
    """
    center = (np.linalg.inv(camera_to_world(env, view, agent_pos)) @ [*place, 1.0])[:3]
    radius, distance = float(env.model.geom("object").size[0]), np.linalg.norm(center)
    shrink = 1.0 - (radius / distance) ** 2
    first = np.cross(center, [1.0, 0.0, 0.0])
    first /= np.linalg.norm(first)
    second = np.cross(center / distance, first)
    angles = np.linspace(0, 2 * np.pi, 64, endpoint=False)[:, None]
    circle = np.cos(angles) * first + np.sin(angles) * second
    rays = (center * shrink + radius * np.sqrt(shrink) * circle) @ env.camera_rig.intrinsics[view].T
    x, y = (rays[:, :2] / rays[:, 2:]).T
    cross = x * np.roll(y, -1) - np.roll(x, -1) * y
    weights = cross / (3.0 * cross.sum())
    centroid = np.array([((v + np.roll(v, -1)) * weights).sum() for v in (x, y)])
    return centroid, abs(float(cross.sum())) / 2


def red_blob(image: np.ndarray) -> tuple[np.ndarray, int] | None:
    """Centroid (x, y) and area of the red marker; None where absent or touching the border."""
    red, green, blue = (image[..., i].astype(float) for i in range(3))
    mask = (red > 2.0 * green) & (red > 2.0 * blue) & (red > 60)
    border = np.concatenate([mask[0], mask[-1], mask[:, 0], mask[:, -1]])
    if mask.sum() < 20 or border.any():
        return None
    rows, columns = np.nonzero(mask)
    return np.array([columns.mean() + 0.5, rows.mean() + 0.5]), int(mask.sum())


@pytest.mark.parametrize("camera", ["exterior_1", "exterior_2", "wrist"])
def test_marker_is_drawn_where_it_projects(camera: str) -> None:
    env = make_env("Reach")
    view = env.spec_world.camera_names.index(camera)
    errors = []
    for seed in range(120 if camera == "wrist" else 40):
        observation, info = env.reset(seed=seed)
        blob = red_blob(observation["pixels"][camera])
        if blob is None:
            continue
        pixel, area = project_marker(env, view, observation["agent_pos"], info["state"])
        # Where much is missing, the gripper hides it.
        if blob[1] > 0.93 * area:
            errors.append(np.linalg.norm(pixel - blob[0]))
    # A half-pixel slip of centres or a mirrored axis would break this bound.
    assert len(errors) >= 8
    assert max(errors) < 0.4


def unproject(env: TabletopEnv, view: int, agent_pos: np.ndarray, depth: np.ndarray) -> Any:
    """World points `[H, W, 3]` of a planar depth image."""
    rows, columns = np.mgrid[0:SIZE, 0:SIZE] + 0.5
    pixels = np.stack([columns, rows, np.ones_like(rows)], axis=-1)
    rays = pixels @ np.linalg.inv(env.camera_rig.intrinsics[view].astype(float)).T
    points = rays * depth[..., None]
    pose = camera_to_world(env, view, agent_pos)
    return points @ pose[:3, :3].T + pose[:3, 3]


@pytest.mark.parametrize("camera", ["exterior_1", "exterior_2", "wrist"])
def test_depth_lands_on_table_and_cube(camera: str) -> None:
    env = make_env("Push")
    view = env.spec_world.camera_names.index(camera)
    seen_cube = 0
    for seed in range(6):
        observation, info = env.reset(seed=seed)
        depth = env.render_depth()[camera]
        assert depth.dtype == np.float32 and depth.shape == (SIZE, SIZE)
        points = unproject(env, view, observation["agent_pos"], depth)
        assert points[..., 2].min() > -1e-3
        assert np.mean(np.abs(points[..., 2]) < 1.5e-3) > 0.3
        image = observation["pixels"][camera].astype(float)
        red = (image[..., 0] > 4 * image[..., 1]) & (image[..., 0] > 150)
        if red.sum() > 30:
            seen_cube += 1
            offset = np.abs(points[red] - info["state"][:3])
            assert np.percentile(offset, 95) < 0.025 * np.sqrt(2) + 2e-3
    assert seen_cube >= 2


def test_wrist_camera_rides_and_the_others_stand() -> None:
    env = make_env("Reach")
    env.reset(seed=0)
    before = env.camera_rig
    for _ in range(5):
        env.step(np.array([0.3, 0.3, -0.5, 1.0, 0.0], np.float32))
    after = env.camera_rig
    np.testing.assert_array_equal(before.mounted, [False, False, True])
    carriers = [camera.carrier for camera in env.spec_world.cameras]
    assert carriers == [None, None, "end_effector"]
    np.testing.assert_allclose(before.extrinsics, after.extrinsics, atol=1e-6)
    assert np.linalg.norm(before.extrinsics[2, :3, 3]) < 0.2


def test_other_threads_see_what_this_one_sees() -> None:
    """A GL context draws nothing, without an error, in a thread where it is not current."""
    env = make("worldsim/TabletopPush-v0", image_size=32)
    here = env.reset(seed=3)[0]["pixels"]
    for _ in range(2):
        with ThreadPoolExecutor(1) as thread:
            there = thread.submit(lambda: env.reset(seed=3)[0]["pixels"]).result()
        for camera, image in here.items():
            np.testing.assert_array_equal(image, there[camera])
