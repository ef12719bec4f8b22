"""habitat-sim itself: whether it is here, in a version whose interface is known, and how to get it.

It has no wheel on PyPI. What lies there under its name is a snapshot of version 0.2.4 of 2023.
"""

import os
from importlib import import_module
from importlib.util import find_spec
from typing import Any

from worldsim.errors import UsageError

VERSION = (0, 3)
ROUTE = (
    "install habitat-sim 0.3 by `conda install habitat-sim headless -c conda-forge -c aihabitat`, "
    "or build it from source as BUILD_FROM_SOURCE.md of github.com/facebookresearch/habitat-sim "
    "says (with --headless); PyPI has no usable one"
)


def is_there() -> bool:
    """Whether a package of that name can be found; it is not imported."""
    return find_spec("habitat_sim") is not None


def habitat_sim() -> Any:
    """The package.

    Raises:
        UsageError: it is absent, does not load, or is of another version.
    """
    if not is_there():
        raise UsageError(f"this needs the optional package 'habitat_sim'; {ROUTE}")
    # Both read it once, and else report their driver and each scene among a command's output.
    for log in ("HABITAT_SIM_LOG", "MAGNUM_LOG"):
        os.environ.setdefault(log, "quiet")
    try:
        found = import_module("habitat_sim")
    except Exception as error:  # whatever its compiled parts raise
        raise UsageError(
            f"habitat-sim does not load: {type(error).__name__}: {error}; {ROUTE}"
        ) from error
    check_version(str(getattr(found, "__version__", "unknown")))
    return found


def check_version(version: str) -> None:
    """Refuse a version whose interface may be another.

    Raises:
        UsageError: it is not 0.3.x.
    """
    wanted = ".".join(map(str, VERSION))
    if version.split(".")[: len(VERSION)] != wanted.split("."):
        raise UsageError(f"habitat-sim is of version {version}, expected {wanted}.x; {ROUTE}")
