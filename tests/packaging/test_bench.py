"""The benchmarks run, at a size that measures nothing, and end in one JSON line."""

import json
import runpy
import sys
from pathlib import Path

import pytest
from browser import CHROMIUM

BENCH = Path(__file__).resolve().parents[2] / "scripts" / "bench"
SMALL = {
    "collect": "--episodes 8 --workers 1",
    "data": "--episodes 3 --rounds 1 --batch 2 --length 4",
    "imagination": "--threads 1 --seconds 0.2",
    "indoor": "--workers 1 --seconds 0.4 --scenes 2",
    "memory": "--envs 2 --rounds 1 --steps 8",
    "plan": "--candidates 4 --horizon 2 --seconds 0.2",
    "play": "--seconds 2 sampler.steps=1",
    "stream": "--model nano_dit --image 32 32 --views 2 --streams 1 2 --threads 1 --seconds 0.2",
    "train": "model=nano_dit trainer.batch_size=1 plan.length=3 trainer.threads=1",
}


def test_every_benchmark_is_run_here() -> None:
    assert {path.stem for path in BENCH.glob("*.py")} == set(SMALL)


@pytest.mark.slow
@pytest.mark.parametrize("name", sorted(SMALL))
def test_a_benchmark_ends_in_one_json_line(
    name: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    if name == "play" and CHROMIUM is None:
        pytest.skip("no Chromium on this machine")
    for variable, value in {"LP_NUM_THREADS": "0", "KINETO_LOG_LEVEL": "5"}.items():
        monkeypatch.setenv(variable, value)  # which benchmarks set, and this takes back
    monkeypatch.setattr(sys, "path", list(sys.path))
    script = BENCH / f"{name}.py"
    monkeypatch.setattr(sys, "argv", [str(script), *SMALL[name].split()])
    runpy.run_path(str(script), run_name="__main__")  # as a process would, without its imports
    line = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert {"name", "value", "unit", "ratio", "against"} <= set(line)
    assert line["value"] > 0 and line["ratio"] > 0
