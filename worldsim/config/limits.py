"""What values of a config may be, beyond their type: ranges, names, files and folders.

`Annotated[int, between(1, 9)]` says it once. `worldsim.config.compose.build` holds configs to it,
and a dataclass that derives from `worldsim.config.values.Checked` holds those made in Python to it
too. What is read must be there; what is written must fit.
"""

import os
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

from worldsim.errors import UnknownNameError, UsageError, unknown_name

MOST = 10**9
"""Greatest count: what is larger would fail for want of memory or time, and not tell why."""


@dataclass(frozen=True)
class Limit:
    """A condition on a value.

    Attributes:
        words: what is expected, read after the words of the type, as in "a whole number from 1".
        holds: whether a value meets it; may raise a UsageError with a better reason.
    """

    words: str
    holds: Callable[[Any], bool]

    def check(self, value: Any, key: str) -> None:
        """Refuse a value.

        Raises:
            UsageError: names the key, the value and what was expected.
        """
        try:
            held = self.holds(value)
        except UsageError as error:
            raise UsageError(f"{key}: {error}") from error
        if not held:
            number = {int: "a whole number ", float: "a number "}.get(type(value), "")
            raise refused(value, key, number + self.words)


@dataclass(frozen=True)
class OneOf:
    """A condition on names: to be one of a set.

    Attributes:
        names: gives the set, asked for when a value is checked, since registries fill later.
    """

    names: Callable[[], Iterable[str]]

    @property
    def words(self) -> str:
        """What is expected."""
        return f"one of {', '.join(sorted(self.names()))}"

    def check(self, value: Any, key: str) -> None:
        """Refuse another name.

        Raises:
            UnknownNameError: names the key, the value, the nearest name and all of them.
        """
        if not isinstance(value, str) or value not in set(self.names()):
            raise unknown_name(key, str(value), self.names(), UnknownNameError)


Rule = Limit | OneOf


def refused(value: Any, key: str, expected: str) -> UsageError:
    """The error of a value that is not what its key takes."""
    shown = repr(str(value)) if isinstance(value, Path) else repr(value)
    shown = {"None": "null", "True": "true", "False": "false"}.get(shown, shown)
    return UsageError(f"{key} is {shown}; expected {expected}")


def between(low: float, high: float) -> Limit:
    """From `low` to `high`, both included."""
    return Limit(f"from {low} to {high}", lambda value: low <= value <= high)


def at_least(low: float) -> Limit:
    """`low` or more."""
    return Limit(f"of {low} or more", lambda value: value >= low)


def more_than(low: float) -> Limit:
    """Above `low`."""
    return Limit(f"above {low}", lambda value: value > low)


def at_most(high: float) -> Limit:
    """`high` or less."""
    return Limit(f"of {high} or less", lambda value: value <= high)


def below(high: float) -> Limit:
    """Less than `high`."""
    return Limit(f"below {high}", lambda value: value < high)


def inside(low: float, high: float) -> Limit:
    """Between `low` and `high`, neither included."""
    return Limit(f"between {low} and {high}, neither included", lambda value: low < value < high)


Count = Annotated[int, between(1, MOST)]
"""How many, at least one."""
Whole = Annotated[int, between(0, MOST)]
"""How many; 0 means none, or all, as the field says."""
Workers = Annotated[int, between(0, 1024)]
"""Processes or threads."""
Steps = Annotated[int, between(1, 1024)]
"""Rungs of a ladder of noise levels."""
FewSteps = Annotated[int, between(1, 8)]
"""Denoising steps of an imagined frame."""
ImageSize = Annotated[int, between(8, 4096)]
"""Height and width of a camera, pixels."""
Port = Annotated[int, between(0, 2**16 - 1)]
"""Of TCP; 0 takes a free one where one listens."""
Seed = Annotated[int, between(0, 2**32 - 1)]
"""What every generator of random numbers takes, numpy's global one included."""
Positive = Annotated[float, more_than(0)]
Rate = Annotated[float, between(1e-3, 1e4)]
"""How many a second."""
Weight = Annotated[float, at_least(0)]
Share = Annotated[float, between(0, 1)]
Fraction = Annotated[float, at_least(0), below(1)]
"""A share that is never all."""
Text = Annotated[str, Limit("text that is not empty", lambda text: bool(text.strip()))]
OwnParts = tuple[Text, ...]
"""Modules that register parts of the user's own; see `worldsim.own_imports`."""


LONGEST_NAME = 255
"""Bytes, of common file systems."""


def _can_be_written(folder: Path) -> bool:
    """Whether a folder is there or can be made; looks only, and makes nothing."""
    there = folder.absolute()
    if any(len(os.fsencode(part)) > LONGEST_NAME for part in there.parts):
        raise UsageError(f"a name in {folder} is longer than {LONGEST_NAME} bytes")
    while not os.path.lexists(there):
        there = there.parent
    if not there.is_dir():
        what = "a file" if there.exists() else "a link that leads nowhere"
        raise UsageError(f"{folder} cannot be a folder, since {there} is {what}")
    if not os.access(there, os.W_OK):
        raise UsageError(f"{folder} cannot be written: {there} is not yours to write in")
    return True


def _holds_no_dataset(folder: Path) -> bool:
    """Whether a folder can take results without mixing them with recordings."""
    if (folder / "meta" / "info.json").exists():
        raise UsageError(f"{folder} is a data set; results belong in a folder of their own")
    return True


def _is_folder(name: Path | str) -> bool:
    path = Path(name)
    if path.is_file():
        raise UsageError(f"{path} is a file; expected a folder")
    return path.is_dir()


existing_folder = Limit("a folder that exists", _is_folder)
writable = Limit("a folder to write", _can_be_written)
dataset_folder = Limit("the folder of a data set, such as `worldsim collect` records", _is_folder)
DatasetFolder = Annotated[Path, dataset_folder]
InputFolder = Annotated[Path, existing_folder]
InputFile = Annotated[Path, Limit("a file that exists", Path.is_file)]
InputPath = Annotated[Path, Limit("a file or folder that exists", Path.exists)]
OutputFolder = Annotated[Path, writable]
"""A folder to make or to go on in; `.` is the current one, and must be asked for as such."""
ResultFolder = Annotated[Path, writable, Limit("no data set", _holds_no_dataset)]
"""The same for what is no data set."""
