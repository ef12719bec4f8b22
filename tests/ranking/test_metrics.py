"""Episode metrics: their closed forms, and rankings by any of them."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from rank_testing import rank_config, save_nano_run
from ranking_testing import made_up_batch
from rich.console import Console

from worldsim.cli import rank as rank_command
from worldsim.config.compose import compose_config
from worldsim.errors import UsageError
from worldsim.files import read_json
from worldsim.ranking.rank import rank
from worldsim.ranking.significance import more_starts, separate, sign_flip_test
from worldsim.reporting.terminal import print_ranking
from worldsim.rollout.episodes import (
    METRICS,
    Episode,
    Trajectory,
    register_metric,
)
from worldsim.rollout.eval_config import RankingOptions
from worldsim.rollout.rollouts import position_columns
from worldsim.spec import VectorSpec
from worldsim.validation.navigation.ranked import RANKED

NAMES = [f"policy_{i}" for i in range(6)]
Register = Callable[..., None]


@pytest.fixture
def register(monkeypatch: pytest.MonkeyPatch) -> Iterator[Register]:
    """Registers metrics for one test."""
    monkeypatch.setattr(METRICS, "_entries", dict(METRICS._entries))

    def one(name: str, measure: Callable[[Trajectory, Episode], float], **row: Any) -> None:
        register_metric(name, **row)(measure)

    yield one


def trajectory(**changes: Any) -> Trajectory:
    """Three steps: 3 m along x, 4 m along y, back along x; success from the second on."""
    points = [[0, 0, 9], [3, 0, 8], [3, 4, 7], [0, 4, 6]]
    given: dict[str, Any] = {
        "agent_pos": np.array(points, np.float32),
        "action": np.zeros((3, 2), np.float32),
        "success": np.array([False, False, True, True]),
        "progress": np.array([0.1, 0.2, 0.9, 0.7], np.float32),
    }
    return Trajectory(**given | changes)


NEVER = {"success": np.zeros(4, bool)}
UNBEGUN = {
    "agent_pos": np.zeros((0, 3), np.float32),
    "action": np.zeros((0, 2), np.float32),
    "success": np.zeros(0, bool),
    "progress": np.zeros(0, np.float32),
}
POSE = np.tile(np.eye(4, dtype=np.float32), (4, 1, 1))


@pytest.mark.parametrize(
    ("metric", "changes", "episode", "expected"),
    [
        ("success", {}, Episode(0), 1),
        ("success", NEVER, Episode(0), 0),
        ("success", {}, Episode(0, error="broke off"), 0),
        ("success", UNBEGUN, Episode(0, error="broke off"), 0),
        ("progress", {}, Episode(0), 0.9),
        ("progress", {"progress": None}, Episode(0), np.nan),
        ("progress", UNBEGUN, Episode(0), 0),
        ("final_progress", {}, Episode(0), 0.7),
        ("final_progress", UNBEGUN, Episode(0), 0),
        ("steps_to_success", {}, Episode(0, horizon=9), 2),
        ("steps_to_success", NEVER, Episode(0, horizon=9), 9),
        ("steps_to_success", {}, Episode(0, horizon=9, error="broke off"), 9),
        ("steps_to_success", NEVER, Episode(0), np.nan),
        ("path_length", {}, Episode(0, position=(0, 1)), 10),
        ("path_length", {}, Episode(0), np.nan),
        ("path_length", {"pose": POSE}, Episode(0, position=(0, 1)), 0),
        ("path_length", UNBEGUN, Episode(0, position=(0, 1)), 0),
        ("path_length", {}, Episode(0, error="broke off", position=(0, 1)), np.nan),
    ],
)
def test_closed_forms(
    metric: str, changes: dict[str, Any], episode: Episode, expected: float
) -> None:
    found = METRICS.get(metric)(trajectory(**changes), episode)
    assert found == pytest.approx(expected, nan_ok=True)


def test_a_position_is_the_first_point_in_metres() -> None:
    def columns(*names: str, unit: str = "m") -> tuple[int, ...]:
        return position_columns(VectorSpec(names, (unit,) * len(names)))

    assert columns("width", "ee_x", "ee_y", "ee_z", "other_x") == (1, 2, 3)
    assert columns("x", "y") == (0, 1)
    assert columns("ee_x", "ee_y", unit="rad") == columns("width") == ()


def outcomes() -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(1)
    reference = rng.random((6, 30)) < np.linspace(0.1, 0.9, 6)[:, None]
    return reference, reference ^ (rng.random(reference.shape) < 0.15)


def test_failure_ranks_as_success_does(register: Register) -> None:
    """The same outcomes, told the other way round, order policies as before."""
    register("failure", lambda t, e: nan, unit="share", more_is_better=False, binary=True,
             bounds=(0.0, 1.0))  # fmt: skip
    reference, imagined = outcomes()
    good = rank(reference, imagined, NAMES, bootstrap_samples=60)
    bad = rank(~reference, ~imagined, NAMES, metric="failure", bootstrap_samples=60)
    assert [p.name for p in bad.ordered()] == [p.name for p in good.ordered()]
    for name in ("pearson", "spearman", "kendall", "mmrv", "pairwise_accuracy", "selection_regret"):
        ours, theirs = getattr(good.coefficients, name), getattr(bad.coefficients, name)
        assert ours.value == pytest.approx(theirs.value)
    assert bad.coefficients.bias.value == pytest.approx(-(good.coefficients.bias.value or 0))
    for ours, theirs in zip(good.policies, bad.policies, strict=True):
        assert ours.best_in_imagination == pytest.approx(theirs.best_in_imagination)
    for ours, theirs in zip(good.separations, bad.separations, strict=True):
        assert (ours.first, ours.second, ours.p_value) == (theirs.first, theirs.second,
                                                           theirs.p_value)  # fmt: skip
    assert bad.verdict.startswith("By failure (share, less is better): ")
    assert (
        bad.verdict.removeprefix("By failure (share, less is better): ")[:60] == (good.verdict[:60])
    )


nan = float("nan")


def test_intervals_suit_the_metric() -> None:
    """Wilson for rates; for means the bootstrap, within the metric's bounds."""
    rng = np.random.default_rng(0)
    metres = np.linspace(1, 2, 6)[:, None] + rng.exponential(0.2, (6, 40))
    report = rank(metres, metres * 1.1, NAMES, metric="path_length", bootstrap_samples=400)
    assert report.ordered()[0].name == "policy_0", "the shortest path is the best"
    for i, policy in enumerate(report.policies):
        assert policy.reference.value == pytest.approx(metres[i].mean())
        interval, half = policy.reference.interval, 1.96 * metres[i].std() / np.sqrt(40)
        assert interval is not None
        assert interval[1] - interval[0] == pytest.approx(2 * half, rel=0.35)
    assert report.coefficients.pearson.value == pytest.approx(1)
    assert report.coefficients.bias.value == pytest.approx(0.1 * metres.mean())
    assert report.corrected is None and report.outcomes is None
    assert report.lattice.rate_step is None and report.null_policy is None


