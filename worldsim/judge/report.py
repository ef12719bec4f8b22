"""What is told of a judge beside it: its verdict rule, its measured error, its simulator."""

from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
from dacite import Config as DaciteConfig
from dacite import from_dict
from numpy.typing import NDArray

from worldsim.errors import UsageError

OLDER = {"idle_false_successes": "first_frame_false_successes", "idle_episodes": "first_frames"}
"""Older names of a report's entries, which promised more than first frames."""


@dataclass(frozen=True)
class VerdictRule:
    """An episode has succeeded once the probability was at least `threshold` for `hold` frames.

    Attributes:
        threshold: least success probability, in (0, 1).
        hold: how many consecutive frames it must last, at least 1.
    """

    threshold: float = 0.5
    hold: int = 1

    def __post_init__(self) -> None:
        if not 0 < self.threshold < 1 or self.hold < 1:
            raise UsageError(
                f"verdict rule: need 0 < threshold < 1 and hold >= 1, got {self.threshold}, "
                f"{self.hold}"
            )


def episode_verdict(probability: NDArray[np.float32], rule: VerdictRule) -> bool:
    """Verdict on one whole episode, from its probabilities `[T+1]`."""
    above = np.asarray(probability) >= rule.threshold
    if rule.hold == 1:
        return bool(above.any())
    if len(above) < rule.hold:
        return False
    windows = np.lib.stride_tricks.sliding_window_view(above, rule.hold)
    return bool(windows.all(axis=-1).any())


@dataclass(frozen=True)
class Verdicts:
    """Verdicts on episodes whose outcome is known.

    Attributes:
        true_positives: successful episodes that were called successful.
        positives: successful episodes.
        true_negatives: failed episodes that were called failed.
        negatives: failed episodes.
    """

    true_positives: int
    positives: int
    true_negatives: int
    negatives: int

    @staticmethod
    def of(truth: NDArray[np.bool_], said: NDArray[np.bool_]) -> "Verdicts":
        """Counted from truth and verdict of every episode `[N]`."""
        right = truth == said
        return Verdicts(
            int(right[truth].sum()), int(truth.sum()), int(right[~truth].sum()), int((~truth).sum())
        )

    @property
    def tpr(self) -> float | None:
        """True positive rate; None if no episode succeeded."""
        return self.true_positives / self.positives if self.positives else None

    @property
    def tnr(self) -> float | None:
        """True negative rate; None if no episode failed."""
        return self.true_negatives / self.negatives if self.negatives else None

    def to_json(self) -> dict[str, Any]:
        """Counts and rates."""
        return {"tpr": self.tpr, "tnr": self.tnr, **asdict(self)}


SIGNIFICANCE = 0.05
"""A judge whose verdicts chance alone gives as often as this must not be used."""


def chance_p_value(counts: Verdicts) -> float | None:
    """How likely verdicts at least as good as these are, were they blind to the outcome.

    Fisher's exact test, one-sided: the null hypothesis is TPR <= 1 - TNR. None without both
    outcomes.
    """
    from scipy.stats import fisher_exact

    if not counts.positives or not counts.negatives:
        return None
    missed = counts.positives - counts.true_positives
    invented = counts.negatives - counts.true_negatives
    table = [[counts.true_positives, missed], [invented, counts.true_negatives]]
    return float(fisher_exact(table, alternative="greater").pvalue)


@dataclass(frozen=True)
class DepthBand:
    """Verdicts on episodes that were decided so many imagined frames after a recorded one.

    Attributes:
        first: least depth.
        last: greatest depth.
        verdicts: one of each held-out episode that reaches the band.
    """

    first: int
    last: int
    verdicts: Verdicts


@dataclass(frozen=True)
class ImaginedReport:
    """The judge on held-out recordings that the world model imagines under their own actions.

    What it counts is what a ranking meets: what the judge misreads, and what the model has wrong.

    Attributes:
        whole: recordings imagined from their first frame.
        bands: recordings imagined from such frames that they are decided at each depth.
        model: fingerprint of the world model's weights.
        sampling_steps: denoising steps a frame.
    """

    whole: Verdicts
    bands: tuple[DepthBand, ...]
    model: str | None
    sampling_steps: int

    @property
    def deepest(self) -> int:
        """Greatest depth that was measured, 0 if none."""
        return max((band.last for band in self.bands), default=0)


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
        imagined: its error on imagined frames; None where that was not measured.
        strayed: share of imagined training frames that were left out, as they no longer showed
            what their labels say; None where there were none.
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
    imagined: ImaginedReport | None = None
    strayed: float | None = None

    @property
    def simulated(self) -> Verdicts:
        """Its verdicts on recorded frames."""
        return Verdicts(self.true_positives, self.positives, self.true_negatives, self.negatives)

    @property
    def where_used(self) -> Verdicts:
        """Its verdicts on imagined frames; on recorded ones where nothing better is known."""
        return self.simulated if self.imagined is None else self.imagined.whole

    @property
    def reads_progress(self) -> bool:
        """Whether the judge learnt progress; where none was recorded it can read success alone."""
        return self.progress_error is not None

    @property
    def state_assisted(self) -> bool:
        """Whether it learnt from the simulator's state or progress, which no real recording has."""
        return self.reads_progress or self.state_error_m is not None

    @property
    def tpr(self) -> float | None:
        """True positive rate; None if no episode succeeded."""
        return self.simulated.tpr

    @property
    def tnr(self) -> float | None:
        """True negative rate; None if no episode failed."""
        return self.simulated.tnr

    @property
    def first_frame_false_success_rate(self) -> float | None:
        """Share of first frames that look like a success and are none; None if there are none."""
        return self.first_frame_false_successes / self.first_frames if self.first_frames else None

    def to_json(self) -> dict[str, Any]:
        """Counts and the rates that follow from them."""
        rates = {
            "tpr": self.tpr,
            "tnr": self.tnr,
            "state_assisted": self.state_assisted,
            "first_frame_false_success_rate": self.first_frame_false_success_rate,
        }
        return asdict(self) | rates

    @staticmethod
    def from_json(data: dict[str, Any]) -> "JudgeReport":
        """Inverse of `to_json`; knows the names that older judges use."""
        derived = (
            *("tpr", "tnr", "state_assisted", "first_frame_false_success_rate"),
            "idle_false_success_rate",
        )
        counts = {OLDER.get(key, key): v for key, v in data.items() if key not in derived}
        config = DaciteConfig(type_hooks={float: float}, cast=[tuple], strict=True)
        return from_dict(JudgeReport, counts, config)


@dataclass(frozen=True)
class EnvReference:
    """The simulator env that episodes came from: gymnasium id and constructor arguments."""

    id: str
    kwargs: dict[str, Any] = field(default_factory=dict)
