"""A judge of one's own: geometry alone, no network. Stopping near a place is a success."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from worldsim.files import read_json, write_json
from worldsim.judge.judge import (
    JUDGES,
    Float,
    Judge,
    Judgement,
    JudgeParts,
    ObservedFrame,
    write_judge,
)
from worldsim.judge.report import EnvReference, JudgeReport, VerdictRule
from worldsim.spec import WorldSpec

NAME = "near"


@JUDGES.register(NAME)
@dataclass(eq=False)
class NearJudge(Judge):
    """Reads the agent's first two numbers and whether the action was to stop."""

    place: tuple[float, float]
    reach: float
    spec: WorldSpec
    rule: VerdictRule
    report: JudgeReport
    env: EnvReference | None = None

    def read(self, observation: ObservedFrame, action: Float | None) -> Judgement:
        distance = np.linalg.norm(observation.agent_pos[:, :2] - np.array(self.place), axis=1)
        stop = self.spec.action.names.index("stop")
        stopped = np.zeros(len(distance)) if action is None else action[:, stop]
        probability = (stopped > 0.5) & (distance < self.reach)
        state = np.zeros((len(distance), self.spec.state.dim), np.float32)
        return Judgement(
            probability.astype(np.float32), np.exp(-distance).astype(np.float32), state
        )

    def save_pretrained(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        write_json(folder / "place.json", [*self.place, self.reach])
        write_judge(folder, NAME, self)

    @classmethod
    def from_folder(cls, folder: Path, parts: JudgeParts) -> "NearJudge":
        x, y, reach = read_json(folder / "place.json")
        return cls((x, y), reach, *parts)
