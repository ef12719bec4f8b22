"""Choosing a judge's verdict rule on some episodes and measuring its error on others."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from worldsim.judge.judge import Judgement
from worldsim.judge.report import JudgeReport, VerdictRule, episode_verdict

THRESHOLDS = 1 / (1 + np.exp(-np.linspace(-4, 4, 81)))
"""Candidate thresholds, even in log odds."""


@dataclass(frozen=True, eq=False)
class JudgedEpisode:
    """One episode's truth beside what the judge read, rows T+1.

    Attributes:
        success: `[T+1]` truth.
        progress: `[T+1]` truth.
        state: `[T+1, S]` truth.
        judged: the judge's reading of the same rows.
    """

    success: NDArray[np.bool_]
    progress: NDArray[np.float32]
    state: NDArray[np.float32]
    judged: Judgement

    @property
    def succeeded(self) -> bool:
        """Truth: success after some action; the first frame is nobody's merit."""
        return bool(self.success[1:].any())

    def verdict(self, rule: VerdictRule) -> bool:
        """The judge's verdict, from the frames that follow an action."""
        return episode_verdict(self.judged.success_probability[1:], rule)


FEW = 20
"""Episodes of the rarer outcome below which one episode is too much to give away."""


def calibrate(episodes: list[JudgedEpisode], holds: tuple[int, ...]) -> VerdictRule:
    """The most even-handed rule among those that the episodes cannot tell from the best.

    Simulated frames are so clear that thresholds over many log odds differ by a single episode;
    imagined frames are not, and an extreme threshold would hand out verdicts on them. So rules
    within one episode of the greatest balanced accuracy count as equal, and of these the one
    nearest to even odds wins, then the shorter hold. Without both outcomes among `episodes`
    nothing can be chosen and the even odds of 0.5 are kept.
    """
    truth = np.array([episode.succeeded for episode in episodes], bool)
    rarer = int(min(truth.sum(), (~truth).sum()))
    if not rarer:
        return VerdictRule(0.5, min(holds))
    scores = {
        (hold, float(threshold)): _balanced_accuracy(episodes, truth, threshold, hold)
        for hold in sorted(holds)
        for threshold in THRESHOLDS
    }
    one_episode = 0.5 / rarer if rarer >= FEW else 0.0
    equal = [rule for rule, score in scores.items() if score >= max(scores.values()) - one_episode]
    hold, threshold = min(equal, key=lambda rule: (round(abs(_log_odds(rule[1])), 6), rule[0]))
    return VerdictRule(threshold, hold)


def _log_odds(probability: float) -> float:
    return float(np.log(probability / (1 - probability)))


def _balanced_accuracy(
    episodes: list[JudgedEpisode], truth: NDArray[np.bool_], threshold: float, hold: int
) -> float:
    rule = VerdictRule(float(threshold), hold)
    said = np.array([episode.verdict(rule) for episode in episodes])
    return float((said[truth].mean() + (~said[~truth]).mean()) / 2)


def measure(
    episodes: list[JudgedEpisode], rule: VerdictRule, metres: tuple[int, ...], source: str
) -> JudgeReport:
    """Count verdicts against truth.

    Args:
        episodes: held out from training and from `calibrate`.
        rule: the verdict rule.
        metres: state entries measured in metres.
        source: what the episodes come from.
    """
    truth = np.array([e.succeeded for e in episodes], bool)
    said = np.array([e.verdict(rule) for e in episodes], bool)
    fresh = [e for e in episodes if not e.success[0]]
    fooled = [e.judged.success_probability[0] >= rule.threshold for e in fresh]
    error: float | None = None
    if metres:
        columns = list(metres)
        differences = [np.abs(e.state[:, columns] - e.judged.state[:, columns]) for e in episodes]
        error = float(np.concatenate(differences).mean())
    progress = [np.abs(e.progress - e.judged.progress) for e in episodes]
    return JudgeReport(
        true_positives=int((said & truth).sum()),
        positives=int(truth.sum()),
        true_negatives=int((~said & ~truth).sum()),
        negatives=int((~truth).sum()),
        state_error_m=error,
        progress_error=float(np.concatenate(progress).mean()),
        first_frame_false_successes=int(np.sum(fooled)),
        first_frames=len(fresh),
        source=source,
    )
