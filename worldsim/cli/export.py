"""`worldsim export`: rollouts and recorded episodes as films."""

import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np
from omegaconf import DictConfig

from worldsim.cli.console import finish, progress
from worldsim.config.compose import build
from worldsim.config.limits import InputPath, OwnParts, Positive, ResultFolder, Whole
from worldsim.config.values import Checked
from worldsim.data.selection import ColumnOptions, Selection, read_selection
from worldsim.errors import DataError
from worldsim.reporting.film import FilmStyle, Tile, write_film
from worldsim.rollout.record import Pixels, RolloutRecord
from worldsim.rollout.results import RESULTS

if TYPE_CHECKING:
    from worldsim.data.dataset import LeRobotDataset

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
class Settings(Checked):
    """See `configs/export.yaml`."""

    parts: OwnParts
    source: InputPath
    columns: ColumnOptions
    out: ResultFolder
    episode: Whole | None
    format: Literal["mp4", "gif"]
    tile: Tile
    overlay: bool
    speed: Positive

    @property
    def selection(self) -> Selection:
        """What of a data set is taken."""
        return read_selection(self.columns)


def run(config: DictConfig) -> None:
    """Write the films.

    Raises:
        DataError: the source is missing, holds nothing to film, or is damaged.
    """
    settings = build(Settings, config)
    style = FilmStyle(tile=settings.tile, overlay=settings.overlay)
    count, records = _records(settings)
    path = settings.out
    with progress("films", count) as advance:
        for name, record in records:
            path = settings.out / f"{name}.{settings.format}"
            write_film(path, record, style, settings.speed)
            advance(1)
    finish("film" if count == 1 else f"{count} films", path if count == 1 else settings.out)


def _records(settings: Settings) -> tuple[int, Iterator[tuple[str, RolloutRecord]]]:
    """How many films there are to be, and (name, rollout) one by one."""
    source = settings.source
    if source.is_file():
        return 1, iter([(source.stem, RolloutRecord.load(source))])
    if (source / "meta" / "info.json").exists():
        return _episodes(source, settings.episode, settings.selection)
    files = sorted(path for path in source.rglob("*.npz") if path.parent.parent.name != RESULTS)
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
    root: Path, episode: int | None, selection: Selection | None = None
) -> tuple[int, Iterator[tuple[str, RolloutRecord]]]:
    from worldsim.data.dataset import LeRobotDataset

    dataset = LeRobotDataset(root, selection)
    # What is not there is refused before anything is written.
    wanted = range(dataset.num_episodes) if episode is None else [dataset.place(episode)]

    def film(number: int) -> tuple[str, RolloutRecord]:
        arrays, index = dataset.arrays(number), dataset.record(number).index
        record = RolloutRecord(
            cameras=dataset.spec.camera_names,
            fps=dataset.spec.fps,
            title=f"episode {index}: {dataset.meta(number).policy or dataset.task(number)}",
            truth=_stacked(dataset, number),
            actions=arrays["action"][:-1],
            progress=arrays["progress"],
            truth_success=arrays["success"],
        )
        return f"episode_{index:06d}", record

    return len(wanted), (film(number) for number in wanted)


def _stacked(dataset: "LeRobotDataset", episode: int) -> Pixels:
    """Views of an episode as `[T, V, H, W, 3]`, smaller ones padded with black.

    They lie in a temporary file: memory does not grow with the episode's length.
    """
    names = dataset.spec.camera_names
    height = max(camera.height for camera in dataset.spec.cameras)
    width = max(camera.width for camera in dataset.spec.cameras)
    frame = np.zeros((len(names), height, width, 3), np.uint8)
    with tempfile.TemporaryFile() as file:
        for views in zip(*(dataset.each_frame(episode, name) for name in names), strict=True):
            for place, view in zip(frame, views, strict=True):
                place[: view.shape[0], : view.shape[1]] = view
            file.write(frame.data)
        file.flush()
        return np.memmap(file, np.uint8, "r").reshape(-1, *frame.shape)
