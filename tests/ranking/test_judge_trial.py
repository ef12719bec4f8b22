"""When a judge must not be used, rates corrected by its error in imagination, episode agreement."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from ranking_testing import judge_report

from worldsim.errors import UsageError
from worldsim.judge.report import (
    DepthBand,
    ImaginedReport,
    JudgeReport,
    Verdicts,
    chance_p_value,
)
from worldsim.ranking.agreement import EpisodeAgreement, scores_of
from worldsim.ranking.judging import JudgeTrial, corrected_rate, require_counts
from worldsim.ranking.rank import rank
from worldsim.ranking.report import RankingReport
from worldsim.ranking.verdict import foreword
from worldsim.rollout.circumstances import as_used
from worldsim.rollout.episodes import METRICS
from worldsim.training.run_folder import file_fingerprint

FLAWLESS = judge_report(30, 30, 30, 30)
"""On recorded frames, as judges of dissolving worlds are too."""


def imagined(*counts: int, bands: tuple[DepthBand, ...] = ()) -> JudgeReport:
    return replace(FLAWLESS, imagined=ImaginedReport(Verdicts(*counts), bands, "weights", 2))


def ranked(judge: JudgeReport | None, horizon: int | None = None) -> RankingReport:
    rng = np.random.default_rng(0)
    reference = rng.random((4, 24)) < np.linspace(0.1, 0.9, 4)[:, None]
    seen = reference ^ (rng.random(reference.shape) < 0.2)
    names = ["a", "b", "c", "d"]
    return rank(reference, seen, names, judge=judge, horizon=horizon, bootstrap_samples=50)


def test_fishers_test_by_hand() -> None:
    # The lady tasting tea: 3 of 4 and 3 of 4 by chance with (16 + 1) / 70.
    assert chance_p_value(Verdicts(3, 4, 3, 4)) == pytest.approx(17 / 70)
    assert chance_p_value(Verdicts(3, 4, 0, 0)) is None


def test_blind_judges_pass_no_more_often_than_the_level_says() -> None:
    rng, passed = np.random.default_rng(0), 0
    for _ in range(400):
        yes = rng.random()
        counts = Verdicts(int(rng.binomial(30, yes)), 30, int(rng.binomial(30, 1 - yes)), 30)
        passed += JudgeTrial.of(imagined(*vars(counts).values())).passed
    assert passed / 400 <= 0.05


def test_a_judge_that_imagination_fools_is_refused_in_the_first_line() -> None:
    report = ranked(imagined(28, 30, 3, 30))
    assert foreword(report)[0].startswith("This judge must not be used")
    assert all(policy.corrected.value is None for policy in report.policies)
    data = report.to_json()
    assert data["judge"]["trial"]["usable"] is False and data["judge"]["tpr"] == 1.0
    assert data["judge"]["imagined"]["tnr"] == pytest.approx(0.1)
    assert all(policy["imagined_rate"] is not None for policy in data["policies"])


def test_a_good_judge_is_used_and_named_where_it_is_weak() -> None:
    bands = (
        DepthBand(1, 10, Verdicts(10, 10, 10, 10)),
        DepthBand(11, 20, Verdicts(5, 10, 5, 10)),
        DepthBand(21, 30, Verdicts(5, 10, 5, 10)),
    )
    judge = imagined(28, 30, 27, 30, bands=bands)
    report = ranked(judge, horizon=15)
    assert report.trial is not None and report.trial.passed
    assert report.trial.weak_bands == bands[1:2] and report.trial.beyond is None
    assert not any("must not" in line for line in foreword(report))
    assert any("11-20 steps" in note for note in report.notes)
    deeper = ranked(judge, horizon=40)
    assert any("measured to 30 imagined steps" in note for note in deeper.notes)
    assert deeper.to_json()["judge"]["trial"]["weak_depths"] == [[11, 20], [21, 30]]


def test_a_judge_of_before_says_not_measured_and_corrects_as_before() -> None:
    report = ranked(FLAWLESS)
    assert any("not measured on imagined frames" in note for note in report.notes)
    assert report.to_json()["judge"]["imagined"] is None
    assert report.trial is not None and report.trial.passed and not report.trial.imagined
    for policy in report.policies:
        assert policy.corrected.value == policy.imagined.value


def test_a_judge_without_both_outcomes_is_refused_with_its_reason() -> None:
    report = ranked(imagined(0, 0, 30, 30))
    assert (
        "not validated on both outcomes, but on 0 successes and 30 failures" in foreword(report)[0]
    )
    assert not any("must not" in line for line in foreword(ranked(None)))


def test_impossible_counts_on_imagined_frames_are_refused() -> None:
    with pytest.raises(UsageError, match="31 correct of 30"):
        require_counts(imagined(31, 30, 30, 30))


@pytest.mark.parametrize("truth", [0.15, 0.5, 0.85])
def test_rates_corrected_by_the_error_in_imagination_are_unbiased(truth: float) -> None:
    tpr, tnr, trials, validation = 0.8, 0.7, 128, 100
    rng, rates, covered = np.random.default_rng(2), [], []
    for _ in range(300):
        right = [int(rng.binomial(validation, rate)) for rate in (tpr, tnr)]
        judge = imagined(right[0], validation, right[1], validation)
        seen = rng.binomial(trials, truth * tpr + (1 - truth) * (1 - tnr))
        value = corrected_rate(seen, trials, judge, samples=400, level=0.95, rng=rng)
        assert value.value is not None and value.interval is not None
        rates.append(value.value)
        covered.append(value.interval[0] <= truth <= value.interval[1])
    raw_bias = abs(truth * tpr + (1 - truth) * (1 - tnr) - truth)
    assert abs(np.mean(rates) - truth) < max(0.015, 0.2 * raw_bias)
    assert np.mean(covered) >= 0.92


def test_kappa_by_hand() -> None:
    # Cohen's kappa of 20 and 15 on the diagonal of 50: (0.7 - 0.5) / (1 - 0.5).
    found = scores_of(np.array([[20.0, 15.0, 5.0, 10.0]]))
    assert found["accuracy"] == pytest.approx(0.7) and found["kappa"] == pytest.approx(0.4)
    assert found["kappa_within_policies"] == pytest.approx(0.4)
    assert found["recall"] == pytest.approx(0.8) and found["specificity"] == pytest.approx(0.6)


def agreement(reference: np.ndarray, seen: np.ndarray) -> EpisodeAgreement:
    rng = np.random.default_rng(0)
    success = METRICS.get("success")
    shaped = (reference[..., None].astype(float), seen[..., None].astype(float))
    found = EpisodeAgreement.of(*shaped, success, 400, 0.95, rng)
    assert found is not None
    return found


def test_equal_rates_alone_agree_only_between_policies() -> None:
    rng, rates = np.random.default_rng(0), np.linspace(0.05, 0.95, 8)[:, None]
    reference, seen = (rng.random((8, 400)) < rates for _ in range(2))
    found = agreement(reference, seen).scores
    kappa, within = found["kappa"], found["kappa_within_policies"]
    assert kappa.interval is not None and kappa.interval[0] > 0.2
    assert within.interval is not None and within.interval[0] < 0 < within.interval[1]
    same = agreement(reference, reference)
    assert same.outcomes.agreement == 1.0
    assert same.scores["kappa_within_policies"].value == pytest.approx(1.0)


def test_one_outcome_alone_has_no_kappa_and_missing_episodes_are_left_out() -> None:
    reference = np.ones((2, 5))
    found = agreement(reference, reference)
    assert found.scores["kappa"].value is None and found.scores["kappa"].reason
    assert found.scores["specificity"].value is None and found.scores["accuracy"].value == 1.0
    reference[0, :2] = np.nan
    seen = np.array([[0.0, 1, 1, 0, 1], [0, 1, 1, 1, 1]])
    found = agreement(reference, seen)
    assert found.outcomes.total == 8 and found.outcomes.only_reference == 2
    assert list(found.by_policy) == pytest.approx([2 / 3, 4 / 5])


def test_what_another_model_or_other_steps_imagined_says_nothing_of_this_one(
    tmp_path: Path,
) -> None:
    weights = tmp_path / "model.safetensors"
    weights.write_bytes(b"one")
    report = ImaginedReport(Verdicts(9, 10, 9, 10), (), file_fingerprint(weights), 2)
    judge = replace(FLAWLESS, imagined=report)
    assert as_used(judge, weights, 2) == judge
    assert as_used(judge, weights, 1) == FLAWLESS
    weights.write_bytes(b"another")
    assert as_used(judge, weights, 2) == FLAWLESS
