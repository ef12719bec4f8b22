"""HabitatNav against IndoorNav and MuJoCo's rays: axes, kinds of depth, shortest paths, refusals.

All of it runs with a stand-in for habitat-sim, and with the real one where that is installed.
"""

import inspect
from importlib.util import find_spec
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import fake_habitat
import mujoco
import numpy as np
import pytest
import torch

from worldsim.cameras.projection import PROJECTIONS
from worldsim.cli.main import main
from worldsim.collection.record import record_episode
from worldsim.envs import make
from worldsim.envs.gl import choose_backend
from worldsim.envs.habitat.env import HabitatNav
from worldsim.envs.habitat.graphics import current
from worldsim.envs.habitat.library import ROUTE, check_version
from worldsim.envs.habitat.viewer import viewer
from worldsim.envs.habitat.walking import HabitatPaths, HabitatSpace
from worldsim.envs.indoor.env import IndoorNav
from worldsim.envs.indoor.episode import paths_to, phrase, space_of
from worldsim.envs.indoor.scene import Scene, build_scene
from worldsim.envs.indoor.scene_files import export_scene
from worldsim.errors import DataError, UsageError
from worldsim.policies.pool import build_policy

ID = "worldsim/HabitatNav-v0"
SMALL: dict[str, Any] = {"image_size": 8, "rooms": (2, 3)}
_REAL = pytest.mark.skipif(find_spec("habitat_sim") is None, reason="habitat-sim is not installed")


