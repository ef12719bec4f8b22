"""The imagined env behaves as the simulator env that it stands for."""

import warnings
from dataclasses import replace
from typing import Any

import gymnasium
import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env
from imagination_testing import REPORT, nano_env, nano_judge, nano_starts, random_actions
from worldsim_testing import CAMERAS, nano_model, nano_spec

from worldsim.envs import make
from worldsim.envs.imagination import (
    FrameStarts,
    ImaginationEnv,
    ImaginationVectorEnv,
    SimulatorStarts,
)
from worldsim.envs.imagination.engine import ImaginationEngine
from worldsim.envs.tabletop.reach import TabletopReach
from worldsim.errors import SpecMismatchError, UsageError
from worldsim.judge.judge import LearnedJudge, ObservedFrame
from worldsim.judge.report import EnvReference, VerdictRule
from worldsim.models.heads.state_estimator import StateEstimator, StateEstimatorConfig
from worldsim.models.world_model import WorldModel
from worldsim.play.session import PlaySession
from worldsim.sampling.sampler import Sampler
from worldsim.sampling.stream import Stream
from worldsim.spec import discrete_actions

ENV_ID = "worldsim/Imagination-v0"


def test_gymnasium_finds_nothing_to_complain_about() -> None:
    env = gymnasium.make(
        ENV_ID,
        model=nano_model(),
        judge=nano_judge(),
        starts=FrameStarts(nano_starts(), nano_spec()),
        sampling_steps=1,
        render_mode="rgb_array",
    )
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        # What has no bounds by nature, and what comes of a custom task text, is no fault.
        warnings.filterwarnings("ignore", message=".*(infinity|-inf|Box observation space).*")
        check_env(env.unwrapped)


def test_starts_may_tell_more_than_the_model_s_world_records() -> None:
    spec = replace(nano_spec(), depth="planar", events=("touched",))
    camera = spec.cameras[0]
    seen = np.ones((len(spec.cameras), camera.height, camera.width), np.float32)
    starts = [replace(start, extras={"depth": seen}) for start in nano_starts(2)]
    env = ImaginationVectorEnv(
        2, nano_model(), nano_judge(), FrameStarts(starts, spec), sampling_steps=1
    )
    env.reset(seed=0)
    env.step(np.zeros((2, 5), np.float32))


def test_choices_are_taken_as_whole_numbers() -> None:
    spec = replace(nano_spec(), action=discrete_actions(("forward", "left", "right")))
    judge = LearnedJudge(nano_judge().estimator, spec, VerdictRule(), REPORT)
    starts = FrameStarts(nano_starts(), spec)
    env = ImaginationEnv(nano_model(spec=spec), judge, starts, sampling_steps=1)
    assert env.action_space == gymnasium.spaces.Discrete(3)
    several = ImaginationVectorEnv(2, nano_model(spec=spec), judge, starts, sampling_steps=1)
    env.reset(seed=0, options={"initial_state": 0})
    several.reset(seed=0, options={"initial_state": [0, 1]})
    alone, both = env.step(np.array(2))[0], several.step(np.array([2, 0]))[0]
    np.testing.assert_allclose(both["agent_pos"][0], alone["agent_pos"], atol=1e-5)
    with pytest.raises(UsageError, match="0 to 2, the choices forward, left, right"):
        env.step(np.zeros(3, np.float32))


def test_spaces_are_those_of_the_simulator() -> None:
    starts = SimulatorStarts("worldsim/TabletopReach-v0", {"image_size": 32})
    random_model = WorldModel(nano_model().config, starts.spec)
    estimator = StateEstimator(
        StateEstimatorConfig(3, starts.spec.state.dim, (32, 32), width=8, keypoints=4)
    )
    judge = LearnedJudge(estimator, starts.spec, VerdictRule(), REPORT)
    env = ImaginationEnv(random_model, judge, starts, sampling_steps=1)
    simulator = make("worldsim/TabletopReach-v0", image_size=32)
    assert env.observation_space == simulator.observation_space
    assert env.action_space == simulator.action_space
    first, _ = env.reset(options={"initial_state": 11})
    truth, _ = simulator.reset(seed=11)
    for name in CAMERAS:
        np.testing.assert_array_equal(first["pixels"][name], truth["pixels"][name])
    state = simulator.unwrapped.get_state()  # type: ignore[attr-defined]
    again, _ = env.reset(options={"initial_state": state})
    np.testing.assert_array_equal(again["agent_pos"], truth["agent_pos"])
    assert env.observation_space.contains(env.step(env.action_space.sample())[0])


