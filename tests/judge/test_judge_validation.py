"""Choosing the verdict rule and counting errors, on hand-written episodes."""

import numpy as np
import pytest

from worldsim.judge.judge import Judgement
from worldsim.judge.report import JudgeReport, VerdictRule
from worldsim.judge.validation import JudgedEpisode, calibrate, measure


def episode(success: list[int], probability: list[float], error_m: float = 0.0) -> JudgedEpisode:
    """An episode whose state is judged wrong by `error_m` in its first entry."""
    rows = len(success)
    state = np.zeros((rows, 2), np.float32)
    wrong = state.copy()
    wrong[:, 0] += error_m
    progress = np.zeros(rows, np.float32)
    judged = Judgement(np.array(probability, np.float32), progress + 0.25, wrong)
    return JudgedEpisode(np.array(success, bool), progress, state, judged)


def test_of_thresholds_that_separate_the_most_even_one_is_taken() -> None:
    low = [episode([0, 0, 1], [0.0, 0.2, 0.9]), episode([0, 0, 0], [0.0, 0.3, 0.3])]
    assert calibrate(low, (1,)) == VerdictRule(0.5, 1)
    high = [episode([0, 0, 1], [0.0, 0.2, 0.9]), episode([0, 0, 0], [0.0, 0.7, 0.7])]
    assert calibrate(high, (1,)).threshold == pytest.approx(0.71, abs=0.02)


def test_one_episode_among_many_does_not_move_the_threshold() -> None:
    won = [episode([0, 1], [0.0, 0.9]) for _ in range(30)]
    lost = [episode([0, 0], [0.0, 0.02]) for _ in range(29)]
    odd = episode([0, 1], [0.0, 0.03])
    assert calibrate([*won, odd, *lost], (1, 2)) == VerdictRule(0.5, 1)


def test_a_longer_hold_is_taken_only_if_it_is_better() -> None:
    flicker = episode([0, 0, 0, 0], [0.0, 0.9, 0.0, 0.9])
    steady = episode([0, 1, 1, 1], [0.0, 0.8, 0.8, 0.8])
    assert calibrate([flicker, steady], (1, 2)).hold == 2
    quiet = episode([0, 0, 0, 0], [0.0, 0.1, 0.0, 0.1])
    assert calibrate([quiet, steady], (1, 2)).hold == 1


def test_one_outcome_alone_keeps_even_odds() -> None:
    assert calibrate([episode([0, 1], [0.0, 0.9])], (1, 2)) == VerdictRule(0.5, 1)


def test_counts_and_errors() -> None:
    episodes = [
        episode([0, 0, 1], [0.0, 0.0, 0.9], error_m=0.02),
        episode([0, 0, 1], [0.0, 0.0, 0.1], error_m=0.02),
        episode([0, 0, 0], [0.0, 0.0, 0.1], error_m=0.02),
        episode([0, 0, 0], [0.0, 0.0, 0.8], error_m=0.02),
        episode([0, 0, 0], [0.7, 0.0, 0.0], error_m=0.02),
    ]
    report = measure(episodes, VerdictRule(0.5, 1), (0, 1), "by hand")
    assert (report.true_positives, report.positives) == (1, 2)
    assert (report.true_negatives, report.negatives) == (2, 3)
    assert report.tpr == 0.5 and report.tnr == pytest.approx(2 / 3)
    assert report.state_error_m == pytest.approx(0.01)
    assert report.progress_error == pytest.approx(0.25)
    # Only the last episode's first frame is taken for a success.
    assert (report.first_frame_false_successes, report.first_frames) == (1, 5)
    assert report.first_frame_false_success_rate == pytest.approx(0.2)


def test_reports_of_older_judges_are_read_by_their_names() -> None:
    report = measure([episode([0, 0], [0.9, 0.0])], VerdictRule(0.5, 1), (), "by hand")
    data = report.to_json()
    older = {
        {"first_frames": "idle_episodes"}.get(key, key).replace("first_frame_", "idle_"): value
        for key, value in data.items()
    }
    assert "idle_false_successes" in older and JudgeReport.from_json(older) == report


def test_without_metres_or_outcomes_there_is_no_figure() -> None:
    report = measure([episode([0, 0], [0.0, 0.0])], VerdictRule(0.5, 1), (), "by hand")
    assert report.state_error_m is None and report.tpr is None and report.tnr == 1.0