@pytest.fixture(params=["stand-in", pytest.param("habitat-sim", marks=_REAL)])
def simulator(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    if request.param == "stand-in":
        fake_habitat.install(monkeypatch)
    return str(request.param)


def make_env(**kwargs: Any) -> HabitatNav:
    env = make(ID, **{**SMALL, **kwargs}).unwrapped
    assert isinstance(env, HabitatNav)
    return env


def true_depth(env: HabitatNav, view: int = 0) -> np.ndarray:
    """Depth `[H, W]` of a view as the spec says it, by MuJoCo's rays through the pixels."""
    camera, journey = env.spec_world.cameras[view], env.journey
    info = env._info(False)
    intrinsics = torch.from_numpy(env.camera_rig.intrinsics[view]).double()
    size, unturned = (camera.height, camera.width), torch.eye(3, dtype=torch.float64)
    rays = PROJECTIONS.get(camera.projection).rays(intrinsics[None], unturned[None], *size)[0]
    toward = rays.movedim(0, -1).reshape(-1, 3).numpy()
    length = np.linalg.norm(toward, axis=1)
    pose = np.linalg.inv(journey.to_start) @ info["camera_pose"][view].astype(np.float64)
    model, geom = journey.scene.model, np.zeros(1, np.int32)
    data = mujoco.MjData(model)
    mujoco.mj_forward(model, data)
    turned = (toward / length[:, None]) @ pose[:3, :3].T
    hits = [mujoco.mj_ray(model, data, pose[:3, 3], r, None, 1, -1, geom) for r in turned]
    planar = toward[:, 2] / length if env.spec_world.depth == "planar" else 1.0
    return np.asarray(np.array(hits) * planar).reshape(camera.height, camera.width)


@pytest.mark.parametrize("sensor", ["panorama", "front", "three"])
def test_depth_is_that_of_mujocos_rays_through_the_same_pixels(sensor: str, simulator: str) -> None:
    """So pose, axes, field of view, order of rows and columns, and kind of depth agree."""
    env = make_env(sensor=sensor, image_size=16, fov=80)
    env.reset(seed=2)
    info = env.step(2)[4]
    for view in range(len(env.spec_world.cameras)):
        error = np.abs(info["depth"][view] / true_depth(env, view) - 1)
        assert np.median(error) < 2e-3
        # Faces of a cube and a real depth buffer may take the other side of an edge.
        exact = simulator == "stand-in" and sensor != "panorama"
        assert (error < 0.01).mean() > (0.99 if exact else 0.85)


@pytest.mark.parametrize("sensor", ["front", "panorama"])
def test_pictures_and_depth_are_those_of_indoornav(sensor: str, simulator: str) -> None:
    """Up to sampling: a pixel at an edge may show either side of it."""
    kwargs: dict[str, Any] = {"image_size": 32, "sensor": sensor}
    env, ours = make_env(**kwargs), make("worldsim/IndoorNav-v0", **{**SMALL, **kwargs})
    seen, told = ours.reset(seed=4)
    other, answer = env.reset(seed=4, options=episode_of(ours))
    mine, theirs = (each["pixels"][sensor].astype(np.float64) for each in (seen, other))
    assert np.median(np.abs(mine - theirs)) < 8
    assert np.corrcoef(mine.ravel(), theirs.ravel())[0, 1] > 0.9
    error = np.abs(answer["depth"] / told["depth"] - 1)
    assert np.median(error) < 1e-3 and np.quantile(error, 0.9) < 0.01


def episode_of(env: Any) -> dict[str, Any]:
    """Options that ask for an env's episode."""
    journey = env.unwrapped.journey
    names = [phrase(journey.scene.things[goal], journey.scene.rooms) for goal in journey.goals]
    start = (*journey.start.place, journey.start.yaw)
    return {"scene": journey.scene.number, "start": start, "goals": names, "task": journey.task}


def scenes_of(env: HabitatNav, number: int) -> tuple[Scene, Scene]:
    """An apartment in MuJoCo and in habitat-sim."""
    env.reset(seed=0, options={"scene": number})
    return build_scene(number, *SMALL["rooms"]), env.journey.scene


@pytest.mark.parametrize("number", [5, 1_000_003])
def test_shortest_paths_and_free_places_agree(number: int, simulator: str) -> None:
    ours, theirs = scenes_of(make_env(), number)
    rng, exact, meshed = np.random.default_rng(0), space_of(ours, 0.18), space_of(theirs, 0.18)
    assert isinstance(meshed, HabitatSpace)
    west, south, east, north = ours.rooms[0].inside
    places = rng.uniform((west, south), (east, north), (120, 2))
    clear, shut = exact.is_free(places, 0.1), ~exact.is_free(places, -0.1)
    assert meshed.is_free(places)[clear].mean() > 0.97 and not meshed.is_free(places)[shut].any()
    both = places[clear][:6]
    for goal in range(0, len(ours.things), 3):
        one, other = paths_to(ours, 0.18, goal), paths_to(theirs, 0.18, goal)
        assert isinstance(other, HabitatPaths)
        for place in both:
            straight, meant = one.distance(place), other.distance(place)
            assert np.isfinite(straight) == np.isfinite(meant)
            if np.isfinite(straight):
                assert meant == pytest.approx(straight, rel=0.08, abs=0.3)
                way = other.path(place)
                length = np.hypot(*np.diff(way, axis=0).T).sum()
                assert length == pytest.approx(meant, abs=0.1)


def test_a_goal_that_lies_nowhere_is_out_of_reach(simulator: str) -> None:
    env = make_env()
    env.reset(seed=1)
    scene, place = env.journey.scene, env.journey.place
    space = space_of(scene, 0.18)
    paths = scene.paths(space, np.array([[-40.0, 3.0], [900.0, 900.0]]))
    assert len(paths.goals) == 0 and paths.distance(place) == float("inf")
    assert paths.next(place)[0] == float("inf")
    np.testing.assert_array_equal(paths.path(place), place[None])


@pytest.mark.parametrize("sliding", [True, False])
def test_walls_stop_who_walks_into_them(sliding: bool, simulator: str) -> None:
    env = make_env(sliding=sliding, max_episode_steps=200)
    env.reset(seed=6)
    space, bumped = space_of(env.journey.scene, 0.18), 0
    for _ in range(30):
        before = env.journey.place
        info = env.step(1)[4]
        made = np.hypot(*(info["position"] - before))
        assert space.is_free(info["position"]) or simulator != "stand-in"
        # A mesh may bend a step around a corner, to an end farther off than was asked for.
        if not info["collided"]:
            assert made == pytest.approx(0.25, abs=1e-5)
        elif simulator == "stand-in":
            assert made < 0.25 - 1e-6
        bumped += info["collided"]
    assert bumped > 5


@pytest.mark.parametrize("options", [{}, {"actions": "continuous"}, {"sliding": False, "turn": 15}])
def test_the_expert_arrives_by_habitats_follower(options: dict[str, Any], simulator: str) -> None:
    env = make(ID, **{**SMALL, "sensor": "front", "depth": False, **options})
    unwrapped: Any = env.unwrapped
    policy = build_policy(unwrapped.spec_world, "geodesic", "geodesic")
    episodes = [record_episode(env, policy, ID, seed, seed) for seed in range(3)]
    assert np.mean([episode.meta.success for episode in episodes]) > 0.6


def test_the_same_episode_and_policy_run_in_both(simulator: str) -> None:
    ours: Any = make("worldsim/IndoorNav-v0", **SMALL)
    ours.reset(seed=11)
    theirs, asked = make_env(), episode_of(ours)
    policy = build_policy(theirs.spec_world, "geodesic", "geodesic")
    ended = []
    for env in (ours, theirs):
        observation, info = env.reset(seed=11, options=asked)
        assert observation["task"] == asked["task"]
        policy.reset([0], 3)
        over = False
        while not over:
            seen = {"agent_pos": observation["agent_pos"][None], "state": info["state"][None]}
            observation, _, ended_, out, info = env.step(policy.act(seen, [0])[0, 0].argmax())
            over = ended_ or out
        ended.append(info)
    assert [info["success"] for info in ended] == [True, True]
    assert ended[0]["path_length"] == pytest.approx(ended[1]["path_length"], rel=0.25, abs=0.5)


def test_arguments_are_those_of_indoornav_and_two_more() -> None:
    ours, theirs = (inspect.signature(c.__init__).parameters for c in (IndoorNav, HabitatNav))
    assert list(theirs) == ["self", "files", "gpu_device_id", *list(ours)[1:]]
    assert all(theirs[name] == ours[name] for name in ours)


@pytest.mark.skipif(choose_backend() != "egl", reason="MuJoCo draws by another library than EGL")
def test_a_context_is_current_again_after_another() -> None:
    one, other = mujoco.GLContext(8, 8), mujoco.GLContext(8, 8)
    one.make_current()
    kept = current()
    other.make_current()
    assert current() != kept
    assert kept.make_current() and current() == kept
    other.make_current()
    one.free()
    assert not kept.make_current()
    other.free()


def test_one_simulator_shows_every_scene(monkeypatch: pytest.MonkeyPatch) -> None:
    fake_habitat.install(monkeypatch)
    monkeypatch.setattr(fake_habitat.Simulator, "made", 0)
    one, other = make_env(), make_env(sensor="front")
    one.reset(seed=0)
    other.reset(seed=1)
    one.step(1)
    assert fake_habitat.Simulator.made == 1
    viewer().close()


def test_sensors_that_differ_in_size_or_view_alone_take_turns(simulator: str) -> None:
    """habitat-sim takes specs of equal names for equal, and would go on with the former ones."""
    wide, narrow = (make_env(sensor="front", image_size=16, fov=fov) for fov in (90, 60))
    large = make_env(sensor="front", image_size=32)
    asked = {"scene": 0}
    for env in (wide, narrow, large, wide, large):
        error = np.abs(env.reset(seed=2, options=asked)[1]["depth"][0] / true_depth(env) - 1)
        assert np.median(error) < 2e-3


def test_scenes_come_from_a_folder_that_was_exported(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fake_habitat.install(monkeypatch)
    export_scene(build_scene(3, 2, 3), tmp_path)
    env = make_env(files=str(tmp_path))
    env.reset(seed=0, options={"scene": 3})
    with pytest.raises(UsageError, match=r"no file .*worldsim scene export scenes=\[4\]"):
        env.reset(seed=0, options={"scene": 4})
    with pytest.raises(UsageError, match="no file"):
        make_env(files=str(tmp_path), rooms=(2, 4)).reset(seed=0, options={"scene": 3})
    (path,) = tmp_path.glob("*.glb")
    path.write_bytes(path.read_bytes()[:1000])
    with pytest.raises(DataError, match="no whole .glb"):
        make_env(files=str(tmp_path), sensor="front").reset(seed=0, options={"scene": 3})
    with pytest.raises(UsageError, match="is no folder"):
        make_env(files=str(tmp_path / "none"))
    with pytest.raises(UsageError, match="gpu_device_id"):
        make_env(gpu_device_id=-2)


def test_habitat_sim_absent_is_one_line_with_the_way_to_get_it(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("worldsim.envs.habitat.library.find_spec", lambda name: None)
    with pytest.raises(UsageError, match="optional package 'habitat_sim'.*conda install"):
        make_env()
    assert main(["collect", "env=habitat", "episodes=1", f"out={tmp_path / 'out'}"]) == 2
    said = capsys.readouterr().err.strip()
    assert said.count("\n") == 0 and ROUTE in said and not (tmp_path / "out").exists()


@pytest.mark.parametrize("version", ["0.2.4", "0.4.0", "1.0", "unknown", "0.30.1"])
def test_other_versions_are_refused(version: str, monkeypatch: pytest.MonkeyPatch) -> None:
    fake_habitat.install(monkeypatch, version)
    with pytest.raises(UsageError, match=f"version {version}, expected 0.3.x"):
        make_env()
    check_version("0.3.4")


def test_a_step_that_was_bent_collided_even_if_it_is_not_shorter() -> None:
    """habitat-sim's mesh leads such steps along a wall, and its own rule compares lengths."""
    bent = SimpleNamespace(try_step=lambda start, end: np.array([end[0] + 0.05, 0.0, end[2]]))
    whole = SimpleNamespace(try_step=lambda start, end: end)
    place, step = np.array([1.0, 2.0]), np.array([0.25, 0.0])
    for pathfinder, collided in ((bent, True), (whole, False)):
        moved = HabitatSpace(np.zeros((0, 16)), 0.18, pathfinder).move(place, step, True)
        assert moved.collided is collided
        assert np.hypot(*(moved.place - place)) >= 0.25 - 1e-6
