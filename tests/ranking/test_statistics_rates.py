"""Wilson intervals, judge correction, and their coverage on synthetic Bernoulli policies."""

import numpy as np
import pytest
from ranking_testing import judge_report

from worldsim.errors import UsageError
from worldsim.judge.report import JudgeReport
from worldsim.ranking.bootstrap import wilson_interval
from worldsim.ranking.judging import correct, corrected_rate, require_counts


def test_wilson_by_hand() -> None:
    # Newcombe (1998), table I: 81 of 263, 95%: 0.2553 to 0.3662.
    low, high = wilson_interval(81, 263) or (0, 0)
    assert (round(low, 4), round(high, 4)) == (0.2553, 0.3662)


def test_wilson_edges() -> None:
    assert wilson_interval(0, 0) is None
    none = wilson_interval(0, 20)
    every = wilson_interval(20, 20)
    assert none is not None and every is not None
    assert none[0] == 0.0 and 0.1 < none[1] < 0.2
    assert every[1] == 1.0 and every[0] == pytest.approx(1 - none[1])


@pytest.mark.parametrize("rate", [0.02, 0.3, 0.5, 0.9])
def test_wilson_coverage_is_near_nominal(rate: float) -> None:
    trials = 64
    draws = np.random.default_rng(0).binomial(trials, rate, size=4000)
    intervals = [wilson_interval(k, trials) for k in range(trials + 1)]
    covered = [
        interval is not None and interval[0] <= rate <= interval[1]
        for interval in (intervals[k] for k in draws)
    ]
    assert 0.92 <= np.mean(covered) <= 0.985


def test_correction_inverts_the_judge() -> None:
    truth, tpr, fpr = 0.4, 0.9, 0.05
    seen = truth * tpr + (1 - truth) * fpr
    assert correct(seen, tpr, fpr) == pytest.approx(truth)


def test_correction_is_clipped_and_undefined_for_a_useless_judge() -> None:
    assert correct(0.01, 0.9, 0.05) == 0.0
    assert correct(0.99, 0.9, 0.05) == 1.0
    assert np.isnan(correct(0.5, 0.3, 0.3))


def test_corrected_interval_holds_the_point_and_widens_with_a_vaguer_judge() -> None:
    def width(episodes: int) -> float:
        judge = judge_report(*[round(0.9 * episodes), episodes] * 2)
        rng = np.random.default_rng(0)
        value = corrected_rate(32, 64, judge, samples=4000, level=0.95, rng=rng)
        assert value.value is not None and value.interval is not None
        assert value.interval[0] <= value.value <= value.interval[1]
        return value.interval[1] - value.interval[0]

    assert width(10) > 1.2 * width(1000)


def test_corrected_interval_covers_the_truth() -> None:
    truth, tpr, tnr, trials, validation = 0.6, 0.95, 0.9, 64, 100
    rng = np.random.default_rng(1)
    covered = []
    for _ in range(300):
        judge = judge_report(
            int(rng.binomial(validation, tpr)),
            validation,
            int(rng.binomial(validation, tnr)),
            validation,
        )
        seen = rng.binomial(trials, truth * tpr + (1 - truth) * (1 - tnr))
        value = corrected_rate(seen, trials, judge, samples=800, level=0.95, rng=rng)
        assert value.interval is not None
        covered.append(value.interval[0] <= truth <= value.interval[1])
    assert 0.91 <= np.mean(covered) <= 0.99


@pytest.mark.parametrize(
    ("judge", "trials", "reason"),
    [
        (judge_report(0, 0, 5, 5), 10, "not validated"),
        (judge_report(5, 10, 5, 10), 10, "better than chance"),
        (judge_report(9, 10, 9, 10), 0, "no starts"),
    ],
)
def test_no_correction_has_a_reason(judge: JudgeReport, trials: int, reason: str) -> None:
    rng = np.random.default_rng(0)
    value = corrected_rate(0, trials, judge, samples=10, level=0.95, rng=rng)
    assert value.value is None and reason in (value.reason or "")


def test_impossible_judge_counts_are_refused() -> None:
    with pytest.raises(UsageError, match="11 correct of 10"):
        require_counts(judge_report(11, 10, 0, 0))
