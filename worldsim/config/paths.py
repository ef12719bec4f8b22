"""Files and folders that a config names: what is read must be there, what is written must fit."""

import os
from pathlib import Path
from typing import Annotated

from worldsim.config.limits import Limit
from worldsim.errors import UsageError

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
