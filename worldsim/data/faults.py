"""What is wrong with a data set, in one form: told when it is opened, used or verified."""

import warnings
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from worldsim.errors import DataError, DataWarning

Severity = Literal["error", "warning"]


@dataclass(frozen=True)
class Fault:
    """One thing that is wrong.

    Attributes:
        file: path relative to the data set.
        episode: index of the episode, None if the fault is not one episode's.
        message: what was found, what was expected, and what to do where that is not plain.
        severity: "error" for what cannot be used, "warning" for what can be used all the same.
    """

    file: str
    episode: int | None
    message: str
    severity: Severity = "error"

    def __str__(self) -> str:
        where = self.file if self.episode is None else f"{self.file}, episode {self.episode}"
        return f"{where}: {self.message}"


def errors_of(faults: Iterable[Fault]) -> list[Fault]:
    """Those that forbid the use of what they concern."""
    return [fault for fault in faults if fault.severity == "error"]


def raise_faults(root: Path, faults: Iterable[Fault], shown: int = 5) -> None:
    """Raise a DataError that lists the first `shown` errors, if there are any."""
    found = errors_of(faults)
    if found:
        listed = "; ".join(str(fault) for fault in found[:shown])
        more = f"; and {len(found) - shown} more" if len(found) > shown else ""
        count = f"{len(found)} faults" if len(found) > 1 else "a fault"
        raise DataError(f"{root} has {count}: {listed}{more}")


def settle(root: Path, faults: Iterable[Fault], shown: int = 3) -> None:
    """Before use: raise the errors, or else say the first `shown` warnings.

    Raises:
        DataError: see `raise_faults`.
    """
    found = list(faults)
    raise_faults(root, found)
    texts = [str(fault) for fault in found[:shown]]
    if len(found) > shown:
        texts.append(f"{len(found) - shown} more warnings; `worldsim data verify` lists them")
    for text in texts:
        warnings.warn(f"{root}: {text}", DataWarning, stacklevel=2)
