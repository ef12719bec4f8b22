"""`experiment=checkpoints_protocol`: what it asks for, and the faults it does not repeat."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from imagination_testing import nano_judge, nano_starts
from omegaconf import OmegaConf
from rank_testing import rank_config, save_nano_run
from worldsim_testing import nano_model

from worldsim.cli.rank import read_settings
from worldsim.cli.settings.check import check_options
from worldsim.config.compose import compose_config
from worldsim.conventions import Observation
from worldsim.envs.imagination.engine import ImaginationEngine
from worldsim.judge.judge import JudgeTracker, LearnedJudge
from worldsim.judge.report import VerdictRule
from worldsim.rollout.evaluator import Evaluator
from worldsim.rollout.rollouts import roll_out
from worldsim.rollout.worlds import ImaginedWorld, SimulatorWorld


def test_the_preset_ranks_the_checkpoints_of_one_policy_from_100_starts(tmp_path: Path) -> None:
    config = compose_config("rank", ["experiment=checkpoints_protocol", f"out={tmp_path}/out"])
    check_options("rank", config)
    settings = OmegaConf.to_container(config, resolve=True)
    assert isinstance(settings, dict)
    eval_config, options = read_settings({str(key): value for key, value in settings.items()})
    assert list(eval_config.policies) == [f"bc_{i}" for i in range(1, 7)]
    assert eval_config.starts.count == 100 and options.metric == "success"
    assert {entry["kind"] for entry in eval_config.policies.values()} == {"behaviour_cloning"}
    assert eval_config.hold == 3 and eval_config.baselines.chosen == ("first_frame", "kinematic")


def test_single_frames_of_a_noisy_judge_are_no_success() -> None:
    """A judge that is wrong in one frame of ten, 300 steps long, as in that protocol."""
    rng = np.random.default_rng(0)
    wrong = (rng.random((300, 100)) < 0.1).astype(np.float32)
    greatest = (wrong.max(axis=0) > 0.5).mean()
    verdicts = {}
    for hold in (1, 3):
        tracker = JudgeTracker(VerdictRule(0.5, hold), 100)
        for frame in wrong:
            tracker.update(frame)
        verdicts[hold] = tracker.succeeded.mean()
    assert greatest == verdicts[1] == 1.0
    # Three wrong frames in a row begin in about one step of 1100.
    assert verdicts[3] < 0.4


def test_policies_are_shown_where_the_model_puts_the_robot_and_not_their_commands() -> None:
    class Watcher:
        """Notes the proprioception it is shown."""

        name, n_action_steps = "watcher", 1

        def __init__(self) -> None:
            self.shown: list[np.ndarray] = []

        def reset(self, env_ids: Sequence[int], seed: int) -> None:
            pass

        def act(self, observation: Observation, env_ids: Sequence[int]) -> np.ndarray:
            self.shown.append(np.asarray(observation["agent_pos"]).copy())
            return np.full((len(env_ids), 1, 5), 0.7, np.float32)

    policy, starts = Watcher(), nano_starts(2)
    engine = ImaginationEngine(nano_model(), nano_judge(), 1)
    batch = roll_out(policy, ImaginedWorld(engine), starts, max_steps=3)
    twin = ImaginationEngine(nano_model(), nano_judge(), 1)
    twin.start(starts, [0, 1], 0)
    for step, shown in enumerate(policy.shown[1:]):
        seen = twin.step(np.full((2, 5), 0.7, np.float32))
        np.testing.assert_allclose(shown, seen.agent_pos, atol=1e-6)
        np.testing.assert_allclose(shown, [t.agent_pos[step + 1] for t in batch.trajectories])
        assert (np.abs(shown[:, :5] - 0.7) > 1e-3).all()


def test_a_hold_is_for_imagination_alone_and_another_result(tmp_path: Path) -> None:
    save_nano_run(tmp_path)
    few = ("films.starts=0", "baselines.kinematic=true", "starts.count=2")
    plain, _ = read_settings(settings_of(tmp_path, *few))
    held, _ = read_settings(settings_of(tmp_path, *few, "hold=3"))
    for world, same in (("simulator", True), ("imagination", False), ("kinematic", False)):
        assert (plain.parts("zero", world) == held.parts("zero", world)) == same
    evaluator = Evaluator(held)
    assert isinstance(evaluator.judge, LearnedJudge) and evaluator.judge.rule.hold == 1
    assert evaluator.imagination.judge is not None and evaluator.imagination.judge.rule.hold == 3
    kinematic = evaluator.stage("kinematic").world.judge
    assert kinematic is not None and kinematic.rule.hold == 3
    assert isinstance(evaluator.simulator, SimulatorWorld)
    assert evaluator.simulator.judge is not None and evaluator.simulator.judge.rule.hold == 1


def settings_of(run: Path, *overrides: str) -> dict[str, object]:
    plain = OmegaConf.to_container(rank_config(run, run / "out", *overrides), resolve=True)
    assert isinstance(plain, dict)
    return {str(key): value for key, value in plain.items()}
