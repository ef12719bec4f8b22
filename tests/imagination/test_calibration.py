"""Calibration of imagined cameras: kept over resets, brought along, asked for where it lacks."""

import copy
import warnings
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from imagination_testing import nano_judge, nano_starts
from worldsim_testing import CAMERAS, nano_model, nano_spec

from worldsim.cameras.rig import CameraRig
from worldsim.conventions import split_views, stack_views
from worldsim.envs import make
from worldsim.envs.imagination import (
    FrameStarts,
    ImaginationEnv,
    ImaginationVectorEnv,
    SimulatorStarts,
    Start,
)
from worldsim.envs.imagination.engine import ImaginationEngine
from worldsim.errors import QualityWarning, UsageError
from worldsim.models.pretrained import SHIPPED
from worldsim.models.world_model import WorldModel
from worldsim.play.session import PlaySession
from worldsim.sampling.sampler import Sampler

ACTIONS = np.random.default_rng(0).uniform(-1, 1, (2, 5)).astype(np.float32)


def shifted(rig: CameraRig, metres: float) -> CameraRig:
    extrinsics = rig.extrinsics.copy()
    extrinsics[:, 0, 3] += metres
    return replace(rig, extrinsics=extrinsics)


def own_rigs(count: int = 3) -> list[Start]:
    """Starts whose cameras stand at different places."""
    starts = nano_starts(count)
    return [replace(s, rig=shifted(rig_of(s), 0.05 * i)) for i, s in enumerate(starts)]


def rig_of(start: Start) -> CameraRig:
    assert start.rig is not None
    return start.rig


def env_of(starts: list[Start]) -> ImaginationEnv:
    return ImaginationEnv(nano_model(), nano_judge(), FrameStarts(starts, nano_spec()), 1)


def observation_of(start: Start, **more: Any) -> dict[str, Any]:
    pixels = split_views(start.pixels, CAMERAS)
    return {"pixels": pixels, "agent_pos": start.agent_pos, **more}


def rolled(env: ImaginationEnv, state: Any) -> np.ndarray:
    """Frames `[T, V, H, W, 3]` after a reset to `state`, with the same noise every time."""
    env.reset(seed=7, options={"initial_state": state})
    return np.stack([stack_views(env.step(a)[0]["pixels"], CAMERAS) for a in ACTIONS])


def test_an_observation_keeps_the_calibration_of_its_episode() -> None:
    starts = own_rigs()
    env = env_of(starts)
    env.reset(options={"initial_state": 2})
    told = {n: rolled(env, observation_of(starts[0], rig=starts[n].rig)) for n in (1, 2)}
    assert not np.array_equal(told[1], told[2]), "calibration matters"
    env.reset(options={"initial_state": 2})
    for _ in range(2):  # and goes on keeping it
        np.testing.assert_array_equal(rolled(env, observation_of(starts[0])), told[2])
    np.testing.assert_array_equal(
        rolled(env, observation_of(starts[0], rig=starts[1].rig)), told[1]
    )
    np.testing.assert_array_equal(rolled(env, replace(starts[0], rig=None)), told[1])


def test_every_row_of_a_vector_keeps_its_own_calibration() -> None:
    starts = own_rigs()
    env = ImaginationVectorEnv(
        3, nano_model(), nano_judge(), FrameStarts(starts, nano_spec()), sampling_steps=1
    )
    seen = observation_of(starts[0])

    def held() -> np.ndarray:
        return env.engine.stream._running.rig.extrinsics.numpy()[:, 0, 0, 3]

    env.reset(seed=0, options={"initial_state": [2, 1, 0]})
    before = held()
    np.testing.assert_allclose(before, [0.1, 0.05, 0.0], atol=1e-6)
    env.reset(options={"initial_state": seen})
    np.testing.assert_array_equal(held(), before)
    mask = np.array([True, False, True])
    env.reset(options={"initial_state": seen, "reset_mask": mask})
    np.testing.assert_array_equal(held(), before)
    twin = env.engine.stream.fork()
    np.testing.assert_array_equal(twin._running.rig.extrinsics.numpy()[:, 0, 0, 3], before)
    env.reset(options={"initial_state": [2, seen, seen], "reset_mask": ~mask})
    np.testing.assert_array_equal(held(), before)


