"""Judges: from observations and actions, imagined or simulated, to success and progress.

A judge sees what a robot would see, so that it serves both worlds, and carries its own measured
error (`JudgeReport`), by which rates are corrected. Kinds of judges are filed in `JUDGES`; the one
that is trained on pixels is `LearnedJudge`, whose training is in `worldsim.judge.training`.

Legend: N observations, V view, H, W pixels, P proprioception, A action, S state.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import NamedTuple, Protocol, runtime_checkable

import numpy as np
import torch
from dacite import Config as DaciteConfig
from dacite import DaciteError, from_dict
from numpy.typing import NDArray

from worldsim.errors import DataError, UsageError
from worldsim.files import read_json, write_json
from worldsim.judge.report import EnvReference, JudgeReport, VerdictRule
from worldsim.models.heads.state_estimator import StateEstimator
from worldsim.models.pretrained import own_parts_told
from worldsim.registry import Registry
from worldsim.spec import WorldSpec

Bool = NDArray[np.bool_]
Float = NDArray[np.float32]
REPORT = "judge.json"
READ_AT_ONCE = 512
"""Frames copied out of a data set's memory map at a time."""


class Judgement(NamedTuple):
    """What the judge reads off N observations.

    Attributes:
        success_probability: `[N]`, balanced: 0.5 is even odds were both outcomes equally common.
        progress: `[N]` in [0, 1]; 0 of a judge that learnt none.
        state: `[N, S]` estimate in physical units.
    """

    success_probability: Float
    progress: Float
    state: Float


@dataclass(frozen=True, eq=False)
class ObservedFrame:
    """What a judge is shown of N episodes at one time.

    Attributes:
        pixels: uint8 `[N, V, H, W, 3]`.
        agent_pos: `[N, P]` proprioception.
        pose: `[N, 4, 4]` of the agent in the world; None where it is not known.
        asked: N texts, what each episode asks for now; None where nobody tells it.
    """

    pixels: NDArray[np.uint8]
    agent_pos: Float
    pose: Float | None = None
    asked: tuple[str, ...] | None = None


class JudgeTracker:
    """Applies a `VerdictRule` to N episodes as their frames arrive. A verdict, once given, stays.

    Args:
        rule: threshold and hold.
        num_episodes: N.
    """

    def __init__(self, rule: VerdictRule, num_episodes: int) -> None:
        self.rule = rule
        self._streak = np.zeros(num_episodes, np.int64)
        self._succeeded = np.zeros(num_episodes, bool)

    @property
    def succeeded(self) -> Bool:
        """Verdicts so far, `[N]` bool."""
        return self._succeeded.copy()

    @property
    def over(self) -> Bool:
        """`[N]` whether nothing is left to decide."""
        return self.succeeded

    @property
    def asked(self) -> tuple[str, ...] | None:
        """N texts that the judge is to be asked about; None of one that reads no instruction."""
        return None

    @property
    def stages(self) -> Float | None:
        """`[N, 2]` sub-tasks left and met; None where episodes have none."""
        return None

    def begin(self, tasks: Sequence[str], rows: NDArray[np.int64] | None = None) -> None:
        """Begin episodes with instructions, in `rows`, or in all."""
        self.reset(None if rows is None else np.isin(np.arange(len(self._streak)), rows))

    def reset(self, mask: Bool | None = None) -> None:
        """Forget the episodes in `mask` `[N]`, or all."""
        where = slice(None) if mask is None else mask
        self._streak[where] = 0
        self._succeeded[where] = False

    def update(
        self,
        probability: NDArray[np.float32],
        rows: Bool | None = None,
        actions: Float | None = None,
    ) -> Bool:
        """Read one more frame of each episode, or of those in the mask `rows`.

        Args:
            probability: `[N]`, or one value for each true entry of `rows`.
            rows: `[N]` bool; None for all.
            actions: `[N, A]` that led to the frames, which verdicts on stops hang on.

        Returns:
            Verdicts so far, `[N]` bool.
        """
        where = np.ones(len(self._streak), bool) if rows is None else rows
        above = np.asarray(probability) >= self.rule.threshold
        self._streak[where] = np.where(above, self._streak[where] + 1, 0)
        self._succeeded |= self._streak >= self.rule.hold
        return self.succeeded

    def select(self, indices: NDArray[np.int64]) -> None:
        """Keep only the episodes in `indices`, in that order."""
        self._streak = self._streak[indices]
        self._succeeded = self._succeeded[indices]


@runtime_checkable
class Judge(Protocol):
    """Reads success and progress off observations and actions.

    A new judge is a class that derives from this one, with `read`, `save_pretrained` and
    `from_folder`, filed in `JUDGES`. It may read pixels, positions or both.

    Attributes:
        spec: the world that it knows.
        rule: from probabilities to verdicts.
        report: its error on held-out simulated episodes.
        env: the simulator of those episodes, or None if there was none.
        reads_instructions: whether it must be told what is asked, and judges stops alone.
    """

    spec: WorldSpec
    rule: VerdictRule
    report: JudgeReport
    env: EnvReference | None
    reads_instructions: bool = False

    def read(self, observation: ObservedFrame, action: Float | None) -> Judgement:
        """Read N observations.

        Args:
            observation: of N episodes.
            action: `[N, A]` that led to it, normalised; None for first observations.

        Raises:
            UsageError: a shape does not fit the world that the judge knows.
        """
        ...

    def save_pretrained(self, folder: Path) -> None:
        """Write everything that `from_folder` reads."""
        ...

    @classmethod
    def from_folder(cls, folder: Path, parts: "JudgeParts") -> "Judge":
        """Read what `save_pretrained` wrote; `parts` is what all kinds of judges store."""
        ...

    def tracker(self, num_episodes: int) -> JudgeTracker:
        """A fresh tracker with this judge's verdict rule."""
        return JudgeTracker(self.rule, num_episodes)

    def to(self, device: str | torch.device) -> "Judge":
        """Move what computes to a device; returns self."""
        return self


JUDGES: Registry[type[Judge]] = Registry("judge")


class JudgeParts(NamedTuple):
    """What a judge of any kind stores in `judge.json`; see `Judge`."""

    spec: WorldSpec
    rule: VerdictRule
    report: JudgeReport
    env: EnvReference | None


def write_judge(folder: Path, kind: str, judge: Judge) -> None:
    """Write the parts of a judge of a registered kind."""
    write_json(
        folder / REPORT,
        {
            "kind": kind,
            "spec": judge.spec.to_json(),
            "rule": asdict(judge.rule),
            "report": judge.report.to_json(),
            "env": asdict(judge.env) if judge.env else None,
        },
    )


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


def load_pretrained_judge(folder: str | Path) -> Judge:
    """The judge in a folder, whatever its kind.

    Raises:
        DataError: files are missing, truncated or do not describe a judge.
        UsageError: the kind is not registered.
    """
    import worldsim.judge.stops  # noqa: F401  (files its kind)

    folder = Path(folder)
    data = read_json(folder / REPORT)
    with own_parts_told(folder):
        try:
            kind = str(data.get("kind", "learned"))
            parts = JudgeParts(
                WorldSpec.from_json(data["spec"]),
                from_dict(VerdictRule, data["rule"], DaciteConfig(strict=True)),
                JudgeReport.from_json(data["report"]),
                data["env"] and from_dict(EnvReference, data["env"]),
            )
        except (KeyError, TypeError, AttributeError, DaciteError) as error:
            raise DataError(f"{folder / REPORT} does not describe a judge: {error}") from error
        return JUDGES.get(kind).from_folder(folder, parts)
