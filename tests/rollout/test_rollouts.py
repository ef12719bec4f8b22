"""Rollouts: paired, independent of batching, and robust against policies that break."""

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest
from imagination_testing import nano_judge, nano_starts
from worldsim_testing import nano_model

from worldsim.conventions import Observation
from worldsim.envs.imagination import SimulatorStarts
from worldsim.errors import UsageError
from worldsim.rollout.acting import GuardedPolicy
from worldsim.rollout.episodes import METRICS, RolloutBatch
from worldsim.rollout.results import Job, read_result, write_result
from worldsim.rollout.rollouts import rollout_imagination, rollout_simulator

REACH = "worldsim/TabletopReach-v0"
SMALL = {"image_size": 32, "max_episode_steps": 4}


SAME_PROBABILITY = 1e-3
"""Batches of another size may round a pixel the other way: that moves a judge's answer by less."""


class Wander:
    """Random actions in chunks; env i's depend on (seed, i) only."""

    name = "wander"

    def __init__(self, n_action_steps: int = 1) -> None:
        self.n_action_steps = n_action_steps
        self.asked: list[list[int]] = []
        self._rngs: dict[int, np.random.Generator] = {}

    def reset(self, env_ids: Sequence[int], seed: int) -> None:
        self._rngs.update({i: np.random.default_rng([seed, i]) for i in env_ids})

    def act(self, observation: Observation, env_ids: Sequence[int]) -> np.ndarray:
        self.asked.append(list(env_ids))
        shape = (self.n_action_steps, 5)
        return np.stack([self._rngs[i].uniform(-1, 1, shape) for i in env_ids]).astype(np.float32)


class Breaks(Wander):
    """Does something wrong to the envs in `victims` from its third turn on."""

    name = "breaks"

    def __init__(self, victims: Sequence[int], how: Callable[[np.ndarray], np.ndarray]) -> None:
        super().__init__()
        self.victims, self.how, self.turn = set(victims), how, 0

    def act(self, observation: Observation, env_ids: Sequence[int]) -> np.ndarray:
        actions = super().act(observation, env_ids)
        if len(self.asked) < 3:
            return actions
        for row, env_id in enumerate(env_ids):
            if env_id in self.victims:
                actions[row] = self.how(actions[row])
        return actions


def explode(_: np.ndarray) -> np.ndarray:
    raise RuntimeError("gripper on fire")


def imagine(policy: Wander, **options: object) -> RolloutBatch:
    arguments = {"sampling_steps": 1, "max_steps": 4} | options
    return rollout_imagination(policy, nano_model(), nano_judge(), nano_starts(4), **arguments)  # type: ignore[arg-type]


def probabilities(batch: RolloutBatch) -> list[np.ndarray]:
    found = [trajectory.probability for trajectory in batch.trajectories]
    return [probability for probability in found if probability is not None]


def assert_same(first: RolloutBatch, second: RolloutBatch) -> None:
    assert first.start_ids == second.start_ids and first.errors == second.errors
    np.testing.assert_array_equal(first.success, second.success)
    np.testing.assert_array_equal(first.length, second.length)
    for a, b in zip(probabilities(first), probabilities(second), strict=True):
        np.testing.assert_allclose(a, b, atol=SAME_PROBABILITY)


@pytest.mark.usefixtures("float32_inference")
def test_batches_of_any_size_give_the_same_rollouts() -> None:
    assert_same(imagine(Wander()), imagine(Wander(), batch_size=3))


def test_same_seed_repeats_and_another_differs() -> None:
    everyone = {"film": [0, 1, 2, 3]}
    first, second = imagine(Wander(), **everyone), imagine(Wander(), **everyone)
    other = imagine(Wander(), seed=1, **everyone)
    for a, b in zip(probabilities(first), probabilities(second), strict=True):
        np.testing.assert_array_equal(a, b)
    for start, film in first.films.items():
        np.testing.assert_array_equal(film, second.films[start])
        assert (film[1:] != other.films[start][1:]).any()


