"""The verdict rule on hand-written probability sequences."""

import numpy as np
import pytest

from worldsim.errors import UsageError
from worldsim.judge.judge import JudgeTracker
from worldsim.judge.report import VerdictRule, episode_verdict


@pytest.mark.parametrize(
    ("probabilities", "hold", "expected"),
    [
        ([0.1, 0.7, 0.1], 1, True),
        ([0.1, 0.7, 0.1], 2, False),
        ([0.7, 0.1, 0.7, 0.1], 2, False),
        ([0.1, 0.7, 0.6, 0.1], 2, True),
        ([0.7, 0.7], 3, False),
        ([0.6], 1, True),
        ([0.59], 1, False),
    ],
)
def test_verdict_of_whole_and_streamed_episode(
    probabilities: list[float], hold: int, expected: bool
) -> None:
    rule = VerdictRule(threshold=0.6, hold=hold)
    values = np.array(probabilities, np.float32)
    rule = VerdictRule(threshold=float(np.float32(0.6)), hold=hold)
    tracker = JudgeTracker(rule, 1)
    for value in values:
        tracker.update(value[None])
    assert bool(tracker.succeeded[0]) is expected
    assert episode_verdict(values, rule) is expected


def test_verdict_stays_until_reset() -> None:
    tracker = JudgeTracker(VerdictRule(0.5, 1), 2)
    assert tracker.update(np.array([0.9, 0.1], np.float32)).tolist() == [True, False]
    assert tracker.update(np.array([0.0, 0.9], np.float32)).tolist() == [True, True]
    tracker.reset(np.array([True, False]))
    assert tracker.succeeded.tolist() == [False, True]


def test_rows_outside_the_mask_keep_their_streak() -> None:
    tracker = JudgeTracker(VerdictRule(0.5, 2), 2)
    tracker.update(np.array([0.9, 0.9], np.float32))
    tracker.update(np.array([0.9], np.float32), rows=np.array([False, True]))
    assert tracker.succeeded.tolist() == [False, True]
    tracker.update(np.array([0.9], np.float32), rows=np.array([True, False]))
    assert tracker.succeeded.tolist() == [True, True]


def test_select_keeps_streaks_in_the_given_order() -> None:
    tracker = JudgeTracker(VerdictRule(0.5, 2), 3)
    tracker.update(np.array([0.9, 0.1, 0.9], np.float32))
    tracker.select(np.array([2, 1]))
    assert tracker.update(np.array([0.9, 0.9], np.float32)).tolist() == [True, False]


@pytest.mark.parametrize("arguments", [(0.0, 1), (1.0, 1), (0.5, 0)])
def test_rule_refuses_what_can_never_or_always_hold(arguments: tuple[float, int]) -> None:
    with pytest.raises(UsageError, match="threshold"):
        VerdictRule(*arguments)
