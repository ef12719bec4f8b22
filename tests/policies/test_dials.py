"""Dials that spoil any policy, and experts that others wrote."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from worldsim.errors import UsageError
from worldsim.policies.base import Policy
from worldsim.policies.dials import DialledPolicy, Dials
from worldsim.policies.pool import build_policy
from worldsim.spec import (
    ActionMode,
    ActionSpec,
    CameraSpec,
    VectorSpec,
    WorldSpec,
    discrete_actions,
)

NAMES = ("x", "y", "grip")


def world(mode: ActionMode = "delta", **changes: Any) -> WorldSpec:
    action = ActionSpec(NAMES, (-1,) * 3, (1,) * 3, ("m",) * 3, (0.5,) * 3, mode)
    parts: dict[str, Any] = {
        "action": action,
        "agent_pos": VectorSpec(NAMES, ("m",) * 3),
        "state": VectorSpec(("a", "b"), ("1", "1")),
    }
    return WorldSpec(10, (CameraSpec("eye", 8, 8),), **{**parts, **changes})


SPEC = world()


class Steady:
    """Always the same chunk."""

    action_kinds = ("box", "discrete")

    def __init__(self, chunk: Any) -> None:
        self.name, self.chunk = "steady", np.array(chunk, np.float32)
        self.n_action_steps = len(self.chunk)

    def reset(self, env_ids: Any, seed: int) -> None: ...

    def act(self, observation: Any, env_ids: Any) -> Any:
        return np.repeat(self.chunk[None], len(env_ids), axis=0)


def spoiled(spec: WorldSpec = SPEC, chunk: Any = ((0.5, -0.5, 1.0),), **dials: Any) -> Policy:
    return DialledPolicy(Steady(chunk), spec, Dials(**dials))


def run(policy: Policy, steps: int = 4, env: int = 0, here: Any = (0.0, 0.0, 0.0)) -> np.ndarray:
    policy.reset([env], 3)
    seen = {"agent_pos": np.array([here], np.float32), "task": [""], "pixels": {}}
    acted = [policy.act(seen, [env])[0, : policy.n_action_steps] for _ in range(steps)]
    return np.concatenate(acted)


def test_lag_waits_for_the_robot_to_rest_and_then_comes_late() -> None:
    chunk = [[0.1, 0.0, 0.0], [0.2, 0.0, 0.0]]
    acted = run(spoiled(chunk=chunk, lag=3), 3)
    np.testing.assert_allclose(acted[:, 0], [0, 0, 0, 0.1, 0.2, 0.1], atol=1e-7)
    late = run(spoiled(world("absolute"), lag=1), 2, here=(0.2, -0.1, 0.05))
    np.testing.assert_allclose(late[0], [0.4, -0.2, 0.1], atol=1e-6)


def test_speed_scales_motions_and_the_way_to_places_but_no_grip() -> None:
    np.testing.assert_allclose(run(spoiled(speed=0.5), 1), [[0.25, -0.25, 1.0]])
    # The robot is at 0.1 / 0.5 of the action's range, and asked to 0.5.
    half = run(spoiled(world("absolute"), speed=0.5), 1, here=(0.1, 0.1, 0.0))
    np.testing.assert_allclose(half, [[0.35, -0.15, 1.0]], atol=1e-6)


def test_smoothing_is_a_geometric_mean_of_the_past() -> None:
    policy = spoiled(chunk=[[1.0, 0.0, -1.0], [0.0, 0.0, 1.0]], smoothing=0.75)
    acted = run(policy, 2)
    np.testing.assert_allclose(acted[:, 0], [1.0, 0.75, 0.8125, 0.609375])
    np.testing.assert_allclose(acted[:2, 2], [-1.0, -0.5])


def test_noise_has_the_deviation_and_correlation_that_it_says() -> None:
    policy = spoiled(chunk=np.zeros((1, 3)), noise=0.2, noise_correlation=0.8)
    noise = run(policy, 20_000)
    assert (noise[:, 2] == 0).all()
    assert noise[:, :2].std() == pytest.approx(0.2, rel=0.05)
    assert np.corrcoef(noise[:-1, 0], noise[1:, 0])[0, 1] == pytest.approx(0.8, abs=0.03)


def test_an_offset_is_of_its_length_and_holds_for_the_episode() -> None:
    policy = spoiled(chunk=np.zeros((1, 3)), offset=0.3)
    one, other = run(policy), run(policy, env=1)
    assert np.linalg.norm(one[0]) == pytest.approx(0.3) and (one == one[0]).all()
    assert one[0, 2] == 0 and not np.allclose(one[0], other[0])
    np.testing.assert_array_equal(one, run(policy))


def test_what_leaves_the_limits_is_clipped() -> None:
    assert np.abs(run(spoiled(noise=5.0), 50)).max() <= 1.0


def test_choices_are_drawn_at_random_as_often_as_the_noise_says() -> None:
    spec = world(action=discrete_actions(("stay", "left", "right")))
    acted = run(spoiled(spec, [[0.0, 1.0, 0.0]], noise=0.6), 3000)
    assert (acted.sum(1) == 1).all()
    assert acted[:, 1].mean() == pytest.approx(0.6, abs=0.03)  # 0.4 + 0.6 / 3
    with pytest.raises(UsageError, match="its actions are choices"):
        spoiled(spec, speed=0.5)


def test_every_kind_of_a_pool_takes_dials_and_keeps_its_own() -> None:
    plain = build_policy(SPEC, "mine", "random", hold=2)
    late = build_policy(SPEC, "mine", "random", hold=2, lag=1)
    assert not isinstance(plain, DialledPolicy) and late.name == "mine"
    first, second = run(plain, 3), run(late, 3)
    np.testing.assert_array_equal(second[1:], first[:-1])
    np.testing.assert_array_equal(second[0], np.zeros(3))
    with pytest.raises(UsageError, match="policy 'mine'.lag"):
        build_policy(SPEC, "mine", "random", lag=-1)
    with pytest.raises(UsageError, match="Did you mean|known|key in policy 'mine'"):
        build_policy(SPEC, "mine", "random", noisy=1)


EXPERT = """
class Expert:
    def __init__(self, gain=1.0):
        self.gain, self.asked = gain, 0
    def get_action(self, state):
        self.asked += 1
        return [self.gain * state[0], state[1], self.asked]
