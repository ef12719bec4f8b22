"""The worlds of baselines: nothing is imagined in them, and what they tell is known beforehand."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from imagination_testing import nano_judge, nano_starts
from lerobot_testing import ForeignSet
from worldsim_testing import nano_model, nano_spec

from worldsim.conventions import Observation
from worldsim.data.dataset import LeRobotDataset
from worldsim.data.split import episodes_of
from worldsim.envs.imagination.engine import ImaginationEngine
from worldsim.envs.imagination.start import Start
from worldsim.errors import UsageError
from worldsim.judge.judge import Judgement, LearnedJudge, ObservedFrame
from worldsim.models.dynamics.base import DynamicsConfig
from worldsim.models.world_model import WorldModel
from worldsim.policies.base import Policy
from worldsim.policies.simple import RandomPolicy, ReplayPolicy, ZeroPolicy
from worldsim.rollout.episodes import RolloutBatch
from worldsim.rollout.held_world import HeldWorld
from worldsim.rollout.recorded_world import RecordedWorld, action_errors
from worldsim.rollout.rollouts import roll_out
from worldsim.rollout.worlds import ImaginedWorld
from worldsim.spec import VectorSpec

STEPS = 5
NO_STATE = VectorSpec((), ())


def pixel_model() -> WorldModel:
    """A model that carries proprioception alone."""
    spec, config = replace(nano_spec(), state=NO_STATE), nano_model().config
    dynamics = replace(config.dynamics, name="agent")
    torch.manual_seed(0)
    model = WorldModel(replace(config, dynamics=dynamics, conditioners=()), spec).eval()
    with torch.no_grad():
        for parameter in model.dynamics.parameters():
            if parameter.abs().max() == 0:
                parameter.normal_(std=0.05)
        model.dynamics.step_size.fill_(0.01)
    return model.requires_grad_(False)


def held(model: WorldModel, moves: bool, judge: LearnedJudge | None = None) -> HeldWorld:
    return HeldWorld("held", model, judge or nano_judge(), moves)


def rolled(
    world: object, starts: Sequence[Start] | None = None, batch_size: int = 64
) -> RolloutBatch:
    policy = RandomPolicy(nano_spec(), hold=2)
    return roll_out(
        policy,
        world,  # type: ignore[arg-type]
        starts or nano_starts(4),
        max_steps=STEPS,
        batch_size=batch_size,
        film=range(4),
    )


@pytest.mark.parametrize("moves", [False, True])
@pytest.mark.parametrize("model", [nano_model(), pixel_model()], ids=["state", "pixels"])
def test_the_first_picture_stays(model: WorldModel, moves: bool) -> None:
    batch = rolled(held(model, moves))
    for start, film in batch.films.items():
        assert (film == film[0]).all() and (film[0] == nano_starts(4)[start].pixels).all()
    for trajectory in batch.trajectories:
        still = np.ptp(trajectory.agent_pos, axis=0).max() == 0
        assert still != moves and len(trajectory.agent_pos) == STEPS + 1
        assert trajectory.probability is not None and np.ptp(trajectory.probability) < 1e-6


def test_the_robot_moves_as_in_imagination_where_there_are_no_objects() -> None:
    model = pixel_model()
    imagined = rolled(ImaginedWorld(ImaginationEngine(model, nano_judge(), 1)))
    moved = rolled(held(model, True))
    for ours, theirs in zip(moved.trajectories, imagined.trajectories, strict=True):
        np.testing.assert_array_equal(ours.action, theirs.action)  # the policy's noise is shared
        np.testing.assert_allclose(ours.agent_pos, theirs.agent_pos, atol=1e-5)


def test_objects_that_are_carried_stay_while_the_robot_moves() -> None:
    model = nano_model()
    known = [replace(s, state=np.array([0.1, -0.1], np.float32)) for s in nano_starts(1)]
    world, dynamics = held(model, True), model.dynamics
    moment = world.start(known, [0], 0)
    before = state = torch.tensor([[*known[0].agent_pos, 0.1, -0.1]])
    rng = np.random.default_rng(0)
    for _ in range(STEPS):
        action = rng.uniform(-1, 1, (1, 5)).astype(np.float32)
        moment = world.step(action)
        after = dynamics.step(before, state, torch.from_numpy(action), torch.ones(1))
        before, state = state, torch.cat([after[:, :10], state[:, 10:]], -1)
        np.testing.assert_allclose(moment.agent_pos, state[:, :10].numpy(), atol=1e-6)


@pytest.mark.parametrize(("threshold", "wins"), [(1e-6, 4), (0.999999, 0)])
def test_the_judge_decides(threshold: float, wins: int) -> None:
    batch = rolled(held(nano_model(), True, nano_judge(threshold)))
    assert batch.success.sum() == wins
    assert batch.length.tolist() == [1 if wins else STEPS] * 4


def test_batches_and_finished_rows_change_nothing() -> None:
    class Half(LearnedJudge):
        """Says yes wherever the robot's x has passed where start 2 begins."""

        def read(self, observation: ObservedFrame, action: np.ndarray | None) -> Judgement:
            seen = super().read(observation, action)
            return seen._replace(
                success_probability=(observation.agent_pos[:, 0] > 0.02).astype(np.float32)
            )

    judge = Half(**{k: v for k, v in vars(nano_judge()).items() if not k.startswith("_")})
    whole = rolled(held(nano_model(), True, judge))
    parts = rolled(held(nano_model(), True, judge), batch_size=1)
    assert len(set(whole.length.tolist())) > 1
    np.testing.assert_array_equal(whole.length, parts.length)
    for ours, theirs in zip(whole.trajectories, parts.trajectories, strict=True):
        np.testing.assert_allclose(ours.agent_pos, theirs.agent_pos, atol=1e-5)