def test_means_are_told_apart_by_their_paired_differences() -> None:
    base = np.random.default_rng(0).normal(10, 5, 40)
    path = METRICS.get("path_length")
    clear = separate(np.stack([base + 1, base]), ("long", "short"), "imagined", 0.95, path)
    assert (clear.first, clear.second, clear.separated) == ("short", "long", True)
    assert clear.difference == pytest.approx(1) and clear.more_starts == 0
    noisy = base + np.random.default_rng(1).normal(0.2, 2, 40)
    unclear = separate(np.stack([noisy, base]), ("a", "b"), "imagined", 0.95, path)
    assert not unclear.separated and unclear.more_starts is not None
    tied = separate(np.stack([base, base]), ("a", "b"), "imagined", 0.95, path)
    assert "tied" in tied.statement and tied.p_value == 1 and tied.more_starts is None


def test_a_sign_flip_test_of_few_starts_is_exact_up_to_sampling() -> None:
    """Of 2^4 sign patterns of four equal differences, two are as extreme."""
    assert sign_flip_test(np.ones(4)) == pytest.approx(2 / 16, abs=0.02)
    differences = np.array([1.0, 3.0] * 10)
    spread = differences.std(ddof=1)
    needed = ((1.96 + 0.8416) * spread / 2) ** 2
    assert more_starts(differences, 0.95) == max(int(np.ceil(needed)) - 20, 1)


