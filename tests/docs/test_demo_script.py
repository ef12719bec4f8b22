"""scripts/demo.sh with a stand-in for `worldsim`: its commands compose, its files go round."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from worldsim.cli.main import main

ROOT = Path(__file__).resolve().parents[2]

STAND_IN = f"""#!{sys.executable}
import json, pathlib, sys
words = sys.argv[1:]
with open("commands.jsonl", "a") as log:
    log.write(json.dumps(words) + "\\n")
out = pathlib.Path(next(w for w in words if w.startswith("out="))[4:])
for name in ("results/simulator/a.json", "results/imagination/a.json",
             "films/a/0.simulator.npz", "films/a/0.imagination.npz", "report.html"):
    path = out / name
    if words[0] == "rank" and not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(str(out))
"""


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    (tmp_path / "scripts").mkdir()
    shutil.copy(ROOT / "scripts" / "demo.sh", tmp_path / "scripts")
    (tmp_path / "scripts" / "setup.sh").write_text("exit 0\n")
    program = tmp_path / ".venv" / "bin" / "worldsim"
    program.parent.mkdir(parents=True)
    program.write_text(STAND_IN)
    program.chmod(0o755)
    return tmp_path


def test_demo_runs_its_commands_and_ends_with_the_report(
    repository: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    demo = ["bash", "scripts/demo.sh", "my runs/demo"]
    done = subprocess.run(demo, cwd=repository, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    report = Path(done.stdout.strip().splitlines()[-1])
    assert report == repository / "my runs" / "demo" / "report.html"
    assert report.read_text() == "my runs/demo/shipped"

    lines = (repository / "commands.jsonl").read_text().splitlines()
    commands = [json.loads(line) for line in lines]
    assert [words[0] for words in commands] == ["collect", "train", "rank", "rank"]
    for words in commands:
        # Paths with spaces are for the shell; Hydra wants them without.
        assert main([*(word.replace("my runs", "runs") for word in words), "--config"]) == 0
    assert capsys.readouterr().err == ""

    shipped = repository / "my runs" / "demo" / "shipped"
    kept = (shipped / "results" / "simulator" / "a.json").read_text()
    assert kept.endswith("from_scratch"), "simulator rollouts are taken over"
    assert (shipped / "results" / "imagination" / "a.json").read_text().endswith("shipped")


def test_failure_of_a_command_ends_the_demo(repository: Path) -> None:
    (repository / ".venv" / "bin" / "worldsim").write_text("#!/bin/sh\nexit 3\n")
    done = subprocess.run(
        ["bash", "scripts/demo.sh"], cwd=repository, capture_output=True, text=True
    )
    assert done.returncode == 3