LENGTHS = (6, 5, 7, 4, 6, 5, 8, 5, 6, 5, 6)
"""Episodes of even number succeed."""


@pytest.fixture
def recordings(tmp_path: Path) -> Path:
    made = ForeignSet(lengths=LENGTHS)
    for episode, row in enumerate(made.episodes):
        row["worldsim/fold"] = 9 if episode in (2, 3, 6) else 0
    return made.write(tmp_path / "set")


def asked(policy: Policy, world: RecordedWorld) -> RolloutBatch:
    return roll_out(policy, world, world.starts, max_steps=world.max_steps, batch_size=2)


def test_recordings_are_shown_as_they_went_and_whole(recordings: Path) -> None:
    data = LeRobotDataset(recordings)
    assert [data.index.records[i].index for i in episodes_of(data.folds, "val")] == [2, 3, 6]
    world = RecordedWorld("recorded", recordings, (16, 24))
    batch = asked(RandomPolicy(world.spec), world)
    assert batch.length.tolist() == [6, 7], "held-out successes alone"
    for trajectory, episode in zip(batch.trajectories, (2, 6), strict=True):
        recorded = data.episode(episode)
        np.testing.assert_array_equal(trajectory.agent_pos, recorded.agent_pos)
        assert trajectory.expert is not None and np.isnan(trajectory.expert[0]).all()
        np.testing.assert_array_equal(trajectory.expert[1:], recorded.action)
    assert world.starts[0].pixels.shape == (1, 16, 24, 3) and world.starts[0].task == "push it"


def test_action_error_is_zero_of_the_recording_and_the_mean_size_of_action_of_zeros(
    recordings: Path,
) -> None:
    world, data = RecordedWorld("recorded", recordings, (16, 24)), LeRobotDataset(recordings)
    actions = [data.episode(i).action for i in (2, 6)]
    again = asked(ReplayPolicy(world.spec, actions=actions), world)
    np.testing.assert_allclose(action_errors(again), 0, atol=1e-6)
    nothing = asked(ZeroPolicy(world.spec), world)
    expected = [np.abs(each).mean() for each in actions]
    np.testing.assert_allclose(action_errors(nothing), expected, atol=1e-6)
    off = [np.clip(each, -0.5, 0.5) for each in actions]
    moved = asked(ReplayPolicy(world.spec, actions=off), world)
    expected = [np.abs(a - b).mean() for a, b in zip(actions, off, strict=True)]
    np.testing.assert_allclose(action_errors(moved), expected, atol=1e-6)


def test_a_chunk_is_compared_with_the_actions_that_were_taken_meanwhile(recordings: Path) -> None:
    class Ahead:
        """Answers with the position, in chunks of three."""

        name, n_action_steps = "ahead", 3

        def reset(self, env_ids: Sequence[int], seed: int) -> None:
            pass

        def act(self, observation: Observation, env_ids: Sequence[int]) -> np.ndarray:
            return np.repeat(observation["agent_pos"][:, None, :3], 3, axis=1)

    world, data = RecordedWorld("recorded", recordings, (16, 24)), LeRobotDataset(recordings)
    found = action_errors(asked(Ahead(), world))
    for error, number in zip(found, (2, 6), strict=True):
        episode = data.episode(number)
        low, high = np.array(world.spec.action.low), np.array(world.spec.action.high)
        said = [np.clip(episode.agent_pos[t - t % 3], low, high) for t in range(episode.length)]
        assert error == pytest.approx(float(np.abs(said - episode.action).mean()), abs=1e-6)


def test_an_episode_in_which_the_policy_breaks_off_tells_no_error(recordings: Path) -> None:
    class Breaks(ZeroPolicy):
        def act(self, observation: Observation, env_ids: Sequence[int]) -> np.ndarray:
            answer = super().act(observation, env_ids)
            return np.where(np.asarray(env_ids)[:, None, None] == 1, np.nan, answer)

    world = RecordedWorld("recorded", recordings, (16, 24))
    errors = action_errors(asked(Breaks(world.spec), world))
    assert np.isfinite(errors[0]) and np.isnan(errors[1])
    with pytest.raises(UsageError, match="follow no recording"):
        action_errors(rolled(held(nano_model(), False)))


def test_recordings_without_held_out_success_are_refused(tmp_path: Path) -> None:
    root = ForeignSet(lengths=(6, 5)).write(tmp_path / "set")  # the last is held out, and fails
    with pytest.raises(UsageError, match="none of its 1 held-out episodes succeeded"):
        RecordedWorld("recorded", root, (16, 24))


def test_dynamics_without_parameters_hold_the_robot_too() -> None:
    spec, config = replace(nano_spec(), state=NO_STATE), nano_model().config
    config = replace(config, dynamics=DynamicsConfig("none"), conditioners=())
    world = held(WorldModel(config, spec).eval().requires_grad_(False), True)
    assert all(np.ptp(t.agent_pos, axis=0).max() == 0 for t in rolled(world).trajectories)
