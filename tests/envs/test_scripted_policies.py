"""Scripted controllers solve their tasks; the dials spoil them as stated."""

from typing import Any

import numpy as np
import pytest

from worldsim.envs import make
from worldsim.envs.tabletop.base import TabletopEnv
from worldsim.errors import UsageError
from worldsim.policies.base import POLICIES, Policy
from worldsim.policies.scripted.play import PlayPolicy
from worldsim.policies.scripted.policy import ScriptedPolicy
from worldsim.policies.scripted.tasks import CONTROLLERS, controller_for

WORLD_TASK = {"PickPlace": "pick_place", "Shuttle": "push"}
LEAST = {"Reach": 0.98, "Push": 0.93, "PickPlace": 0.9, "Drawer": 0.9, "Shuttle": 0.93}
EPISODES = {"Shuttle": 60}
"""Of a long task; of the others 200."""


def make_env(task: str, **kwargs: Any) -> TabletopEnv:
    env = make(f"worldsim/Tabletop{task}-v0", image_size=8, **kwargs).unwrapped
    assert isinstance(env, TabletopEnv)
    return env


def batch(observation: dict[str, Any], info: dict[str, Any]) -> dict[str, Any]:
    return {"agent_pos": observation["agent_pos"][None], "state": info["state"][None]}


def run(env: TabletopEnv, policy: Policy, seed: int) -> tuple[dict[str, Any], np.ndarray]:
    """Final info and all actions `[T, A]` of one episode."""
    observation, info = env.reset(seed=seed)
    policy.reset([seed], 0)
    actions = []
    for _ in range(env.max_episode_steps):
        actions.append(policy.act(batch(observation, info), [seed])[0, 0])
        observation, _, terminated, _, info = env.step(actions[-1])
        if terminated:
            break
    return info, np.array(actions)


def success_rate(task: str, episodes: int, **kwargs: Any) -> float:
    env = make_env(task, **kwargs)
    policy = ScriptedPolicy(env.spec_world)
    rate = float(np.mean([run(env, policy, 700 + i)[0]["success"] for i in range(episodes)]))
    print(f"{task} {kwargs}: {rate:.3f} of {episodes}")
    return rate


@pytest.mark.parametrize("task", LEAST)
def test_expert_solves_its_task(task: str) -> None:
    assert success_rate(task, 20) >= 0.9


@pytest.mark.slow
@pytest.mark.parametrize("factors", ["none", "in_distribution", "shifted"])
@pytest.mark.parametrize("task", LEAST)
def test_expert_rate_over_many_starts(task: str, factors: str) -> None:
    assert success_rate(task, EPISODES.get(task, 200), factors=factors) >= LEAST[task]


def random_observation(policy_task: str, count: int, seed: int = 0) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(seed)
    size = len(CONTROLLERS[policy_task].state)
    agent_pos = rng.uniform(-0.1, 0.1, (count, 10)).astype(np.float32)
    return {
        "agent_pos": agent_pos,
        "state": rng.uniform(-0.1, 0.1, (count, size)).astype(np.float32),
    }


@pytest.mark.parametrize("kind", ["scripted", "play"])
def test_env_gets_the_same_actions_in_any_batch(kind: str) -> None:
    spec = make_env("Push").spec_world
    dials = {
        "scripted": {"noise": 0.5, "noise_correlation": 0.5, "bias": 0.03, "lag": 1}
        | {"lapses": 0.3, "smoothing": 0.4},
        "play": {"fumbling": 0.5},
    }
    steps = [random_observation("push", 5, seed) for seed in range(6)]

    def play(groups: list[list[int]]) -> np.ndarray:
        out = np.empty((len(steps), 5, 5), np.float32)
        for rows in groups:
            cls: Any = POLICIES.get(kind)
            policy = cls(spec, **dials[kind])
            policy.reset([10 + i for i in rows], seed=4)
            for t, observation in enumerate(steps):
                part = {name: value[rows] for name, value in observation.items()}
                out[t, rows] = policy.act(part, [10 + i for i in rows])[:, 0]
        return out

    whole = play([[0, 1, 2, 3, 4]])
    np.testing.assert_array_equal(whole, play([[3, 1], [4, 0, 2]]))
    assert np.abs(whole).max() <= 1.0
    assert not np.array_equal(whole[:, 0], whole[:, 1])