@pytest.mark.parametrize("vector", [False, True])
def test_closing_closes_the_simulator_that_the_env_made(
    vector: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    closed: list[Any] = []
    monkeypatch.setattr(TabletopReach, "close", lambda self: closed.append(self))
    env_id, given = "worldsim/TabletopReach-v0", {"image_size": 32}
    starts = SimulatorStarts(env_id, given)
    model = WorldModel(nano_model().config, starts.spec)
    estimator = StateEstimator(
        StateEstimatorConfig(3, starts.spec.state.dim, (32, 32), width=8, keypoints=4)
    )
    judge = LearnedJudge(estimator, starts.spec, VerdictRule(), REPORT, EnvReference(env_id, given))

    def made(source: SimulatorStarts | None) -> Any:
        if vector:
            return ImaginationVectorEnv(2, model, judge, source, sampling_steps=1)
        return ImaginationEnv(model, judge, source, sampling_steps=1)

    own, lent = made(None), made(starts)
    lent.close()
    assert not closed, "starts that were passed in may be shared"
    own.close()
    assert closed == [own.starts._env.unwrapped]
    elsewhere = replace(judge, env=EnvReference(env_id, {"image_size": 48}))
    with pytest.raises(SpecMismatchError):
        ImaginationEnv(model, elsewhere, sampling_steps=1)
    assert len(closed) == 2, "what was made in vain"
    session = PlaySession(model, None, starts, None, Sampler(steps=1))
    session.close()
    assert closed[-1] is starts._env.unwrapped


def test_same_seed_same_episode() -> None:
    env = nano_env()
    actions = random_actions(3, 1)[:, 0]

    def roll(seed: int) -> tuple[np.ndarray, list[float]]:
        env.reset(seed=seed)
        steps = [env.step(action) for action in actions]
        frames = np.stack([step[0]["pixels"][CAMERAS[0]] for step in steps])
        return frames, [step[1] for step in steps]

    first, second, other = roll(3), roll(3), roll(4)
    np.testing.assert_array_equal(first[0], second[0])
    assert first[1] == second[1]
    assert not np.array_equal(first[0], other[0])


def test_first_observation_is_the_start() -> None:
    env = nano_env()
    start = nano_starts()[2]
    observation, info = env.reset(seed=0, options={"initial_state": 2})
    for view, name in enumerate(CAMERAS):
        np.testing.assert_array_equal(observation["pixels"][name], start.pixels[view])
    np.testing.assert_array_equal(observation["agent_pos"], start.agent_pos)
    assert observation["task"] == "push the block 2"
    assert info["is_success"] is False and info["success"] is False
    assert info["state"].shape == (2,) and 0 <= info["progress"] <= 1


def test_any_observation_can_be_an_initial_state() -> None:
    env = nano_env()
    env.reset(seed=0)
    observation = env.step(np.zeros(5, np.float32))[0]
    again, _ = env.reset(options={"initial_state": observation})
    np.testing.assert_array_equal(again["pixels"]["wrist"], observation["pixels"]["wrist"])
    with pytest.raises(UsageError, match="agent_pos"):
        env.reset(options={"initial_state": {"pixels": observation["pixels"]}})
    with pytest.raises(UsageError, match="finite"):
        bad = observation | {"agent_pos": np.full(10, np.nan)}
        env.reset(options={"initial_state": bad})


def test_truncated_at_the_horizon_and_not_terminated() -> None:
    env = nano_env(max_episode_steps=2)
    env.reset(seed=0)
    assert env.step(np.zeros(5, np.float32))[2:4] == (False, False)
    assert env.step(np.zeros(5, np.float32))[2:4] == (False, True)


def test_verdict_of_success_terminates_and_pays_the_bonus() -> None:
    env = nano_env(judge=nano_judge(0.001), success_bonus=7.0)
    _, start_info = env.reset(seed=0)
    assert not start_info["is_success"]
    _, reward, terminated, _, info = env.step(np.zeros(5, np.float32))
    assert terminated and info["is_success"]
    assert reward == pytest.approx(7.0 + info["progress"] - start_info["progress"], abs=1e-5)


def test_bad_requests_say_what_was_expected() -> None:
    with pytest.raises(UsageError, match="1 to 8"):
        nano_env(sampling_steps=9)
    with pytest.raises(UsageError, match="render_mode"):
        nano_env(render_mode="human")
    env = nano_env()
    with pytest.raises(UsageError, match="reset"):
        env.step(np.zeros(5, np.float32))
    with pytest.raises(UsageError, match="factors"):
        env.reset(options={"factors": {}})
    env.reset(seed=0)
    with pytest.raises(UsageError, match="NaN"):
        env.step(np.full(5, np.nan, np.float32))


def test_the_scene_begins_where_the_start_says_or_the_judge_sees_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    given: list[np.ndarray] = []
    real = Stream.reset

    def spy(*args: Any, **words: Any) -> Any:
        given.append(words["state"])
        return real(*args, **words)

    monkeypatch.setattr(Stream, "reset", spy)
    told, untold = nano_starts(2)
    told = replace(told, state=np.array([0.1, 0.2], np.float32))
    engine = ImaginationEngine(nano_model(), nano_judge(), 1)
    engine.start([told, untold], [0, 1])
    engine.start([untold], [1], rows=np.array([1]))
    shown = ObservedFrame(untold.pixels[None], untold.agent_pos[None])
    seen = nano_judge().read(shown, None).state[0]
    np.testing.assert_allclose(given[0], np.stack([told.state, seen]), atol=1e-6)
    np.testing.assert_allclose(given[1], seen[None], atol=1e-6)
