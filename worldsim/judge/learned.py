"""The judge that is trained on pixels; training is in `worldsim.judge.training`.

Legend: N observations, V view, H, W pixels, P proprioception, A action, S state.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from worldsim.errors import UsageError
from worldsim.judge.judge import (
    JUDGES,
    EnvReference,
    Float,
    Judge,
    Judgement,
    JudgeParts,
    JudgeReport,
    ObservedFrame,
    write_judge,
)
from worldsim.judge.tracker import VerdictRule
from worldsim.models.heads.state_estimator import StateEstimator
from worldsim.spec import WorldSpec

READ_AT_ONCE = 512
"""Frames copied out of a data set's memory map at a time."""


def read_pixels(estimator: StateEstimator, pixels: NDArray[np.uint8]) -> Judgement:
    """What `estimator` makes of uint8 `[N, V, H, W, 3]`; see `LearnedJudge.read`."""
    if pixels.dtype != np.uint8 or pixels.ndim != 5 or pixels.shape[-1] != 3:
        raise UsageError(
            f"judge: expected uint8 pixels [N, V, H, W, 3], got {pixels.dtype} {pixels.shape}"
        )
    device = next(estimator.parameters()).device
    parts = []
    for start in range(0, max(len(pixels), 1), READ_AT_ONCE):
        # Rows of a memory map are read-only, which torch does not take.
        rows = np.require(pixels[start : start + READ_AT_ONCE], requirements=["C", "W"])
        reading = estimator.observe(torch.from_numpy(rows).to(device))
        parts.append((torch.sigmoid(reading.success_logit), reading.progress, reading.state))
    joined = [torch.cat(field).float().cpu().numpy() for field in zip(*parts, strict=True)]
    return Judgement(*joined)


@JUDGES.register("learned")
@dataclass(eq=False)
class LearnedJudge(Judge):
    """A trained state estimator, which looks at pixels alone.

    Attributes:
        estimator: the network, in evaluation mode.
        spec: cameras and state that it reads.
        rule: from probabilities to verdicts.
        report: error on held-out simulated episodes.
        env: the simulator of those episodes, or None if there was none.
    """

    estimator: StateEstimator
    spec: WorldSpec
    rule: VerdictRule
    report: JudgeReport
    env: EnvReference | None = None

    def __post_init__(self) -> None:
        self._reads_progress = self.report.reads_progress

    def read(self, observation: ObservedFrame, action: Float | None) -> Judgement:
        """See `Judge.read`; the action is not looked at."""
        reading = read_pixels(self.estimator, observation.pixels)
        if self._reads_progress:
            return reading
        return reading._replace(progress=np.zeros_like(reading.progress))

    def to(self, device: str | torch.device) -> "LearnedJudge":
        """Move the network; returns self."""
        self.estimator.to(device)
        return self

    def save_pretrained(self, folder: Path) -> None:
        """Write the network, and `judge.json` with spec, rule and report."""
        self.estimator.save_pretrained(folder)
        write_judge(folder, "learned", self)

    @classmethod
    def from_folder(cls, folder: Path, parts: JudgeParts) -> "LearnedJudge":
        """See `Judge.from_folder`."""
        return cls(StateEstimator.from_pretrained(folder), *parts)
