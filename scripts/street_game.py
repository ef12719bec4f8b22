"""The game `worldsim/Street-v0` in imagination, with the env's ledger and map on and off.

    worldsim collect env=street episodes=120 mixture=choices workers=0 out=data/street
    worldsim train experiment=street_tiny dataset=data/street out=runs/street
    python scripts/street_game.py model=runs/street out=runs/street_game

Trains an event head on simulated and on imagined steps of other streets, plays games of 500 steps,
prints a table, and writes street.json, the head, and a film of one game: simulator, and every arm.
A model that has an event head of its own (`model.head.events`) is asked too, as `own`.
A head that lies in `out` already is used as it is; take another folder for another model.
"""

import argparse
from collections.abc import Mapping
from functools import partial
from pathlib import Path

import numpy as np
import torch

from worldsim.envs.imagination.ledger import EventReader
from worldsim.envs.street.env import FPS
from worldsim.envs.street.events import EventHead, NewCellRule, joined, train_event_head
from worldsim.envs.street.imagined import Modules
from worldsim.files import write_figures
from worldsim.models.world_model import WorldModel
from worldsim.reporting.encode import write_frames
from worldsim.validation.street import (
    imagined_steps,
    measure_street,
    recorded_steps,
    simulate,
    wander,
)

TRAINED_ON, SCORED_ON = 10_000, 0
"""First seeds of the streets that the head learns from, and of those that are played."""
ARMS = tuple(Modules(ledger, kept) for ledger in (True, False) for kept in (True, False))
USAGE = "model=FOLDER out=FOLDER [steps=500] [games=8] [threads=1]"
COLUMNS = ("counter", "right_for", "off_at_end", "f1", "ledger_right", "houses", "standing")


def event_head(path: Path, model: WorldModel) -> EventHead:
    """The head in a file, or one that learns now and is put there."""
    if path.is_file():
        return EventHead.load(path)
    truth = simulate(wander(120, 32, TRAINED_ON), TRAINED_ON)
    recorded, imagined = (
        recorded_steps(truth, TRAINED_ON),
        imagined_steps(model, truth, TRAINED_ON),
    )
    head = train_event_head(joined(recorded, imagined))
    head.save(path)
    return head


def keep(held: list[np.ndarray], frames: np.ndarray) -> None:
    """Keep the first game's frame."""
    held.append(frames[0].copy())


def main() -> None:
    """Measure and write."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("keys", nargs="+", help=USAGE)
    given = dict(key.partition("=")[::2] for key in parser.parse_args().keys)
    if not {"model", "out"} <= given.keys() <= {"model", "out", "steps", "games", "threads"}:
        parser.error(f"the keys are {sorted(given)}; expected {USAGE}")
    torch.set_num_threads(int(given.get("threads", 1)))
    out, steps, games = Path(given["out"]), int(given.get("steps", 500)), int(given.get("games", 8))
    out.mkdir(parents=True, exist_ok=True)
    model = WorldModel.from_pretrained(given["model"])
    head = event_head(out / "event_head.safetensors", model)
    truth = simulate(wander(steps, games, SCORED_ON), SCORED_ON)
    films, rows = [truth.frames[:, 0]], []
    readers: list[tuple[EventReader | None, str]] = [(head, "head"), (NewCellRule(), "rule")]
    readers += [(None, "own")] if model.event_head is not None else []
    for reader, told in readers:
        for modules in ARMS if reader is head else ARMS[:1]:
            kept: list[np.ndarray] = []
            film = partial(keep, kept)
            figures = measure_street(model, reader, modules, steps, games, SCORED_ON, film)
            rows.append({"events": told, **figures.to_json()})
            films.append(np.stack(kept))
            print(row(rows[-1]), flush=True)
    write_figures(out / "street.json", {"steps": steps, "games": games, "arms": rows})
    stacked = np.concatenate(films, axis=1)
    large = (frame.repeat(4, axis=0).repeat(4, axis=1) for frame in stacked)
    write_frames(out / "street.mp4", large, FPS)


def row(figures: Mapping[str, object]) -> str:
    """One line of the table."""
    on = [name for name in ("ledger", "map") if figures[name]] or ["neither"]
    cells = [f"{key} {figures[key]:.3f}" for key in COLUMNS]
    return f"{figures['events']:>4} {'+'.join(on):<10} " + "  ".join(cells)


if __name__ == "__main__":
    main()
