"""`worldsim train` on the square world, small enough for tests."""

import json
from pathlib import Path
from typing import Any

from worldsim.cli.main import main

SMALL = [
    "model=nano",
    "plan=self_rollout",
    "plan.length=5",
    "plan.rollout.frames_end=4",
    "tokenizer.max_steps=12",
    "tokenizer.batch_size=4",
    "dynamics.max_steps=10",
    "dynamics.batch_size=8",
    "experiment=smoke",
    "trainer.max_steps=9",
    "trainer.batch_size=2",
    "trainer.accumulate=2",
    "trainer.checkpoint_every=2",
    "trainer.log_every=1",
    "trainer.threads=1",
    "trainer.progress=false",
    "decoder.max_steps=4",
    "decoder.batch_size=2",
    "decoder.streams=3",
    "decoder.stretch=3",
    "validation.max_steps=3",
    "validation.films=1",
    "validation.step_counts=[1,2]",
    "validation.step_horizon=2",
    "judge.steps=3",
    "judge.batch_size=8",
    "judge.imagined_steps=3",
]


def train(data: Path, out: Path, *overrides: str) -> int:
    return main(["train", f"dataset={data}", f"out={out}", *SMALL, *overrides])


def world_rows(out: Path) -> list[dict[str, Any]]:
    rows = [json.loads(line) for line in (out / "metrics.jsonl").read_text().splitlines()]
    kept = [row for row in rows if row["stage"] == "world"]
    return [{k: v for k, v in row.items() if k != "seconds"} for row in kept]
