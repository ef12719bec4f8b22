"""Put a trained run into the package as shipped/NAME: model in half precision, judge, validation.

    worldsim collect env=push episodes=4000 out=data/push
    worldsim train experiment=push_tiny
    python scripts/ship_model.py push runs/push_tiny

The run's resolved config goes along as training.yaml. Run `worldsim rank
experiment=NAME_pretrained` afterwards, and write the score into that experiment's header.
"""

import argparse
import shutil
import sys
from pathlib import Path

import torch

from worldsim.errors import DataError, WorldsimError
from worldsim.files import atomic_path, read_json, write_json, write_text
from worldsim.judge.gate import LIMIT
from worldsim.judge.gates import GATES
from worldsim.judge.judge import REPORT
from worldsim.models.pretrained import SHIPPED
from worldsim.models.weights import WEIGHTS
from worldsim.models.world_model import WorldModel
from worldsim.training.run_folder import file_fingerprint

MOST_BYTES = 16 * 2**20
"""Largest file of weights that a package should carry."""


def card(name: str, run: Path) -> str:
    """README.md of the shipped folder, from what the run recorded."""
    trained = (run / "model" / "README.md").read_text()
    summary = read_json(run / "validation.json")["summary"]
    rows = "\n".join(
        f"| {key} | {value:.4g} |" for key, value in summary.items() if value is not None
    )
    return (
        f"{trained.replace('# worldsim world model', f'# shipped/{name}', 1)}\n"
        "Weights are stored in float16, the dynamics in float32. `training.yaml` is the run's\n"
        "config, `judge/` the judge of the same episodes, its measured error in `judge.json`;\n"
        "`validation.json` is open-loop quality on whole held-out episodes, in short:\n\n"
        f"| held-out open loop | value |\n| --- | --- |\n{rows}\n"
    )


def ship(name: str, run: Path) -> Path:
    """Copy `run` to the package; the folder is replaced as a whole or not at all.

    Raises:
        DataError: the run is unfinished or its weights are too large.
    """
    for part in (f"model/{WEIGHTS}", f"judge/{WEIGHTS}", "validation.json", "config.yaml"):
        if not (run / part).is_file():
            raise DataError(f"{run} has no {part}; `worldsim train out={run}` finishes a run")
    model = WorldModel.from_pretrained(run / "model")
    with atomic_path(SHIPPED / name) as folder:
        model.save_pretrained(folder, dtype=torch.float16, card=card(name, run))
        shutil.copytree(run / "judge", folder / "judge")
        _restamp(folder, run / "model" / WEIGHTS)
        shutil.copy(run / "validation.json", folder)
        write_text(folder / "training.yaml", (run / "config.yaml").read_text())
        size = (folder / WEIGHTS).stat().st_size
        if size > MOST_BYTES:
            raise DataError(f"{size} bytes of weights; the package takes {MOST_BYTES}")
    return SHIPPED / name


def _restamp(folder: Path, trained: Path) -> None:
    """What was measured on frames of the trained weights holds for the same weights in float16."""
    old, new = file_fingerprint(trained), file_fingerprint(folder / WEIGHTS)
    judge = folder / "judge" / REPORT
    limits = [folder / "judge" / GATES.get(kind).folder / LIMIT for kind in GATES]
    for path in (path for path in (judge, *limits) if path.is_file()):
        data = read_json(path)
        measured = data["report"].get("imagined") if path == judge else data
        if measured and measured["model"] == old:
            measured["model"] = new
            write_json(path, data)


def main() -> int:
    """Entry point."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("name")
    parser.add_argument("run", type=Path)
    arguments = parser.parse_args()
    try:
        print(ship(arguments.name, arguments.run))
    except WorldsimError as error:
        print(f"ship_model: {error}", file=sys.stderr)
        return error.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(main())
