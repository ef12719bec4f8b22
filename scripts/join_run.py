"""Join stages that were trained in different runs into one run's folder, and measure the result.

    python scripts/join_run.py runs/joined --world runs/a --dynamics runs/b --judge runs/c \
        --dataset data/pick_place

Dynamics and judge learn apart from the denoiser, so that a run whose recordings lacked something
need not be trained anew as a whole. What is measured is what training measures at its end:
validation.json, films, quality.json beside the weights. `scripts/ship_model.py` takes the folder.
"""

import argparse
import shutil
import sys
from pathlib import Path

from worldsim.cli.train_validation import validators
from worldsim.config.compose import compose_config
from worldsim.data.cache import build_cache
from worldsim.errors import DataError, WorldsimError
from worldsim.files import atomic_path
from worldsim.models.weights import WEIGHTS, load_weights
from worldsim.models.world_model import WorldModel
from worldsim.training.run_folder import RunFolder


def join(out: Path, world: Path, dynamics: Path, judge: Path, dataset: Path) -> None:
    """Write `out`.

    Raises:
        DataError: a run lacks its stage.
    """
    needed = (world / "model" / WEIGHTS, dynamics / "dynamics" / WEIGHTS, judge / "judge" / WEIGHTS)
    for path in needed:
        if not path.is_file():
            raise DataError(f"there is no {path}; `worldsim train` with that stage writes it")
    model = WorldModel.from_pretrained(world / "model")
    load_weights(model.dynamics, dynamics / "dynamics" / WEIGHTS)
    config = compose_config("train", [f"dataset={dataset}", f"out={out}"])
    camera = model.spec.cameras[0]
    cache = build_cache(dataset, (camera.height, camera.width))
    model.spec.require_compatible(cache.spec, f"model {world}", f"data set {dataset}")
    model = model.eval().requires_grad_(False)
    card = (world / "model" / "README.md").read_text()
    note = f"\nDynamics of `{dynamics.name}`, judge of `{judge.name}`, joined by `join_run.py`.\n"
    with atomic_path(out) as root:
        root.mkdir()
        folder = RunFolder(root)
        validate, measure = validators(config, cache, folder)
        model.quality = measure(model)
        model.save_pretrained(folder.model, card=card + note)
        validate(model, 0)
        shutil.copytree(judge / "judge", folder.judge)
        shutil.copy(world / "config.yaml", root)


def main() -> int:
    """Parse, join, say where."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("out", type=Path)
    for name in ("world", "dynamics", "judge", "dataset"):
        parser.add_argument(f"--{name}", type=Path, required=True)
    try:
        join(**vars(parser.parse_args()))
    except WorldsimError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
