"""The benchmarks run, at a size that measures nothing, and end in one JSON line."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from browser import CHROMIUM

BENCH = Path(__file__).resolve().parents[2] / "scripts" / "bench"
SMALL = {
    "collect": "--episodes 8 --workers 1",
    "data": "--episodes 3 --rounds 1 --batch 2 --length 4",
    "imagination": "--threads 1 --seconds 0.2",
    "play": "--seconds 2 sampler.steps=1",
    "stream": "--model nano_dit --image 32 32 --views 2 --streams 1 2 --threads 1 --seconds 0.2",
    "train": "model=nano_dit trainer.batch_size=1 plan.length=3 trainer.threads=1",
}


def test_every_benchmark_is_run_here() -> None:
    assert {path.stem for path in BENCH.glob("*.py")} == set(SMALL)


@pytest.mark.slow
@pytest.mark.parametrize("name", sorted(SMALL))
def test_a_benchmark_ends_in_one_json_line(name: str) -> None:
    if name == "play" and CHROMIUM is None:
        pytest.skip("no Chromium on this machine")
    done = subprocess.run(
        [sys.executable, str(BENCH / f"{name}.py"), *SMALL[name].split()],
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    line = json.loads(done.stdout.splitlines()[-1])
    assert {"name", "value", "unit", "ratio", "against"} <= set(line)
    assert line["value"] > 0 and line["ratio"] > 0
