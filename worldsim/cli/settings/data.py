"""Keys of `configs/data.yaml` and what they accept."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

from worldsim.cli.settings.shared import Selecting
from worldsim.config.limits import (
    DatasetFolder,
    InputFile,
    InputPath,
    OneOf,
    OwnParts,
    Rate,
    Text,
    Whole,
    between,
    writable,
)
from worldsim.config.values import Checked
from worldsim.data.importing.formats import IMPORTERS
from worldsim.data.importing.request import ImportConfig
from worldsim.data.importing.source import SourceOptions
from worldsim.data.selection import Selection
from worldsim.data.summary import KINDS
from worldsim.errors import UsageError
from worldsim.spec import ActionFrame, ActionMode


@dataclass(frozen=True)
class Meaning(Checked):
    """Node `meaning`: what is known of actions better than their evidence says."""

    mode: ActionMode | None
    frame: ActionFrame | None
    origin: Literal["commanded", "achieved"] | None


@dataclass(frozen=True)
class Settings(Selecting):
    """See `configs/data.yaml`."""

    parts: OwnParts
    action: Literal["inspect", "verify", "merge", "preview", "import"]
    root: DatasetFolder | None
    roots: tuple[DatasetFolder, ...]
    out: Path | None
    decode: bool
    episode: Whole
    frames: Annotated[int, between(1, 1000)]
    scale: Annotated[int, between(1, 32)]
    source: InputPath | None
    kind: Annotated[str, OneOf(lambda: IMPORTERS)] | None
    fps: Rate | None
    task: Text | None
    stride: Annotated[int, between(1, 1000)]
    idle: Whole | None
    rig: InputFile | None
    faulty: Literal["stop", "skip"]
    meaning: Meaning

    def __post_init__(self) -> None:
        super().__post_init__()
        command = f"`worldsim data {self.action}`"
        if self.action == "import" and (self.source is None or self.out is None):
            raise UsageError(f"{command} needs source=PATH, what to read, and out=FOLDER")
        if self.action not in ("merge", "import") and self.root is None:
            raise UsageError(f"{command} needs root=FOLDER, a data set")
        if self.action == "merge" and len(self.roots) < 2:
            raise UsageError(f"{command} needs roots=[FOLDER,FOLDER], two data sets or more")
        if self.action == "merge" and self.out is None:
            raise UsageError(f"{command} needs out=FOLDER, where to write")
        if self.action == "merge" and self.out is not None and self.out.exists():
            raise UsageError(f"out is '{self.out}', which is there already; choose a new folder")
        if self.action == "preview" and self.preview_file.suffix not in KINDS:
            raise UsageError(f"out is '{self.out}'; expected a file of {', '.join(KINDS)}")
        if self.action == "preview" and self.preview_file.is_dir():
            raise UsageError(f"out is '{self.out}', which is a folder; expected a file")
        if self.out is not None:
            writable.check(self.out.parent, "out")

    @property
    def importing(self) -> ImportConfig:
        """What `import` is to do."""
        assert self.source is not None
        chosen = self.selection
        return ImportConfig(
            source=self.source,
            kind=self.kind,
            options=SourceOptions(chosen.columns, self.fps, self.task or ""),
            episodes=Selection(episodes=chosen.episodes),
            stride=self.stride,
            idle=self.idle,
            faulty=self.faulty,
            mode=self.meaning.mode,
            frame=self.meaning.frame,
            commanded=None if self.meaning.origin is None else self.meaning.origin == "commanded",
            rig=self.rig,
        )

    @property
    def one_root(self) -> Path:
        """The data set of an action on one."""
        assert self.root is not None
        return self.root

    @property
    def preview_file(self) -> Path:
        """File that `preview` writes; `out`, or a name made from data set and episode."""
        return self.out or Path(f"{self.one_root.name}_episode{self.episode}.png")
