"""One clear message for a full disk."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from worldsim.errors import DiskFullError
from worldsim.files import is_disk_full


@contextmanager
def disk_errors(folder: Path) -> Iterator[None]:
    """Turn "no space left", as any library says it, into a DiskFullError."""
    try:
        yield
    except OSError as error:
        if not is_disk_full(error, folder):
            raise
        free = shutil.disk_usage(folder).free if folder.exists() else 0
        raise DiskFullError(
            f"disk full while writing under {folder} ({free / 1e6:.1f} MB free). Finished "
            "episodes are kept: free some space and run the same command again"
        ) from error