@pytest.mark.parametrize("chunk", [1, 2, 3])
def test_chunks_are_executed_whole(chunk: int) -> None:
    policy = Wander(chunk)
    batch = imagine(policy, film=[1])
    assert len(policy.asked) == -(-4 // chunk)
    rng = np.random.default_rng([0, 1])
    expected = np.concatenate([rng.uniform(-1, 1, (chunk, 5)) for _ in policy.asked])[:4]
    np.testing.assert_allclose(batch.trajectories[1].action, expected, atol=1e-6)


def test_films_hold_every_frame_of_the_chosen_starts_only() -> None:
    batch = imagine(Wander(), film=[2])
    assert list(batch.films) == [2]
    film = batch.films[2]
    assert film.shape == (5, 3, 32, 32, 3)
    np.testing.assert_array_equal(film[0], nano_starts(4)[2].pixels)


def test_trajectories_hold_every_observation_and_action() -> None:
    batch = imagine(Wander())
    for trajectory, start in zip(batch.trajectories, nano_starts(4), strict=True):
        assert trajectory.agent_pos.shape == (5, 10) and trajectory.action.shape == (4, 5)
        np.testing.assert_array_equal(trajectory.agent_pos[0], start.agent_pos)
        assert trajectory.progress is not None and len(trajectory.progress) == 5
        assert trajectory.probability is not None and len(trajectory.probability) == 5
        assert trajectory.pose is None and trajectory.event is None


@pytest.mark.parametrize(
    ("how", "message"),
    [(explode, "gripper on fire"), (lambda action: action * np.nan, "NaN")],
)
def test_only_the_concerned_episodes_fail(
    how: Callable[[np.ndarray], np.ndarray], message: str
) -> None:
    batch = imagine(Breaks([1, 3], how))
    assert [bool(error) for error in batch.errors] == [False, True, False, True]
    assert all(message in failure for failure in batch.failures)
    assert not batch.success[[1, 3]].any()
    assert batch.length.tolist() == [4, 2, 4, 2]


@pytest.mark.usefixtures("float32_inference")
def test_the_others_are_not_changed_by_a_failure() -> None:
    broken, healthy = imagine(Breaks([1], lambda a: a * np.nan)), imagine(Wander())
    for row in (0, 2, 3):
        np.testing.assert_allclose(
            probabilities(broken)[row], probabilities(healthy)[row], atol=SAME_PROBABILITY
        )


def test_a_success_reached_before_breaking_off_does_not_count() -> None:
    class BreaksAtOnce(Wander):
        def reset(self, env_ids: Sequence[int], seed: int) -> None:
            raise ValueError("no weights")

    batch = imagine(BreaksAtOnce())
    assert not batch.success.any() and len(batch.failures) == 4
    assert "ValueError: no weights" in batch.failures[0]


@pytest.mark.parametrize("shape", [(4, 5), (3, 1, 5), (4, 1, 6), (4, 0, 5)])
def test_wrong_shapes_are_named(shape: tuple[int, ...]) -> None:
    class Misshapen(Wander):
        def act(self, observation: Observation, env_ids: Sequence[int]) -> np.ndarray:
            return np.zeros(shape, np.float32)

    guarded = GuardedPolicy(Misshapen(), nano_model().spec.action)
    chunk = guarded.act({"pixels": {}, "agent_pos": np.zeros((4, 3)), "task": [""] * 4}, range(4))
    assert all(error and "expected [4, 1 or more, 5]" in error for error in chunk.errors)


def test_a_policy_that_always_fails_is_not_asked_row_by_row() -> None:
    class Down(Wander):
        def act(self, observation: Observation, env_ids: Sequence[int]) -> np.ndarray:
            super().act(observation, env_ids)
            raise TimeoutError("no answer")

    policy = Down()
    policy.reset(range(4), 0)
    observation = {"pixels": {}, "agent_pos": np.zeros((4, 3)), "task": [""] * 4}
    chunk = GuardedPolicy(policy, nano_model().spec.action).act(observation, range(4))
    assert chunk.errors == ["TimeoutError: no answer"] * 4
    assert len(policy.asked) == 1 + 3


def test_a_batch_is_stored_and_restored(tmp_path: Path) -> None:
    batch, job = imagine(Breaks([1], explode)), Job("a", "imagination")
    write_result(tmp_path, job, {}, batch)
    again = read_result(tmp_path, job)
    assert again is not None
    assert again.errors == batch.errors and again.length.tolist() == batch.length.tolist()
    for name in METRICS:
        np.testing.assert_allclose(again.outcomes(name), batch.outcomes(name), atol=5e-5)
    for ours, theirs in zip(batch.trajectories, again.trajectories, strict=True):
        np.testing.assert_array_equal(ours.agent_pos, theirs.agent_pos)
        np.testing.assert_array_equal(ours.action, theirs.action)


def test_simulator_rollouts_start_where_their_starts_do() -> None:
    source = SimulatorStarts(REACH, SMALL)
    starts = [source.seeded(seed) for seed in (5, 6, 7)]
    batch = rollout_simulator(Wander(2), REACH, starts, env_kwargs=SMALL, film=[0, 2])
    for row in (0, 2):
        np.testing.assert_array_equal(batch.films[row][0], starts[row].pixels)
    assert batch.judged is None and batch.length.max() <= 4
    split = [
        rollout_simulator(Wander(2), REACH, [start], env_kwargs=SMALL, start_ids=[i])
        for i, start in enumerate(starts)
    ]
    for i, alone in enumerate(split):
        np.testing.assert_array_equal(
            alone.trajectories[0].progress, batch.trajectories[i].progress
        )


def test_bad_requests_say_what_was_expected() -> None:
    with pytest.raises(UsageError, match="seed"):
        rollout_simulator(Wander(), REACH, nano_starts(1), env_kwargs=SMALL)
    with pytest.raises(UsageError, match="max_steps"):
        imagine(Wander(), max_steps=0)