def test_lag_delays_and_speed_scales() -> None:
    spec = make_env("Push").spec_world
    steps = [random_observation("push", 2, seed) for seed in range(5)]

    def play(**dials: Any) -> np.ndarray:
        policy = ScriptedPolicy(spec, **dials)
        policy.reset([0, 1], seed=0)
        return np.stack([policy.act(observation, [0, 1])[:, 0] for observation in steps])

    expert, late = play(), play(lag=2)
    np.testing.assert_array_equal(late[2:], expert[:-2])
    assert (late[:2] == 0).all()
    np.testing.assert_allclose(play(speed=0.5)[..., :4], 0.5 * expert[..., :4], rtol=1e-6)
    assert (play(stuck_gripper=True)[..., 4] == 1.0).all()
    assert (expert[..., 4] == -1.0).all()


def test_smoothing_brings_actions_gradually() -> None:
    spec = make_env("Push").spec_world
    steps = [random_observation("push", 2, seed) for seed in range(6)]

    def play(**dials: Any) -> np.ndarray:
        policy = ScriptedPolicy(spec, **dials)
        policy.reset([0, 1], seed=0)
        return np.stack([policy.act(observation, [0, 1])[:, 0] for observation in steps])

    wanted, smooth = play(), play(smoothing=0.7)
    np.testing.assert_array_equal(smooth[0], wanted[0])
    for t in range(1, len(steps)):
        np.testing.assert_allclose(smooth[t], 0.3 * wanted[t] + 0.7 * smooth[t - 1], atol=1e-6)


def test_lapses_grip_dawdle_and_misjudge_heights_for_a_while() -> None:
    """Otherwise the expert acts: at the marker it stands still, with open fingers."""
    spec = make_env("Reach").spec_world
    count, steps = 50, 80
    agent_pos = np.zeros((count, 10), np.float32)
    agent_pos[:, 3] = 1.0
    far = np.tile(np.array([0.5, 0.0, 0.0], np.float32), (count, 1))
    policy = ScriptedPolicy(spec, lapses=0.1)
    policy.reset(range(count), seed=1)
    observation = {"agent_pos": agent_pos, "state": far}
    actions = np.stack([policy.act(observation, range(count))[:, 0] for _ in range(steps)])
    expert = ScriptedPolicy(spec)
    expert.reset(range(count), seed=1)
    right = expert.act(observation, range(count))[0, 0]
    grips = actions[..., 4] != right[4]
    assert 0.05 < grips.mean() < 0.4
    assert len(np.unique(actions[..., 4][grips])) > 20, "from open to shut"
    runs = (grips[1:] & grips[:-1] & (actions[1:, :, 4] == actions[:-1, :, 4])).sum()
    assert runs > 0.6 * grips.sum(), "an odd grip lasts"
    slow = np.abs(actions[..., 0]) < 0.99 * abs(right[0])
    assert 0.03 < slow.mean() < 0.4
    risen = actions[..., 2] > right[2] + 1e-3
    assert 0.2 < risen.mean() < 0.95 and not risen[0].all()


