"""One process at a time: a lock file that goes away with whoever holds it."""

import errno
import fcntl
import os
from pathlib import Path
from typing import IO

UNKNOWN = (errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP)
"""What network disks that know no locks say; there, nothing is locked."""


class FileLock:
    """Holds `path` from construction until `close`, or until the process ends, however it ends.

    Args:
        path: lock file; its folder must exist.
        wait: wait for another holder, or raise.

    Raises:
        BlockingIOError: another process or thread holds it, and `wait` is False.
        OSError: the file cannot be made.
    """

    def __init__(self, path: Path, wait: bool = True) -> None:
        self.path = path
        self._handle = self._acquire(wait)

    def _acquire(self, wait: bool) -> IO[str]:
        while True:
            handle = self.path.open("w")
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
            except OSError as error:
                if error.errno in UNKNOWN:
                    return handle
                handle.close()
                raise
            if self._is_named(handle):
                return handle
            handle.close()  # its holder removed the file meanwhile, so that it locks nothing

    def _is_named(self, handle: IO[str]) -> bool:
        try:
            return os.path.samestat(os.fstat(handle.fileno()), self.path.stat())
        except FileNotFoundError:
            return False

    def close(self) -> None:
        """Let others have it."""
        if not self._handle.closed:
            self.path.unlink(missing_ok=True)
            self._handle.close()

    def __enter__(self) -> "FileLock":
        return self

    def __exit__(self, *error: object) -> None:
        self.close()
