"""The ranking in a terminal of 80 columns."""

from dataclasses import replace

import numpy as np
from rich.console import Console

from worldsim.ranking.rank import rank
from worldsim.ranking.report import RankingReport
from worldsim.reporting.terminal import print_ranking


def printed(report: RankingReport, width: int = 80) -> list[str]:
    console = Console(width=width, highlight=False, color_system=None)
    with console.capture() as capture:
        print_ranking(report, console)
    return capture.get().splitlines()


def test_fits_80_columns_and_keeps_every_policy(ranking: RankingReport) -> None:
    for width in (80, 200):
        lines = printed(ranking, width)
        assert max(map(len, lines)) <= 80
        places = [line.split()[0] for line in lines[1:9]]
        assert places == [str(i) for i in range(1, 9)]
    text = "\n".join(lines)
    assert "…" in text  # the long name is cut, not its numbers
    assert "Pearson" in text and "checkpoints" in text and "corrected" in text


def test_rows_are_by_falling_imagined_rate(ranking: RankingReport) -> None:
    lines = printed(ranking)
    best = ranking.ordered()[0]
    assert best.imagined.value is not None
    assert f"{best.imagined.value:.2f}".lstrip("0") in lines[1]


def test_markup_in_names_is_text() -> None:
    outcomes = np.tri(2, 6)
    lines = printed(rank(outcomes, outcomes, ["[red]a[/]", "b"], bootstrap_samples=10))
    assert any("[red]a[/]" in line for line in lines)


def test_many_groups_still_fit() -> None:
    outcomes = np.random.default_rng(0).random((8, 40)) < np.linspace(0.1, 0.9, 8)[:, None]
    names = [f"policy_{i}" for i in range(8)]
    groups = {name: f"a group with a long name {i // 4}" for i, name in enumerate(names)}
    lines = printed(rank(outcomes, outcomes, names, groups=groups, bootstrap_samples=20))
    assert max(map(len, lines)) <= 80
    pearson = [line for line in lines if line.startswith("Pearson  ")]
    assert sum(line.count("]") for line in pearson) == 4  # all, resampled, and two groups


def test_what_must_be_known_first_stands_first(ranking: RankingReport) -> None:
    told = replace(ranking, assisted=("the world model",), development_starts=False)
    lines = printed(told)
    assert max(map(len, lines)) <= 80
    assert lines[0].startswith("State-assisted") and "Other starts" in "".join(lines[:4])
    assert not printed(replace(ranking, assisted=()))[0].startswith("State-assisted")


def test_the_interval_over_policies_stands_beside_that_over_starts(ranking: RankingReport) -> None:
    pearson = next(line for line in printed(ranking) if line.startswith("Pearson  "))
    for interval in (ranking.coefficients.pearson.interval, ranking.over_policies.pearson.interval):
        assert interval is not None and f"[{interval[0]:.3f}, {interval[1]:.3f}]" in pearson


def test_baselines_stand_below_with_their_margins_uncut(compared: RankingReport) -> None:
    lines = printed(compared)
    assert max(map(len, lines)) <= 80
    found = next(i for i, line in enumerate(lines) if line.startswith("ranked by"))
    margins = next(i for i, line in enumerate(lines) if line.startswith("ahead of"))
    assert lines[found + 1].startswith("imagination")
    for place, row in enumerate(compared.baselines):
        ours, ahead = lines[found + 2 + place], lines[margins + 1 + place]
        assert ours.startswith(row.name) and ahead.startswith(row.name)
        for name in ("pearson", "spearman", "mmrv"):
            assert row.agreement[name].text(2) in ours and row.margins[name].text(2) in ahead
    assert "ranked by" not in "".join(printed(replace(compared, baselines=())))


def test_undefined_values_print_as_not_available() -> None:
    ones = np.ones((2, 0))
    lines = printed(rank(ones, ones, ["a", "b"], bootstrap_samples=10))
    assert any("n/a" in line for line in lines) and not any("nan" in line for line in lines)
