"""Judges: from observations and actions, imagined or simulated, to success and progress.

A judge sees what a robot would see, so that it serves both worlds, and carries its own measured
error (`JudgeReport`), by which rates are corrected. Kinds of judges are filed in `JUDGES`; the one
that is trained on pixels is in `worldsim.judge.learned`.

Legend: N observations, V view, H, W pixels, P proprioception, A action, S state.
"""

from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol, runtime_checkable

import numpy as np
from dacite import Config as DaciteConfig
from dacite import DaciteError, from_dict
from numpy.typing import NDArray

from worldsim.errors import DataError
from worldsim.files import read_json, write_json
from worldsim.judge.tracker import JudgeTracker, VerdictRule
from worldsim.registry import Registry
from worldsim.spec import WorldSpec

if TYPE_CHECKING:
    import torch

Float = NDArray[np.float32]
REPORT = "judge.json"
OLDER = {"idle_false_successes": "first_frame_false_successes", "idle_episodes": "first_frames"}
"""Older names of a report's entries, which promised more than first frames."""


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


@dataclass(frozen=True)
class JudgeReport:
    """The judge against simulator truth on episodes held out from its training and calibration.

    Attributes:
        true_positives: successful episodes it called successful.
        positives: successful episodes.
        true_negatives: failed episodes it called failed.
        negatives: failed episodes.
        state_error_m: mean error over the state entries that are in metres; None if there are none.
        progress_error: mean absolute error of progress; None if the recordings tell none.
        first_frame_false_successes: held-out first frames, none of them a success, whose
            probability alone would do for one.
        first_frames: held-out first frames that were no success. They are single frames: what a
            policy that does nothing is credited with over whole episodes, a ranking tells.
        source: what was read, such as the data set's name.
    """

    true_positives: int
    positives: int
    true_negatives: int
    negatives: int
    state_error_m: float | None
    progress_error: float | None
    first_frame_false_successes: int
    first_frames: int
    source: str = ""

    @property
    def reads_progress(self) -> bool:
        """Whether the judge learnt progress; where none was recorded it can read success alone."""
        return self.progress_error is not None

    @property
    def tpr(self) -> float | None:
        """True positive rate; None if no episode succeeded."""
        return self.true_positives / self.positives if self.positives else None

    @property
    def tnr(self) -> float | None:
        """True negative rate; None if no episode failed."""
        return self.true_negatives / self.negatives if self.negatives else None

    @property
    def first_frame_false_success_rate(self) -> float | None:
        """Share of first frames that look like a success and are none; None if there are none."""
        return self.first_frame_false_successes / self.first_frames if self.first_frames else None

    def to_json(self) -> dict[str, Any]:
        """Counts and the rates that follow from them."""
        rates = {
            "tpr": self.tpr,
            "tnr": self.tnr,
            "first_frame_false_success_rate": self.first_frame_false_success_rate,
        }
        return asdict(self) | rates

    @staticmethod
    def from_json(data: dict[str, Any]) -> "JudgeReport":
        """Inverse of `to_json`; knows the names that older judges use."""
        derived = ("tpr", "tnr", "first_frame_false_success_rate", "idle_false_success_rate")
        counts = {OLDER.get(key, key): v for key, v in data.items() if key not in derived}
        return from_dict(JudgeReport, counts, DaciteConfig(type_hooks={float: float}, strict=True))


@dataclass(frozen=True)
class EnvReference:
    """The simulator env that episodes came from: gymnasium id and constructor arguments."""

    id: str
    kwargs: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, eq=False)
class ObservedFrame:
    """What a judge is shown of N episodes at one time.

    Attributes:
        pixels: uint8 `[N, V, H, W, 3]`.
        agent_pos: `[N, P]` proprioception.
        pose: `[N, 4, 4]` of the agent in the world; None where it is not known.
    """

    pixels: NDArray[np.uint8]
    agent_pos: Float
    pose: Float | None = None


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
    """

    spec: WorldSpec
    rule: VerdictRule
    report: JudgeReport
    env: EnvReference | None

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

    def to(self, device: "str | torch.device") -> "Judge":
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


def load_pretrained_judge(folder: str | Path) -> Judge:
    """The judge in a folder, whatever its kind.

    Raises:
        DataError: files are missing, truncated or do not describe a judge.
        UsageError: the kind is not registered.
    """
    import worldsim.judge.learned  # noqa: F401 registers it

    folder = Path(folder)
    data = read_json(folder / REPORT)
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