@pytest.fixture(scope="module")
def nano_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("run")
    save_nano_run(folder)
    return folder


def test_a_metric_is_one_function_and_one_row(
    register: Register, nano_run: Path, tmp_path: Path
) -> None:
    """It is ranked, stored and shown, and changing the metric rolls nothing out again."""
    few = ("starts.count=3", "films.starts=0")
    rank_command.run(rank_config(nano_run, tmp_path, *few))
    before = read_json(tmp_path / "ranking.json")
    results = {path: path.stat().st_mtime_ns for path in (tmp_path / "results").glob("*/*")}
    register(
        "effort",
        lambda trajectory, _: float(np.abs(trajectory.action).sum()),
        unit="1",
        more_is_better=False,
    )
    rank_command.run(rank_config(nano_run, tmp_path, *few, "metric=effort"))
    after = read_json(tmp_path / "ranking.json")
    assert {path: path.stat().st_mtime_ns for path in results} == results
    assert before["metric"]["name"] == "success" and after["metric"]["name"] == "effort"
    rates = {policy["name"]: policy for policy in after["policies"]}
    assert rates["zero"]["imagined_rate"] == rates["zero"]["reference_rate"] == 0
    # Random actions do not look at the world: both worlds see the same where none ends early.
    assert rates["random"]["imagined_rate"] > 0 and "zero leads" not in before["verdict"]
    assert after["verdict"].startswith("By effort (1, less is better): zero")
    assert (
        after["metrics"]["success"]["policies"]["zero"]["imagined"]["value"]
        == (next(p for p in before["policies"] if p["name"] == "zero")["imagined_rate"])
    )
    page = (tmp_path / "report.html").read_text()
    assert "All metrics, imagined / reference" in page and "less is better" in page
    for name in METRICS:  # those of walks have no row where nobody walks
        assert name in page if name not in RANKED else name not in after["metrics"]


def test_other_metrics_fit_80_columns(register: Register) -> None:
    for i in range(4):
        register(f"a_metric_with_a_long_name_{i}", lambda t, e: nan, unit="m")
    reference, imagined = outcomes()
    others = {
        name: (reference * 1234.5, imagined * 1234.5)
        for name in METRICS
        if not METRICS.get(name).is_share
    }
    report = rank(reference, imagined, NAMES, others=others, bootstrap_samples=20)
    lines = printed(report)
    assert max(map(len, lines)) <= 80 and any("steps_to_success" in line for line in lines)
    by_steps = rank(reference * 55.5, imagined * 50.5, NAMES, metric="steps_to_success",
                    others={"success": (reference, imagined)}, bootstrap_samples=20)  # fmt: skip
    lines = printed(by_steps)
    assert max(map(len, lines)) <= 80
    assert lines[1].split()[1] == by_steps.ordered()[0].name


def printed(report: Any) -> list[str]:
    console = Console(width=80, highlight=False, color_system=None)
    with console.capture() as capture:
        print_ranking(report, console)
    return capture.get().splitlines()


def test_an_unknown_metric_shows_the_nearest() -> None:
    for refuse in (
        lambda: RankingOptions(metric="sucess"),
        lambda: made_up_batch("a", "simulator", [True]).outcomes("sucess"),
    ):
        with pytest.raises(UsageError, match="Did you mean 'success'"):
            refuse()
    with pytest.raises(UsageError, match="logged rates are of success"):
        RankingOptions(metric="progress", reference_csv="real.csv")
    assert compose_config("rank", ["out=x"]).metric == "success"
