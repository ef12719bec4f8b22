"""One clear message for a full disk."""

import errno
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from worldsim.errors import DataError

FULL = (errno.ENOSPC, errno.EDQUOT)


class DiskFullError(DataError):
    """No space left; what was finished before is intact."""


@contextmanager
def disk_errors(folder: Path) -> Iterator[None]:
    """Turn "no space left" from any library (they all raise OSErrors) into a DiskFullError."""
    try:
        yield
    except OSError as error:
        if error.errno not in FULL:
            raise
        free = shutil.disk_usage(folder).free if folder.exists() else 0
        raise DiskFullError(
            f"disk full while writing under {folder} ({free / 1e6:.1f} MB free). Finished "
            "episodes are kept: free some space and run the same command again"
        ) from error