"""


def expert(folder: Path, **options: Any) -> Policy:
    (folder / "mine.py").write_text(EXPERT)
    return build_policy(SPEC, "mine", "expert", target=f"{folder / 'mine.py'}:Expert", **options)


def test_an_expert_of_others_acts_on_the_state_one_controller_an_episode(tmp_path: Path) -> None:
    policy = expert(tmp_path, arguments={"gain": 2.0})
    policy.reset([4, 7], 0)
    state = np.array([[0.1, 0.5], [0.9, -3.0]], np.float32)
    seen: dict[str, Any] = {"agent_pos": np.zeros((2, 3)), "state": state, "task": ["", ""]}
    acted: Any = policy.act(seen, [4, 7])
    np.testing.assert_allclose(acted[:, 0], np.array([[0.2, 0.5, 1.0], [1.0, -1.0, 1.0]]))
    with pytest.raises(UsageError, match="privileged state or a state estimator"):
        policy.act({k: v for k, v in seen.items() if k != "state"}, [4, 7])


@pytest.mark.parametrize(
    ("options", "said"),
    [({"method": "go"}, "Expert has no method 'go'"), ({"arguments": {"x": 1}}, "'x'")],
)
def test_experts_that_do_not_fit(options: dict[str, Any], said: str, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=said):
        expert(tmp_path, **options)


def test_an_expert_needs_a_world_with_a_state(tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text(EXPERT)
    target = f"{tmp_path / 'mine.py'}:Expert"
    with pytest.raises(UsageError, match=r"name its entries with env\.state"):
        build_policy(world(state=VectorSpec((), ())), "mine", "expert", target=target)
