"""LeRobot sets of other recorders as a source, to be checked, thinned out and scaled once.

`worldsim train` reads such sets as they are. Importing writes down what was found out of their
actions, leaves out idle frames where that is asked for, and keeps success and failure.
"""

from dataclasses import dataclass
from pathlib import Path

from worldsim.data.dataset import LeRobotDataset
from worldsim.data.importing.source import (
    Frames,
    Source,
    SourceOptions,
    SourceRows,
    SourceWorld,
)
from worldsim.data.layout import INFO
from worldsim.data.selection import Selection
from worldsim.errors import UsageError


def recognises(path: Path) -> bool:
    """Whether a folder is a LeRobot set."""
    return (path / INFO).is_file()


def open_source(path: Path, options: SourceOptions) -> Source:
    """Open a LeRobot set, v2.0 to v3.0.

    Raises:
        DataError: see `LeRobotDataset`.
        UsageError: worldsim recorded it, or another rate than its own was asked for.
    """
    dataset = LeRobotDataset(path, Selection(options.columns))
    if "spec" in dataset.own:
        raise UsageError(
            f"{path} was written by worldsim; `worldsim train dataset={path}` takes it as it is"
        )
    spec = dataset.spec
    if options.fps is not None and options.fps != spec.fps:
        times = spec.fps / options.fps
        whole = abs(times - round(times)) < 1e-6 and times >= 1
        rates = ", ".join(f"{spec.fps / n:.4g}" for n in range(1, 5))
        advice = f"stride={round(times)} makes it that" if whole else f"stride= makes it {rates}..."
        raise UsageError(f"fps is {options.fps:g}, but {path} says {spec.fps:g}; {advice}")
    world = SourceWorld(
        spec.fps,
        spec.cameras,
        spec.action.names,
        spec.agent_pos.names,
        str(dataset.info.get("robot_type") or ""),
    )
    episodes = [
        LeRobotEpisode(f"episode {record.index}", dataset, place, options.task)
        for place, record in enumerate(dataset.index.records)
    ]
    return Source(world, episodes, dataset.close)


@dataclass(frozen=True, eq=False)
class LeRobotEpisode:
    """An episode of a LeRobot set; see `SourceEpisode`."""

    name: str
    dataset: LeRobotDataset
    place: int
    task: str

    def rows(self) -> SourceRows:
        """See `SourceEpisode`; outcomes stand at their own observations already."""
        arrays, meta = self.dataset.arrays(self.place), self.dataset.meta(self.place)
        return SourceRows(
            action=arrays["action"][:-1],
            agent_pos=arrays["agent_pos"],
            reward=arrays["reward"],
            success=arrays["success"],
            task=self.dataset.task(self.place) or self.task,
            solved=meta.success,
            factors={"source": self.name},
            rig=meta.rig,
        )

    def frames(self) -> Frames:
        """See `SourceEpisode`."""
        names = self.dataset.spec.camera_names
        films = [self.dataset.each_frame(self.place, name) for name in names]
        for views in zip(*films, strict=True):
            yield dict(zip(names, views, strict=True))
