"""Ranking against logged success rates, without a simulator."""

import json
from pathlib import Path

import numpy as np
import pytest

from worldsim.errors import DataError, UsageError
from worldsim.ranking.rank import rank
from worldsim.rollout.logged import read_logged_rates

IMAGINED = np.random.default_rng(0).random((3, 50)) < np.array([[0.2], [0.5], [0.9]])


def write(folder: Path, text: str) -> Path:
    path = folder / "real.csv"
    path.write_text(text, encoding="utf-8")
    return path


def test_counts(tmp_path: Path) -> None:
    path = write(tmp_path, "policy, successes, trials\nb, 5, 10\na, 1, 10\nc, 9, 10\nunused,1,2\n")
    logged = read_logged_rates(path)
    assert [row.policy for row in logged.rows] == ["b", "a", "c", "unused"]
    report = rank(logged, IMAGINED, ["a", "b", "c"], bootstrap_samples=200)
    assert [policy.reference.value for policy in report.policies] == [0.1, 0.5, 0.9]
    assert report.coefficients.kendall.value == pytest.approx(1)
    assert report.outcomes is None and not report.paired
    separation = next(s for s in report.separations if s.world == "reference")
    assert (separation.first, separation.second) == ("c", "b")
    json.dumps(report.to_json(), allow_nan=False)


def test_rates_without_trials_are_exact_and_said_to_be(tmp_path: Path) -> None:
    path = write(tmp_path, "policy,success_rate\na,0.1\nb,0.55\nc,0.9\n")
    report = rank(read_logged_rates(path), IMAGINED, ["a", "b", "c"], bootstrap_samples=100)
    assert report.policies[1].reference.value == 0.55
    assert report.policies[1].reference.interval is None
    assert any("Trials are not logged for a, b, c" in note for note in report.notes)
    assert report.lattice.rate_step is None
    json.dumps(report.to_json(), allow_nan=False)


def test_logged_uncertainty_widens_the_interval(tmp_path: Path) -> None:
    def width(trials: int) -> float:
        rows = f"a,0.2,{trials}\nb,0.5,{trials}\nc,0.8,{trials}\n"
        logged = read_logged_rates(write(tmp_path, "policy,success_rate,trials\n" + rows))
        report = rank(logged, IMAGINED, ["a", "b", "c"], bootstrap_samples=400)
        interval = report.coefficients.bias.interval
        assert interval is not None
        return interval[1] - interval[0]

    assert width(10) > 1.3 * width(1000)


def test_impossible_rates_are_flagged(tmp_path: Path) -> None:
    path = write(tmp_path, "policy,success_rate,trials\na,0.333,3\nb,0.5,7\nc,0.9,10\n")
    report = rank(read_logged_rates(path), IMAGINED, ["a", "b", "c"], bootstrap_samples=20)
    assert report.lattice.off_lattice == ("b",)
    assert any("no multiple of 1 / trials: b" in note for note in report.notes)


def test_a_policy_that_was_not_logged_is_named(tmp_path: Path) -> None:
    logged = read_logged_rates(write(tmp_path, "policy,success_rate\na,0.1\n"))
    with pytest.raises(UsageError, match="no logged success rate for b, c"):
        rank(logged, IMAGINED, ["a", "b", "c"])


def test_logged_rates_are_of_success(tmp_path: Path) -> None:
    logged = read_logged_rates(write(tmp_path, "policy,success_rate\na,0.1\nb,0.2\nc,0.3\n"))
    with pytest.raises(UsageError, match="of success alone, got progress"):
        rank(logged, IMAGINED, ["a", "b", "c"], metric="progress")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "expected policy,successes,trials"),
        ("name,rate\na,1\n", "expected policy,successes,trials"),
        ("policy,success_rate\n", "no rows"),
        ("policy,success_rate\na,85\n", "not percent"),
        ("policy,success_rate\na,nan\n", "not a finite number"),
        ("policy,success_rate\na,\n", "not a number"),
        ("policy,successes,trials\na,5,4\n", "5 successes of 4 trials"),
        ("policy,successes,trials\na,1.5,4\n", "not a whole number"),
        ("policy,successes,trials\na,0,0\n", "zero trials"),
        ("policy,successes,trials\na,3\n", "no trials"),
        ("policy,success_rate\na,0.5\na,0.6\n", "a occur in more than one row"),
        ("policy,success_rate\n,0.5\n", "no name"),
    ],
)
def test_bad_files_are_refused(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(DataError, match=message):
        read_logged_rates(write(tmp_path, text))


def test_missing_and_binary_files(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no such file"):
        read_logged_rates(tmp_path / "absent.csv")
    (tmp_path / "binary.csv").write_bytes(b"\xff\xfe\x00\x81")
    with pytest.raises(DataError, match="not UTF-8"):
        read_logged_rates(tmp_path / "binary.csv")
