"""`worldsim export`: rollouts and recorded episodes as films."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from omegaconf import DictConfig

from worldsim.cli.console import finish, progress
from worldsim.config import build
from worldsim.data.selection import Selection, read_selection
from worldsim.errors import DataError
from worldsim.evaluation.record import Pixels, RolloutRecord
from worldsim.reporting.film import FilmStyle, write_film

DESCRIPTION = """
Writes MP4 (H.264) or GIF films: camera views in a grid, truth beside imagination where both are
there, with step, action, judge and progress. An existing film of the same name is replaced.
"""

EXAMPLES = """
worldsim export source=runs/rank                 # every film of a ranking, worlds side by side
worldsim export source=runs/rank/films/expert/0003.imagination.npz format=gif speed=0.5
worldsim export source=data/push episode=3 out=films
"""


@dataclass(frozen=True)
class ExportConfig:
    """Keys of configs/export.yaml."""

    source: Path
    out: Path
    episode: int | None
    format: Literal["mp4", "gif"]
    tile: int
    overlay: bool
    speed: float
    columns: dict[str, Any]


def run(config: DictConfig) -> None:
    """Write the films.

    Raises:
        DataError: the source is missing, holds nothing to film, or is damaged.
    """
    settings = build(ExportConfig, config, "export")
    style = FilmStyle(tile=settings.tile, overlay=settings.overlay)
    count, records = _records(settings)
    path = settings.out
    with progress("films", count) as advance:
        for name, record in records:
            path = settings.out / f"{name}.{settings.format}"
            write_film(path, record, style, settings.speed)
            advance(1)
    finish("film" if count == 1 else f"{count} films", path if count == 1 else settings.out)


def _records(settings: ExportConfig) -> tuple[int, Iterator[tuple[str, RolloutRecord]]]:
    """How many films there are to be, and (name, rollout) one by one."""
    source = settings.source
    if not source.exists():
        raise DataError(f"no such file or folder: {source}")
    if source.is_file():
        return 1, iter([(source.stem, RolloutRecord.load(source))])
    if (source / "meta" / "info.json").exists():
        chosen = read_selection(settings.columns)
        return _episodes(source, settings.episode, chosen)
    files = sorted(source.rglob("*.npz"))
    if not files:
        raise DataError(
            f"{source} is neither a LeRobot data set (no meta/info.json) nor a folder of .npz "
            "rollouts"
        )
    films = _pairs(files)
    return len(films), (
        (str(name.relative_to(source)), _load(name, worlds)) for name, worlds in films.items()
    )


def _pairs(files: list[Path]) -> dict[Path, dict[str, Path]]:
    """{path without ending: {world: file}}: the files of one rollout in two worlds belong together.

    `worldsim rank` and `worldsim rollout` write `0003.simulator.npz` and `0003.imagination.npz`.
    """
    films: dict[Path, dict[str, Path]] = {}
    for file in files:
        stem = file.with_suffix("")
        world = stem.suffix[1:] if stem.suffix in (".simulator", ".imagination") else ""
        films.setdefault(stem.with_suffix("") if world else stem, {})[world] = file
    return films


def _load(name: Path, worlds: dict[str, Path]) -> RolloutRecord:
    records = {world: RolloutRecord.load(file) for world, file in worlds.items()}
    if set(records) == {"simulator", "imagination"}:
        return records["simulator"].beside(records["imagination"])
    if len(records) > 1:
        raise DataError(f"{name}: {sorted(map(str, worlds.values()))} would make the same film")
    return next(iter(records.values()))


def _episodes(
    root: Path, episode: int | None, selection: Selection
) -> tuple[int, Iterator[tuple[str, RolloutRecord]]]:
    from worldsim.data.dataset import LeRobotDataset

    dataset = LeRobotDataset(root, selection)
    if episode is not None:
        dataset.record(episode)  # refuses what is not there, before anything is written
    wanted = range(dataset.num_episodes) if episode is None else [episode]

    def film(number: int) -> tuple[str, RolloutRecord]:
        data = dataset.episode(number)
        record = RolloutRecord(
            cameras=dataset.spec.camera_names,
            fps=dataset.spec.fps,
            title=f"episode {number}: {data.meta.policy or data.task}",
            truth=_stacked([data.pixels[name] for name in dataset.spec.camera_names]),
            actions=data.action,
            progress=data.progress,
            truth_success=data.success,
        )
        return f"episode_{number:06d}", record

    return len(wanted), (film(number) for number in wanted)


def _stacked(views: list[Pixels]) -> Pixels:
    """Views `[T, H, W, 3]` as `[T, V, H, W, 3]`, smaller ones padded with black."""
    height, width = (max(view.shape[axis] for view in views) for axis in (1, 2))
    padded = np.zeros((len(views[0]), len(views), height, width, 3), np.uint8)
    for index, view in enumerate(views):
        padded[:, index, : view.shape[1], : view.shape[2]] = view
    return padded
