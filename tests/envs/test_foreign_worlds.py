"""MiniWorld, Memory Maze and ViZDoom by their configs, where they are installed.

Packages that are absent or do not load, habitat-sim too, say so in a line. Poses, depth and fields
of view are held to each other: what one frame shows lies where the next one says it is.
"""

import sys
from collections.abc import Callable
from functools import partial
from importlib.util import find_spec
from typing import Any

import numpy as np
import pytest
from omegaconf import OmegaConf

from worldsim.cli.main import main
from worldsim.cli.settings.env import check_env_node, split_env_node
from worldsim.config.compose import compose_config
from worldsim.envs import make
from worldsim.envs.foreign_worlds import register_world
from worldsim.envs.habitat.library import habitat_sim
from worldsim.envs.simulator_check import check_simulator
from worldsim.errors import UsageError
from worldsim.spec import WorldSpec

PACKAGES = {"miniworld": "miniworld", "memory_maze": "memory_maze", "vizdoom": "vizdoom"}
FORWARD = {"miniworld": 2, "memory_maze": 1, "vizdoom": 3}
LEFT = {"miniworld": 0, "memory_maze": 2, "vizdoom": 5}


def arguments(name: str, **more: Any) -> tuple[str, dict[str, Any]]:
    """Id and arguments of a config's env; skips where its package is absent."""
    if find_spec(PACKAGES[name]) is None:
        pytest.skip(f"{PACKAGES[name]} is not installed")
    config = compose_config("collect", [f"env={name}", "out=x"])
    node: Any = OmegaConf.to_container(config, resolve=True)
    env_id, kwargs = split_env_node(node["env"])
    return str(env_id), {**kwargs, **more}


SLOW_MAZE = pytest.param("memory_maze", marks=pytest.mark.slow)


@pytest.mark.parametrize("name", ["miniworld", "vizdoom", SLOW_MAZE])
def test_starts_come_again_and_frames_have_poses(name: str) -> None:
    env_id, kwargs = arguments(name)
    check_env_node({"id": env_id, **kwargs}, {}, "factors")
    if name != "memory_maze":  # which takes minutes of it
        check_simulator(partial(make, env_id, **kwargs), name)
    env: Any = make(env_id, **kwargs).unwrapped
    observation, info = env.reset(seed=3)
    spec: WorldSpec = env.spec_world
    assert spec.action.kind == "discrete" and spec.camera_pose
    assert spec.depth == (None if name == "vizdoom" else "planar")
    again, info_again = env.reset(seed=3)
    for camera in spec.camera_names:
        np.testing.assert_array_equal(observation["pixels"][camera], again["pixels"][camera])
    np.testing.assert_array_equal(info["camera_pose"], info_again["camera_pose"])
    turned = env.step(LEFT[name])[4]["camera_pose"][0]
    ahead, before = turned[:3, 2], info["camera_pose"][0][:3, 2]
    assert np.cross(before, ahead)[2] > 0.01, "to turn left is to turn about z"
    np.testing.assert_allclose(turned[:3, :3] @ turned[:3, :3].T, np.eye(3), atol=1e-5)
    env.close()


@pytest.mark.parametrize("name", ["miniworld", SLOW_MAZE])
def test_depth_of_one_frame_lies_where_the_next_one_sees_it(name: str) -> None:
    env_id, kwargs = arguments(name)
    env: Any = make(env_id, **kwargs).unwrapped
    env.reset(seed=1)
    matrix, size = env.camera_rig.intrinsics[0].astype(np.float64), kwargs["image_size"]
    frames = [env.step(action)[4] for action in (LEFT[name], FORWARD[name], FORWARD[name])]
    one, other = frames[0], frames[-1]
    assert not np.allclose(one["camera_pose"], other["camera_pose"])
    rows, columns = np.mgrid[4 : size - 4 : 3, 4 : size - 4 : 3].reshape(2, -1)
    pixels = np.stack([columns + 0.5, rows + 0.5, np.ones(len(rows))])
    points = np.linalg.inv(matrix) @ pixels * one["depth"][0][rows, columns]
    world = one["camera_pose"][0] @ np.concatenate([points, np.ones((1, len(rows)))])
    seen = matrix @ (np.linalg.inv(other["camera_pose"][0].astype(np.float64)) @ world)[:3]
    place = (seen[:2] / seen[2]).astype(int)
    inside = (seen[2] > 0.2) & (place > 0).all(axis=0) & (place < size - 1).all(axis=0)
    found = other["depth"][0][place[1][inside], place[0][inside]]
    error = np.abs(found / seen[2][inside] - 1)
    assert inside.sum() > 50 and np.median(error) < 0.03
    env.close()


def test_vizdooms_things_are_seen_where_their_places_project() -> None:
    """Of its label buffer: the box of each thing holds the projection of its middle."""
    env_id, kwargs = arguments("vizdoom", image_size=120)
    env: Any = make(env_id, **kwargs).unwrapped
    checked = 0
    for seed in range(12):
        _, info = env.reset(seed=seed)
        rig, source = env.camera_rig, env._inner.unwrapped
        for _ in range(18):
            for label in source.state.labels:
                place = np.array(
                    [label.object_position_x, label.object_position_y, label.object_position_z]
                )
                points = np.stack([place, place + (0, 0, 16)]) / 32
                toward = np.linalg.inv(info["camera_pose"][0].astype(np.float64))
                local = toward @ np.concatenate([points, np.ones((2, 1))], axis=1).T
                foot, top = ((rig.intrinsics[0] @ local[:3]) / local[2])[:2].T
                across, down = kwargs["image_size"] / 160, kwargs["image_size"] / 120
                if label.x <= 1 or label.x + label.width >= 158 or local[2].min() < 1:
                    continue
                middle = (label.x + label.width / 2) * across
                assert abs(foot[0] - middle) < 6, (foot, label.x, label.width)
                low = (label.y + label.height) * down
                assert abs(foot[1] - low) < 10 and top[1] < foot[1]
                checked += 1
            info = env.step(LEFT["vizdoom"])[4]
    assert checked > 0
    env.close()


@pytest.mark.parametrize("name", sorted(PACKAGES))
def test_absent_packages_are_one_line_with_the_extra(
    name: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("worldsim.envs.foreign_worlds.find_spec", lambda package: None)
    monkeypatch.setattr("worldsim.envs.foreign_source.gymnasium.registry", {})
    assert main(["collect", f"env={name}", "episodes=1", f"out={tmp_path / 'out'}"]) == 2
    said = capsys.readouterr().err
    assert f"worldsim[{name.replace('_', '-')}]" in said and not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("package", "load"),
    [
        ("miniworld", partial(register_world, "MiniWorld-Hallway-v0")),
        ("habitat_sim", habitat_sim),
    ],
)
def test_a_package_that_does_not_load_says_so(
    package: str, load: Callable[[], Any], monkeypatch: pytest.MonkeyPatch, tmp_path: Any
) -> None:
    (tmp_path / f"{package}.py").write_text("raise ImportError('libEGL.so.1: cannot open')\n")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, package, raising=False)
    with pytest.raises(UsageError, match="does not load: ImportError: libEGL.so.1"):
        load()


def test_ids_of_nobody_that_is_known_import_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("worldsim.envs.foreign_worlds.import_module", pytest.fail)
    register_world("Pusher-v5")
