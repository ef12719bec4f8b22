"""A judge's error on recordings that a model imagines again, against judges of known error."""

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from worldsim_testing import nano_model, nano_spec, nano_start

from worldsim.judge.imagined import (
    GRACE,
    Replay,
    band_width,
    decided_episodes,
    later_replays,
    measure_imagined,
)
from worldsim.judge.judge import Judgement, ObservedFrame
from worldsim.judge.report import DepthBand, JudgeReport, VerdictRule, Verdicts
from worldsim.judge.sampling import REPORTED, JudgeConfig

LENGTHS = (7, 7, 3, 6, 6)
WON = (True, False, True, False, True)
"""The first frame of the last episode is a success already: nothing is decided there."""


def recorded(folds: int = REPORTED) -> Any:
    """Episodes whose last frame decides; the action that leads to a success is marked by 1."""
    bounds, count = np.cumsum([0, *LENGTHS]), len(LENGTHS)
    rows, rng = nano_start(int(bounds[-1])), np.random.default_rng(0)
    action = rng.uniform(-0.5, 0.5, (bounds[-1], 5)).astype(np.float32)
    success = np.zeros(bounds[-1], bool)
    success[[bounds[i + 1] - 1 for i in range(count) if WON[i]]] = True
    success[bounds[-2]] = True
    action[bounds[1:] - 1] = 0
    action[np.flatnonzero(success[1:]), 0] = 1
    rig = {name: rows[name][:count] for name in ("intrinsics", "extrinsics", "mounted")}
    return SimpleNamespace(
        spec=nano_spec(),
        extras={},
        folds=[folds] * count,
        pixels=rows["pixels"],
        agent_pos=rows["agent_pos"],
        action=action,
        episode_start=bounds,
        state=rng.uniform(-0.1, 0.1, (bounds[-1], 2)).astype(np.float32),
        success=success,
        progress=np.zeros(bounds[-1], np.float32),
        rigs=SimpleNamespace(**rig, known=np.ones((count, 3), bool)),
        views_seen=np.ones((count, 3), bool),
    )


class Scripted:
    """A judge that says what a function of the action says; it notes how many frames it saw."""

    def __init__(self, says: Any) -> None:
        self.says, self.rule, self.seen = says, VerdictRule(0.5, 1), 0

    def read(self, observation: ObservedFrame, action: np.ndarray | None) -> Judgement:
        assert action is not None and len(action) == len(observation.pixels)
        assert observation.agent_pos.shape == (len(action), nano_spec().agent_pos.dim)
        self.seen += len(action)
        value = np.array([self.says(each) for each in action], np.float32)
        return Judgement(value, value, np.zeros((len(action), 2), np.float32))


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
