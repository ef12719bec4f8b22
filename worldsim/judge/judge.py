"""The judge: reads success, progress and state off frames, imagined or simulated.

It sees pixels only, so that the same judge serves both worlds, and it carries its own measured
error (`JudgeReport`), by which rates are corrected. Training is in `judge_training`.

Legend: N observations, V view, H, W pixels, S state.
"""

from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from dacite import Config as DaciteConfig
from dacite import DaciteError, from_dict
from numpy.typing import NDArray

from worldsim.errors import DataError, UsageError
from worldsim.files import read_json, write_json
from worldsim.judge.tracker import JudgeTracker, VerdictRule
from worldsim.models.heads.state_estimator import Observer
from worldsim.spec import WorldSpec

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


READ_AT_ONCE = 512
"""Frames copied out of a data set's memory map at a time."""


def read_pixels(observer: Observer, pixels: NDArray[np.uint8]) -> Judgement:
    """What `observer` makes of uint8 `[N, V, H, W, 3]`; see `Judge.read`."""
    if pixels.dtype != np.uint8 or pixels.ndim != 5 or pixels.shape[-1] != 3:
        raise UsageError(
            f"judge: expected uint8 pixels [N, V, H, W, 3], got {pixels.dtype} {pixels.shape}"
        )
    device = next(observer.parameters()).device
    parts = []
    for start in range(0, max(len(pixels), 1), READ_AT_ONCE):
        # Rows of a memory map are read-only, which torch does not take.
        rows = np.require(pixels[start : start + READ_AT_ONCE], requirements=["C", "W"])
        reading = observer.observe(torch.from_numpy(rows).to(device))
        parts.append((torch.sigmoid(reading.success_logit), reading.progress, reading.state))
    joined = [torch.cat(field).float().cpu().numpy() for field in zip(*parts, strict=True)]
    return Judgement(*joined)


@dataclass(frozen=True)
class EnvReference:
    """The simulator env that episodes came from: gymnasium id and constructor arguments."""

    id: str
    kwargs: dict[str, Any] = field(default_factory=dict)


@dataclass(eq=False)
class Judge:
    """A trained observer with its verdict rule, the world it knows and its measured error.

    Attributes:
        observer: the network, in evaluation mode.
        spec: cameras and state that it reads.
        rule: from probabilities to verdicts.
        report: error on held-out simulated episodes.
        env: the simulator of those episodes, or None if there was none.
    """

    observer: Observer
    spec: WorldSpec
    rule: VerdictRule
    report: JudgeReport
    env: EnvReference | None = None

    def read(self, pixels: NDArray[np.uint8]) -> Judgement:
        """Read observations, uint8 `[N, V, H, W, 3]`.

        Raises:
            UsageError: the shape does not fit the cameras the judge was trained with.
        """
        reading = read_pixels(self.observer, pixels)
        if self.report.reads_progress:
            return reading
        return reading._replace(progress=np.zeros_like(reading.progress))

    def tracker(self, num_episodes: int) -> JudgeTracker:
        """A fresh tracker with this judge's verdict rule."""
        return JudgeTracker(self.rule, num_episodes)

    def to(self, device: str | torch.device) -> "Judge":
        """Move the network; returns self."""
        self.observer.to(device)
        return self

    def save_pretrained(self, folder: Path) -> None:
        """Write the network, `judge.json` (spec, rule, report) into `folder`."""
        self.observer.save_pretrained(folder)
        write_json(
            folder / REPORT,
            {
                "spec": self.spec.to_json(),
                "rule": asdict(self.rule),
                "report": self.report.to_json(),
                "env": asdict(self.env) if self.env else None,
            },
        )

    @staticmethod
    def from_pretrained(folder: str | Path) -> "Judge":
        """Load from `save_pretrained` output.

        Raises:
            DataError: files are missing, truncated or do not describe a judge.
        """
        folder = Path(folder)
        observer = Observer.from_pretrained(folder)
        data = read_json(folder / REPORT)
        try:
            rule = from_dict(VerdictRule, data["rule"], DaciteConfig(strict=True))
            report = JudgeReport.from_json(data["report"])
            spec = WorldSpec.from_json(data["spec"])
            env = data["env"] and from_dict(EnvReference, data["env"])
        except (KeyError, TypeError, DaciteError) as error:
            raise DataError(f"{folder / REPORT} does not describe a judge: {error}") from error
        return Judge(observer, spec, rule, report, env)
