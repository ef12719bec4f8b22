"""`worldsim export`: rollouts and recorded episodes as films."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from omegaconf import DictConfig

from worldsim.cli.console import finish, progress
from worldsim.config import build
from worldsim.conventions import stack_views
from worldsim.errors import DataError, UsageError
from worldsim.evaluation.record import RolloutRecord
from worldsim.reporting.film import FilmStyle, write_film

DESCRIPTION = """
Writes MP4 (H.264) or GIF films: camera views in a grid, truth beside imagination where both are
there, with step, action, judge and progress. An existing film of the same name is replaced.
"""

EXAMPLES = """
worldsim export source=runs/rank/rollouts                   # every rollout in the folder
worldsim export source=runs/rank/rollouts/a.npz format=gif speed=0.5
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
        return _episodes(source, settings.episode)
    files = sorted(source.glob("*.npz"))
    if not files:
        raise DataError(
            f"{source} is neither a LeRobot data set (no meta/info.json) nor a folder of .npz "
            "rollouts"
        )
    return len(files), ((file.stem, RolloutRecord.load(file)) for file in files)


def _episodes(root: Path, episode: int | None) -> tuple[int, Iterator[tuple[str, RolloutRecord]]]:
    from worldsim.data.dataset import LeRobotDataset

    dataset = LeRobotDataset(root)
    if episode is not None and not 0 <= episode < dataset.num_episodes:
        raise UsageError(
            f"{root} has episodes 0 to {dataset.num_episodes - 1}, not episode={episode}"
        )
    wanted = range(dataset.num_episodes) if episode is None else [episode]
    cameras = dataset.spec.camera_names

    def film(number: int) -> tuple[str, RolloutRecord]:
        data = dataset.episode(number)
        record = RolloutRecord(
            cameras=cameras,
            fps=dataset.spec.fps,
            title=f"episode {number}: {data.meta.policy or data.task}",
            truth=stack_views(data.pixels, cameras),
            actions=np.asarray(data.action, np.float32),
            progress=np.asarray(data.progress, np.float32),
            truth_success=np.asarray(data.success, np.bool_),
        )
        return f"episode_{number:06d}", record

    return len(wanted), (film(number) for number in wanted)
