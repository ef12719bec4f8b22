"""A judge of another kind than the trained one: a class and a row, and it judges imagination."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from imagination_testing import REPORT, nano_judge, nano_starts
from worldsim_testing import nano_model, nano_spec

from worldsim.conventions import Observation
from worldsim.errors import UsageError
from worldsim.files import read_json, write_json
from worldsim.judge.finding import load_judge
from worldsim.judge.judge import (
    JUDGES,
    Float,
    Judge,
    Judgement,
    JudgeParts,
    LearnedJudge,
    ObservedFrame,
    load_pretrained_judge,
    write_judge,
)
from worldsim.judge.report import EnvReference, JudgeReport, VerdictRule
from worldsim.policies.simple import ZeroPolicy
from worldsim.rollout.rollouts import rollout_imagination
from worldsim.spec import WorldSpec

STOP = -0.5
"""An action whose first entry is below this is a call to stop."""


@dataclass(eq=False)
class StopJudge(Judge):
    """Success is to call stop within `reach` of where the agent stands at the origin."""

    reach: float
    spec: WorldSpec
    rule: VerdictRule
    report: JudgeReport
    env: EnvReference | None = None

    def read(self, observation: ObservedFrame, action: Float | None) -> Judgement:
        rows = len(observation.agent_pos)
        stopped = np.zeros(rows, bool) if action is None else action[:, 0] < STOP
        near = np.linalg.norm(observation.agent_pos[:, :2], axis=1) < self.reach
        probability = (stopped & near).astype(np.float32)
        state = np.zeros((rows, self.spec.state.dim), np.float32)
        return Judgement(probability, near.astype(np.float32), state)

    def save_pretrained(self, folder: Path) -> None:
        write_json(folder / "reach.json", self.reach)
        write_judge(folder, "stop", self)

    @classmethod
    def from_folder(cls, folder: Path, parts: JudgeParts) -> "StopJudge":
        return cls(float(read_json(folder / "reach.json")), *parts)


@pytest.fixture
def registered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(JUDGES, "_entries", dict(JUDGES._entries))
    JUDGES.register("stop")(StopJudge)


def stop_judge(reach: float) -> StopJudge:
    return StopJudge(reach, nano_spec(), VerdictRule(), REPORT)


class Stops:
    """Calls stop at its third step."""

    name, n_action_steps = "stops", 1

    def reset(self, env_ids: Sequence[int], seed: int) -> None:
        self.turn = 0

    def act(self, observation: Observation, env_ids: Sequence[int]) -> np.ndarray:
        self.turn += 1
        actions = np.zeros((len(env_ids), 1, 5), np.float32)
        actions[:, 0, 0] = -1.0 if self.turn == 3 else 0.0
        return actions


@pytest.mark.parametrize(("reach", "expected"), [(1e6, True), (0.0, False)])
def test_a_judge_of_positions_and_actions_judges_an_imagined_rollout(
    reach: float, expected: bool
) -> None:
    batch = rollout_imagination(
        Stops(), nano_model(), stop_judge(reach), nano_starts(2), sampling_steps=1, max_steps=5
    )
    assert batch.success.tolist() == [expected] * 2
    assert batch.length.tolist() == [3 if expected else 5] * 2
    idle = rollout_imagination(
        ZeroPolicy(nano_spec(), "zero"), nano_model(), stop_judge(reach), nano_starts(2),
        sampling_steps=1, max_steps=5,
    )  # fmt: skip
    assert not idle.success.any()


@pytest.mark.usefixtures("registered")
def test_a_registered_judge_is_loaded_by_its_kind(tmp_path: Path) -> None:
    tmp_path.joinpath("judge").mkdir()
    stop_judge(0.25).save_pretrained(tmp_path / "judge")
    again = load_judge(tmp_path / "judge", nano_model())
    assert isinstance(again, StopJudge) and again.reach == 0.25
    assert (again.spec, again.rule, again.report) == (nano_spec(), VerdictRule(), REPORT)


def test_judges_without_a_kind_are_the_learned_ones(tmp_path: Path) -> None:
    nano_judge().save_pretrained(tmp_path)
    path = tmp_path / "judge.json"
    data = read_json(path)
    assert data.pop("kind") == "learned"
    write_json(path, data)
    assert isinstance(load_pretrained_judge(tmp_path), LearnedJudge)
    write_json(path, {**data, "kind": "lerned"})
    with pytest.raises(UsageError, match="Did you mean 'learned'"):
        load_pretrained_judge(tmp_path)
