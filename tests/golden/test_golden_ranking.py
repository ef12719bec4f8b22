"""Golden figures of a ranking: fixed outcomes, and a shipped model from a few starts."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from golden_store import check
from ranking_testing import judge_report

from worldsim.cli.main import main
from worldsim.ranking.rank import rank

FIGURES = ("pearson", "spearman", "kendall", "mmrv")
RATES = ("reference_rate", "imagined_rate", "corrected_rate", "calibrated_rate")
SMALL = ["only=[expert,noise_low,biased,zero]", "starts.count=4", "films.starts=0", "workers=0"]
SMALL += ["bootstrap_samples=50"]


def figures_of(data: dict[str, Any]) -> dict[str, Any]:
    """Rates of every policy and coefficients with their intervals; words may change."""
    kept: dict[str, Any] = {name: data[name] for name in FIGURES}
    for policy in data["policies"]:
        kept[policy["name"]] = {name: policy[name] for name in RATES}
    return kept


def test_a_fixed_pool() -> None:
    rng = np.random.default_rng(7)
    reference = rng.random((6, 32)) < np.linspace(0.1, 0.9, 6)[:, None]
    imagined = reference ^ (rng.random(reference.shape) < 0.15)
    judge = judge_report(97, 100, 98, 100, 0.012)
    names = [f"policy_{i}" for i in range(6)]
    report = rank(reference, imagined, names, judge=judge, bootstrap_samples=400)
    check("ranking_pool", figures_of(report.to_json()), rel=1e-9, abs=1e-9)


@pytest.mark.slow
@pytest.mark.usefixtures("float32_inference")
def test_the_shipped_model_on_a_small_pool(tmp_path: Path) -> None:
    out = tmp_path / "out"
    assert main(["rank", "experiment=push_pretrained", f"out={out}", *SMALL]) == 0
    data = json.loads((out / "ranking.json").read_text())
    rates = {policy["name"]: {name: policy[name] for name in RATES} for policy in data["policies"]}
    check("ranking_push", rates, rel=1e-6, abs=1e-6)
