"""Keys of `configs/data.yaml` and what they accept."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

from worldsim.cli.settings.shared import Selecting
from worldsim.config.limits import DatasetFolder, OwnParts, Whole, between, writable
from worldsim.data.summary import KINDS
from worldsim.errors import UsageError


@dataclass(frozen=True)
class Settings(Selecting):
    """See `configs/data.yaml`."""

    parts: OwnParts
    action: Literal["inspect", "verify", "merge", "preview"]
    root: DatasetFolder | None
    roots: tuple[DatasetFolder, ...]
    out: Path | None
    decode: bool
    episode: Whole
    frames: Annotated[int, between(1, 1000)]
    scale: Annotated[int, between(1, 32)]

    def __post_init__(self) -> None:
        super().__post_init__()
        command = f"`worldsim data {self.action}`"
        if self.action != "merge" and self.root is None:
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
    def one_root(self) -> Path:
        """The data set of an action on one."""
        assert self.root is not None
        return self.root

    @property
    def preview_file(self) -> Path:
        """File that `preview` writes; `out`, or a name made from data set and episode."""
        return self.out or Path(f"{self.one_root.name}_episode{self.episode}.png")
