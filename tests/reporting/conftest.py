"""A small rollout and a small ranking for the reporting tests."""

from dataclasses import replace

import numpy as np
import pytest
from ranking_testing import judge_report

from worldsim.ranking.baselines import BaselineScores, compare_baselines
from worldsim.ranking.rank import rank
from worldsim.ranking.report import RankingReport
from worldsim.rollout.record import RolloutRecord


@pytest.fixture
def rollout() -> RolloutRecord:
    """Three views of a square that moves right; truth ends after 6 frames, imagination after 9."""
    frames = np.full((9, 3, 16, 20, 3), 60, np.uint8)
    for step in range(9):
        frames[step, :, 5:9, 2 * step : 2 * step + 4] = (220, 40, 30)
    return RolloutRecord(
        cameras=("exterior_1", "exterior_2", "wrist"),
        fps=10,
        title="expert, start 3",
        truth=frames[:6],
        imagined=frames,
        actions=np.sin(np.arange(40, dtype=np.float32)).reshape(8, 5),
        success_probability=np.linspace(0, 1, 9, dtype=np.float32),
        progress=np.linspace(0, 0.9, 9, dtype=np.float32),
        truth_success=np.arange(6) == 5,
    )


def with_baselines(report: RankingReport) -> RankingReport:
    """The report with a row of each kind."""
    rng = np.random.default_rng(1)
    reference = rng.random((8, 30)) < np.linspace(0.1, 0.9, 8)[:, None]
    names = [policy.name for policy in report.policies]
    rows = [
        BaselineScores("first_frame", "the <b>first</b> frame", "outcomes", np.zeros((8, 30))),
        BaselineScores("action_error, clones", "error", "errors", rng.random((8, 12))),
        BaselineScores("changed", "friction=0.6", "reference", reference[::-1].astype(float)),
    ]
    found = compare_baselines(
        reference, reference, names, rows, report.metric, bootstrap_samples=100
    )
    return replace(report, baselines=found)


@pytest.fixture
def compared(ranking: RankingReport) -> RankingReport:
    """The ranking beside baselines."""
    return with_baselines(ranking)


@pytest.fixture
def ranking() -> RankingReport:
    """Eight policies, one named in HTML, one that broke off."""
    rng = np.random.default_rng(0)
    reference = rng.random((8, 30)) < np.linspace(0.1, 0.9, 8)[:, None]
    names = [f"bc_step_{i}" for i in range(6)]
    names += ["<script>alert(1)</script>", "a_very_long_name_" * 3]
    return rank(
        reference,
        reference ^ (rng.random(reference.shape) < 0.1),
        names,
        judge=judge_report(97, 100, 98, 100, 0.0123),
        others={"progress": (reference * 0.5, reference * 0.4)},
        groups={name: "checkpoints" for name in names[:6]},
        failures={names[0]: ["start 4: ValueError: <b>bad</b> action"]},
        null_policy=names[1],
        bootstrap_samples=100,
    )
