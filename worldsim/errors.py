"""Errors with the exit code that the command line gives them.

A message says what was given, what was expected and what to do.
"""

import sys
from collections.abc import Callable, Iterable
from difflib import get_close_matches
from typing import Any

EXTRAS = {
    "stable_baselines3": "rl",
    "gymnasium_robotics": "robotics",
    "gym_pusht": "pusht",
    "metaworld": "metaworld",
    "miniworld": "miniworld",
    "memory_maze": "memory-maze",
    "vizdoom": "vizdoom",
    "fastapi": "web",
    "uvicorn": "web",
    "rerun": "rerun",
    "wandb": "wandb",
    "tensorboard": "tensorboard",
    "matplotlib": "plot",
    "hf_xet": "hub",
    "h5py": "hdf5",
    "peft": "lora",
}
"""Optional packages by import name, and the extra of worldsim that installs each."""


class WorldsimError(Exception):
    """Something failed while running; the command line exits with 1."""

    exit_code = 1


class UsageError(WorldsimError):
    """The request itself is wrong (unknown name, bad config, wrong shape); exits with 2."""

    exit_code = 2


class UnknownNameError(UsageError):
    """A name that is not registered, or not among the choices."""


class SpecMismatchError(UsageError):
    """Data, model and environment do not describe the same world."""


class DataError(WorldsimError):
    """A file is missing, truncated or inconsistent."""


class DiskFullError(DataError):
    """No space left; what was finished before is intact."""


class MissingExtraError(UsageError):
    """An optional package is needed and absent.

    Args:
        package: the import that failed.
        extra: the extra of worldsim that installs it.
    """

    def __init__(self, package: str, extra: str) -> None:
        super().__init__(
            f"this needs the optional package {package!r}; install it with "
            f"`pip install 'worldsim[{extra}]'`"
        )


class QualityWarning(UserWarning):
    """What was asked for works, but worse than it need be."""


class DataWarning(QualityWarning):
    """A data set can be used, but not all of it, or not all of it as its tables say."""


def unknown_name(
    kind: str, name: str, known: Iterable[str], error: type[UsageError] = UsageError
) -> UsageError:
    """An error that lists what exists and the nearest name to what was typed."""
    names = sorted(known)
    near = get_close_matches(name, names, n=1)
    hint = f" Did you mean {near[0]!r}?" if near else ""
    listing = ", ".join(names) if names else "none"
    return error(f"unknown {kind} {name!r}.{hint} Known: {listing}")


def in_one_line(otherwise: Callable[..., None]) -> Callable[..., None]:
    """Shows what this package warns of, once and without the place in its source.

    Other warnings are shown as before.
    """
    told: set[str] = set()

    def show(message: Warning | str, category: type[Warning], *place: Any, **more: Any) -> None:
        if issubclass(category, QualityWarning):
            if str(message) not in told:  # Python forgets whenever anyone sets a filter
                print(f"warning: {message}", file=sys.stderr)
            told.add(str(message))
        else:
            otherwise(message, category, *place, **more)

    return show