def test_drops_open_closing_fingers_for_a_while_and_let_things_fall() -> None:
    env, fallen = make_env("PickPlace"), []

    def opens(grips: list[float]) -> np.ndarray:
        return np.asarray(grips) > 0

    for drops in (0.0, 0.2):
        policy = ScriptedPolicy(env.spec_world, drops=drops)
        falls = []
        for seed in range(6):
            observation, info = env.reset(seed=seed)
            policy.reset([seed], 0)
            heights, grips, done = [], [], False
            while not done:
                batch = {"agent_pos": observation["agent_pos"][None], "state": info["state"][None]}
                action = policy.act(batch, [seed])[0, 0]
                observation, _, ended, cut, info = env.step(action)
                heights.append(info["state"][2])
                grips.append(action[4])
                done = ended or cut
            falls.append(bool(((np.asarray(heights[:-1]) > 0.07) & opens(grips)[1:]).any()))
        fallen.append(sum(falls))
    assert fallen[0] == 0 and fallen[1] >= 3


def test_bias_leads_exactly_so_far_astray() -> None:
    env = make_env("Reach")
    policy = ScriptedPolicy(env.spec_world, bias=0.05)
    for seed in range(4):
        observation, info = env.reset(seed=seed)
        policy.reset([seed], 0)
        # On past the success that a chance crossing of the marker brings.
        for _ in range(25):
            action = policy.act(batch(observation, info), [seed])[0, 0]
            observation, _, _, _, info = env.step(action)
        miss = observation["agent_pos"][:3] - info["state"]
        assert np.linalg.norm(miss[:2]) == pytest.approx(0.05, abs=2e-3)
        assert abs(miss[2]) < 2e-3


def test_height_keeps_the_hand_exactly_so_far_above() -> None:
    env = make_env("Reach")
    policy = ScriptedPolicy(env.spec_world, height=0.03)
    observation, info = env.reset(seed=0)
    policy.reset([0], 0)
    for _ in range(25):
        action = policy.act(batch(observation, info), [0])[0, 0]
        observation, _, _, _, info = env.step(action)
    miss = observation["agent_pos"][:3] - info["state"]
    np.testing.assert_allclose(miss, [0.0, 0.0, 0.03], atol=2e-3)


@pytest.mark.parametrize("correlation", [0.0, 0.8])
def test_noise_has_the_stated_spread_and_memory(correlation: float) -> None:
    spec = make_env("Reach").spec_world
    # At the marker the expert stands still, so that only the noise acts.
    count, steps = 64, 60
    agent_pos = np.zeros((count, 10), np.float32)
    agent_pos[:, 3] = 1.0
    still = {"agent_pos": agent_pos, "state": np.zeros((count, 3), np.float32)}
    policy = ScriptedPolicy(spec, noise=0.2, noise_correlation=correlation)
    policy.reset(range(count), seed=1)
    noise = np.stack([policy.act(still, range(count))[:, 0, :4] for _ in range(steps)])
    assert noise.std() == pytest.approx(0.2, rel=0.06)
    memory = (noise[1:] * noise[:-1]).mean() / noise.var()
    assert memory == pytest.approx(correlation, abs=0.06)


def test_dials_lower_success() -> None:
    env = make_env("Push")
    spoiled = ScriptedPolicy(env.spec_world, noise=1.0, noise_correlation=0.8)
    assert np.mean([run(env, spoiled, i)[0]["success"] for i in range(8)]) < 0.6
    stuck = ScriptedPolicy(make_env("PickPlace").spec_world, stuck_gripper=True)
    assert not any(run(make_env("PickPlace"), stuck, i)[0]["success"] for i in range(4))


def test_state_comes_from_the_estimator_if_given() -> None:
    env = make_env("Push")
    observation, info = env.reset(seed=0)
    seen: dict[str, Any] = {"agent_pos": observation["agent_pos"][None], "pixels": "frames"}
    blind = ScriptedPolicy(env.spec_world)
    blind.reset([0], 0)
    with pytest.raises(UsageError, match="need privileged state or a state estimator"):
        blind.act(seen, [0])

    def estimate(asked: Any) -> np.ndarray:
        assert asked["pixels"] == "frames"
        return np.asarray(info["state"][None])

    seeing = ScriptedPolicy(env.spec_world, estimator=estimate)
    seeing.reset([0], 0)
    np.testing.assert_array_equal(seeing.act(seen, [0]), blind.act(batch(observation, info), [0]))


