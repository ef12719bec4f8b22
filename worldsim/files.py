"""Writes that are whole or absent (temporary name first, then rename), and one writer at a time."""

import errno
import fcntl
import json
import math
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Any, BinaryIO

import numpy as np
from numpy.typing import DTypeLike, NDArray

from worldsim.errors import DataError, DiskFullError, UsageError

FULL = (errno.ENOSPC, errno.EDQUOT)
_NO_SPACE = 1 << 16
"""Bytes: after a failed write with less left than this, the disk is taken to be full."""


@contextmanager
def atomic_path(path: Path) -> Iterator[Path]:
    """Yield a temporary path beside `path`; rename it on success, remove it on any failure.

    Works for a file or a folder (a folder replaces an existing one).
    The temporary name keeps the suffix, since video writers choose their container by it.

    Raises:
        OSError: with errno ENOSPC when the disk is full, in whatever words the library that wrote
            says so.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.stem}.{os.getpid()}.tmp{path.suffix}")
    try:
        yield temporary
        if temporary.is_dir() and path.is_dir():
            _replace_folder(temporary, path)
        else:
            os.replace(temporary, path)
    except BaseException as error:
        full = is_disk_full(error, path.parent)
        with suppress(OSError):
            if temporary.is_dir():
                shutil.rmtree(temporary)
            else:
                temporary.unlink(missing_ok=True)
        if full and getattr(error, "errno", None) not in FULL:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path)) from error
        raise


def _replace_folder(new: Path, path: Path) -> None:
    """Put a folder in another's place, which is away between two renames and never half there."""
    old = path.with_name(f".{path.stem}.{os.getpid()}.old.tmp")
    os.replace(path, old)
    os.replace(new, path)
    shutil.rmtree(old, ignore_errors=True)


def is_disk_full(error: BaseException, folder: Path) -> bool:
    """Whether a write into `folder` failed for want of space; asked before cleaning up.

    Only some libraries say so: torch raises a RuntimeError, numpy an OSError without a number,
    safetensors an error of its own.
    """
    if isinstance(error, OSError) and error.errno is not None:
        return error.errno in FULL
    if not isinstance(error, Exception):
        return False
    return "No space left" in str(error) or shutil.disk_usage(folder).free < _NO_SPACE


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


@contextmanager
def array_file(path: Path, dtype: DTypeLike, shape: tuple[int, ...]) -> Iterator[BinaryIO]:
    """A new `.npy` file whose space on disk is reserved, to write the rows of its array to.

    Raises:
        OSError: the disk lacks the space.
    """
    kind = np.dtype(dtype)
    whole = {"descr": kind.str, "fortran_order": False, "shape": shape}
    with path.open("wb") as file:
        np.lib.format.write_array_header_1_0(file, whole)
        size = file.tell() + kind.itemsize * math.prod(shape)
        file.flush()
        os.posix_fallocate(file.fileno(), 0, size)
        yield file


def allocate_array(path: Path, dtype: DTypeLike, shape: tuple[int, ...]) -> NDArray[Any]:
    """The array of an `array_file`, mapped into memory.

    A sparse file would kill the process (SIGBUS) on the write that finds the disk full.
    """
    with array_file(path, dtype, shape):
        pass
    array: NDArray[Any] = np.load(path, mmap_mode="r+")
    return array


def write_text(path: Path, text: str) -> None:
    """Write `text` whole or not at all."""
    with atomic_path(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def write_json(path: Path, data: Any) -> None:
    """Write `data` as indented JSON, whole or not at all.

    Raises:
        DataError: it holds NaN or infinity, which JSON does not know.
    """
    try:
        text = json.dumps(data, indent=2, allow_nan=False)
    except ValueError as error:
        raise DataError(f"{path} was not written: {error}") from error
    write_text(path, text + "\n")


def write_figures(path: Path, data: Any) -> None:
    """As `write_json`, with null for numbers that are not finite.

    A figure that could not be had, such as a ratio to nothing, must not end what measured it.
    """
    write_json(path, _finite(data))


def _finite(data: Any) -> Any:
    """`data` with null in place of NaN and infinity, which JSON does not know."""
    if isinstance(data, float):
        return data if math.isfinite(data) else None
    if isinstance(data, dict):
        return {key: _finite(value) for key, value in data.items()}
    return [_finite(value) for value in data] if isinstance(data, list | tuple) else data


def read_json(path: Path) -> Any:
    """Read a JSON file.

    Raises:
        DataError: the file is missing or is not JSON.
    """
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise DataError(f"no such file: {path}") from error
    except ValueError as error:
        raise DataError(f"{path} is not valid JSON ({error}); is it truncated?") from error


def read_yaml(path: Path) -> Any:
    """Read a YAML file that may be somebody else's: what looks like `${...}` stays text.

    Raises:
        DataError: the file is missing or is not YAML.
    """
    from omegaconf import OmegaConf

    if not path.is_file():
        raise DataError(f"no such file: {path}")
    try:
        return OmegaConf.to_container(OmegaConf.load(path), resolve=False)
    except Exception as error:  # the parsers of YAML and of what is in it raise errors of their own
        raise DataError(f"{path} is not valid YAML ({' '.join(str(error).split())})") from error


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


@contextmanager
def sole_writer(folder: Path) -> Iterator[None]:
    """Hold a folder, which is made; folders that were made and stay empty are removed again.

    Raises:
        UsageError: another process holds it, or no folder can be there.
    """
    made = [each for each in (folder, *folder.parents) if not each.exists()]
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except (FileExistsError, NotADirectoryError) as error:
        file = next(each for each in (folder, *folder.parents) if each.is_file())
        raise UsageError(f"{file} is a file, and results need a folder; name another") from error
    except PermissionError as error:
        raise UsageError(f"{folder} cannot be made: no permission; name another folder") from error
    try:
        lock = FileLock(folder / ".lock", wait=False)
    except BlockingIOError as error:
        raise in_use(folder) from error
    try:
        yield
    finally:
        lock.close()
        with suppress(OSError):  # one holds something
            for each in made:
                each.rmdir()


def in_use(folder: Path) -> UsageError:
    """What is said of a folder that another process holds."""
    return UsageError(
        f"another process is writing to {folder}; wait for it, or choose another folder"
    )
