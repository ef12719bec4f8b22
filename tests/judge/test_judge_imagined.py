"""A judge's error on recordings that a model imagines again, against judges of known error."""

from typing import Any

import numpy as np
import pytest
from replay_testing import Scripted, recorded
from worldsim_testing import nano_model

from worldsim.judge.imagined import (
    GRACE,
    Replay,
    band_width,
    decided_episodes,
    later_replays,
    measure_imagined,
)
from worldsim.judge.report import DepthBand, JudgeReport, Verdicts
from worldsim.judge.sampling import JudgeConfig


def measured(says: Any, **config: Any) -> Any:
    judge: Any = Scripted(says)
    chosen = JudgeConfig(**{"depth_band": 3, **config})
    found = measure_imagined(judge, nano_model(), recorded(), chosen, "weights")
    return found and found.report, judge


def test_a_judge_that_knows_the_outcome_is_right_at_every_depth() -> None:
    report, judge = measured(lambda action: action[0] == 1)
    assert report.whole == Verdicts(2, 2, 2, 2)
    # Two wins and two losses, of depths 6, 2, 6 and 5; those deeper than a band are in it too.
    assert report.bands == (
        DepthBand(1, 3, Verdicts(2, 2, 2, 2)),
        DepthBand(4, 6, Verdicts(1, 1, 2, 2)),
    )
    assert report.deepest == 6 and report.model == "weights"
    # After a success imagination goes on for a while, after a failure it does not.
    assert judge.seen >= 6 + 2 + 6 + 5 + 2 * GRACE


@pytest.mark.parametrize(("answer", "tpr", "tnr"), [(1.0, 1.0, 0.0), (0.0, 0.0, 1.0)])
def test_a_judge_of_one_answer_has_one_rate(answer: float, tpr: float, tnr: float) -> None:
    report, _ = measured(lambda action: answer)
    for counts in (report.whole, *(band.verdicts for band in report.bands)):
        assert (counts.tpr, counts.tnr) == (tpr, tnr)


def test_success_a_little_late_is_success() -> None:
    # The marked action is repeated after the end; the judge sees it at its second time only.
    times: list[float] = []

    def late(action: np.ndarray) -> float:
        times.append(float(action[0]))
        return float(action[0] == 1 and times[-2:] == [1.0, 1.0])

    report, _ = measured(late, replays=1, depth_band=6)
    assert report.whole.true_positives == report.whole.positives == 1


def test_what_is_measured_can_be_bounded_or_left_out() -> None:
    report, _ = measured(lambda action: 0.0, replays=1)
    assert report.whole == Verdicts(0, 1, 1, 1)
    assert measured(lambda action: 0.0, replays=0)[0] is None
    judge: Any = Scripted(lambda action: 0.0)
    others = recorded(folds=0)
    assert measure_imagined(judge, nano_model(), others, JudgeConfig(), None) is None


def test_replays_end_where_their_episode_is_decided() -> None:
    data = recorded()
    whole = decided_episodes(data, 10, seed=0)
    assert [(r.begin, r.depth, r.success) for r in whole] == [
        *((0, 6, True), (14, 2, True)),
        *((7, 6, False), (17, 5, False)),
    ]
    later = later_replays(whole, 2, seed=0)
    # One for each band of two steps below its own.
    assert len(later) == 2 + 0 + 2 + 2
    decided = {r.begin + r.depth for r in whole}
    assert all(r.begin + r.depth in decided and not r.whole for r in later)
    assert Replay(0, 6, False, True).steps(3) == 6
    assert Replay(0, 6, True, True).steps(3) == 6 + GRACE + 2


def test_long_episodes_have_wider_bands_and_not_more() -> None:
    assert band_width([40], 10) == 10 and band_width([], 10) == 10
    assert band_width([300, 20], 10) == 50


def test_reports_survive_the_disk_and_older_ones_say_nothing() -> None:
    report = JudgeReport(9, 10, 8, 10, None, None, 0, 10, "by hand")
    assert JudgeReport.from_json(report.to_json()) == report and report.imagined is None
    older = {k: v for k, v in report.to_json().items() if k not in ("imagined", "strayed")}
    assert JudgeReport.from_json(older) == report
    assert report.where_used == report.simulated == Verdicts(9, 10, 8, 10)
    imagined, _ = measured(lambda action: 1.0)
    told = JudgeReport(9, 10, 8, 10, None, None, 0, 10, "by hand", imagined, 0.25)
    assert JudgeReport.from_json(told.to_json()) == told and told.where_used == imagined.whole