def test_play_touches_things_and_uses_the_gripper() -> None:
    env = make_env("Push")
    policy = PlayPolicy(env.spec_world)
    moved, grips = [], []
    for seed in range(8):
        start = env.reset(seed=seed)[1]["state"][:2]
        info, actions = run(env, policy, seed)
        moved.append(np.linalg.norm(info["state"][:2] - start))
        grips.append(actions[:, 4])
    assert np.mean(np.array(moved) > 0.02) >= 0.5
    assert {-1.0, 1.0} == set(np.concatenate(grips).tolist())
    fumbler = PlayPolicy(env.spec_world, fumbling=1.0)
    info, actions = run(env, fumbler, 3)
    assert len(np.unique(actions[:, 4])) > 4, "fumbling half closes the fingers"
    assert np.linalg.norm(env.gripper.agent_pos()[:2] - info["state"][:2]) < 0.08, "and stays near"
    # Without the simulator's state it plays on.
    blind = {"agent_pos": env.gripper.agent_pos()[None]}
    policy.reset([0], 0)
    assert policy.act(blind, [0]).shape == (1, 1, 5)


def test_play_that_carries_moves_what_it_lifted() -> None:
    env = make_env("PickPlace", max_episode_steps=120)
    height = env.spec_world.state.names.index("object_z")

    def carried(policy: PlayPolicy) -> float:
        """Metres that the cube travels above the table over three episodes."""
        total = 0.0
        for seed in range(3):
            observation, info = env.reset(seed=seed)
            policy.reset([0], seed)
            before = info["state"]
            for _ in range(120):
                action = policy.act(batch(observation, info), [0])[0, 0]
                observation, _, _, _, info = env.step(action)
                after = info["state"]
                if min(before[height], after[height]) > 0.05:
                    total += float(np.linalg.norm((after - before)[:2]))
                before = after
        return total

    assert carried(PlayPolicy(env.spec_world, carrying=0.4)) > 0.3
    assert carried(PlayPolicy(env.spec_world)) < 0.1
    with pytest.raises(UsageError, match="carrying"):
        PlayPolicy(env.spec_world, carrying=1.5)


def test_controllers_are_chosen_by_state() -> None:
    for task in LEAST:
        spec = make_env(task).spec_world
        assert controller_for(spec) is CONTROLLERS[WORLD_TASK.get(task, task.lower())]
    with pytest.raises(UsageError, match="no scripted controller 'push'"):
        controller_for(make_env("Reach").spec_world, "push")
    with pytest.raises(UsageError, match="unknown scripted task 'psh'"):
        controller_for(make_env("Push").spec_world, "psh")


@pytest.mark.parametrize(
    ("dials", "words"),
    [
        ({"noise": -1.0}, "noise is -1.0; expected a number of 0 or more"),
        ({"noise_correlation": 1.0}, "noise_correlation is 1.0; expected a number below 1"),
        ({"speed": 0.0}, "speed is 0.0"),
        ({"lapses": 1.5}, "lapses is 1.5"),
        ({"drops": -0.5}, "drops is -0.5"),
        ({"smoothing": 1.0}, "smoothing"),
        ({"estimator": lambda observation: observation, "perception": "push"}, "not both"),
    ],
)
def test_bad_dials_are_refused(dials: dict[str, Any], words: str) -> None:
    with pytest.raises(UsageError, match=words):
        ScriptedPolicy(make_env("Push").spec_world, **dials)


def test_acting_without_reset_is_refused() -> None:
    spec = make_env("Push").spec_world
    for policy in (ScriptedPolicy(spec), PlayPolicy(spec)):
        with pytest.raises(UsageError, match="before reset"):
            policy.act(random_observation("push", 1), [3])