def test_before_any_episode_it_is_what_all_starts_share() -> None:
    starts = nano_starts()
    told = rolled(env_of(starts), observation_of(starts[0], rig=starts[0].rig))
    np.testing.assert_array_equal(rolled(env_of(starts), observation_of(starts[0])), told)
    apart = own_rigs()
    unknown = rolled(env_of([replace(s, rig=None) for s in starts]), observation_of(starts[0]))
    assert not np.array_equal(unknown, told)
    np.testing.assert_array_equal(rolled(env_of(apart), observation_of(apart[0])), unknown)


@pytest.mark.parametrize(("factors", "shared"), [("none", True), ("camera_pose", False)])
def test_a_simulator_knows_its_cameras_where_they_stay(factors: str, shared: bool) -> None:
    arguments = {"image_size": 32, "factors": factors}
    source = SimulatorStarts("worldsim/TabletopReach-v0", arguments)
    simulator: Any = make("worldsim/TabletopReach-v0", **arguments)
    simulator.reset(seed=5)
    assert (source.rig is not None) == shared
    if source.rig is not None:
        assert source.rig.agrees_with(simulator.unwrapped.camera_rig)


def test_cameras_are_matched_by_name_and_must_be_those_of_the_world() -> None:
    start = own_rigs()[1]
    rig, env = rig_of(start), env_of([start])
    told = rolled(env, observation_of(start, rig=rig))
    turned = rolled(env, observation_of(start, rig=rig.arranged(CAMERAS[::-1])))
    np.testing.assert_array_equal(turned, told)
    for wrong in (rig.to_json(), replace(rig, names=("a", "b", "c"))):
        with pytest.raises(UsageError, match="exterior_1"):
            env.reset(options={"initial_state": observation_of(start, rig=wrong)})
        with pytest.raises(UsageError, match="exterior_1"):
            FrameStarts([replace(start, rig=wrong)], nano_spec())  # type: ignore[arg-type]


def test_an_observation_keeps_instruction_and_missing_cameras_too() -> None:
    start = nano_starts(1)[0]
    lacking = replace(start, views=np.array([True, True, False]))
    env = env_of([lacking])
    env.reset(seed=0)
    seen = env.step(ACTIONS[0])[0]
    assert not seen["pixels"]["wrist"].any()
    del seen["task"]
    again, _ = env.reset(options={"initial_state": seen})
    assert again["task"] == start.task
    assert not env.step(ACTIONS[0])[0]["pixels"]["wrist"].any()
    env.reset(options={"initial_state": observation_of(start)})
    assert env.step(ACTIONS[0])[0]["pixels"]["wrist"].any(), "the camera is there now"


def calibrated(model: WorldModel) -> WorldModel:
    return copy.deepcopy(model).trained_with(calibration=True)


def by_env(model: WorldModel, starts: list[Start]) -> None:
    env = ImaginationEnv(model, nano_judge(), FrameStarts(starts, nano_spec()), 1)
    for _ in range(2):
        env.reset()


def by_vector(model: WorldModel, starts: list[Start]) -> None:
    source = FrameStarts(starts, nano_spec())
    env = ImaginationVectorEnv(2, model, nano_judge(), source, sampling_steps=1)
    env.reset()
    env.reset(options={"reset_mask": np.array([True, False])})


def by_ranking(model: WorldModel, starts: list[Start]) -> None:
    engine = ImaginationEngine(model, nano_judge(), 1)
    for _ in range(2):
        engine.start(starts, range(len(starts)))


def by_play(model: WorldModel, starts: list[Start]) -> None:
    session = PlaySession(model, None, FrameStarts(starts, nano_spec()), None, Sampler(steps=1))
    session.begin(1)


@pytest.mark.parametrize("begin", [by_env, by_vector, by_ranking, by_play])
def test_a_model_that_learnt_calibration_asks_for_it_once(
    begin: Callable[[WorldModel, list[Start]], None],
) -> None:
    known, unknown = nano_starts(), [replace(start, rig=None) for start in nano_starts()]
    mixed = [*known[:-1], unknown[-1]] if begin is by_ranking else unknown

    def said(model: WorldModel, starts: list[Start]) -> list[str]:
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            begin(model, starts)
        return [str(w.message) for w in caught if issubclass(w.category, QualityWarning)]

    (message,) = said(calibrated(nano_model()), mixed)
    assert "rig" in message and "CameraRig" in message
    assert not said(calibrated(nano_model()), known)
    assert not said(nano_model(), unknown)


def test_models_that_ship_know_that_they_learnt_it() -> None:
    for folder in sorted(path.parent for path in SHIPPED.glob("*/config.json")):
        assert WorldModel.from_pretrained(folder).config.calibrated, folder.name
