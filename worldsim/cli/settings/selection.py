"""Keys of several commands that say what of a data set is taken."""

from dataclasses import dataclass
from typing import Any

from worldsim.config.values import Checked
from worldsim.data.selection import ColumnOptions, Selection, read_selection


@dataclass(frozen=True)
class Selecting(Checked):
    """Keys `columns` and `episodes`; see `worldsim.data.selection.read_selection`."""

    columns: ColumnOptions
    episodes: Any

    def __post_init__(self) -> None:
        super().__post_init__()
        _ = self.selection  # refuses what cannot be read

    @property
    def selection(self) -> Selection:
        """What of the data set is taken."""
        return read_selection(self.columns, self.episodes)
