"""Keys of `configs/export.yaml` and what they accept."""

from dataclasses import dataclass
from typing import Literal

from worldsim.config.limits import Positive, Whole
from worldsim.config.paths import InputPath, ResultFolder
from worldsim.config.values import Checked
from worldsim.data.selection import ColumnOptions, Selection, read_selection
from worldsim.reporting.film import Tile


@dataclass(frozen=True)
class Settings(Checked):
    """See `configs/export.yaml`."""

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
