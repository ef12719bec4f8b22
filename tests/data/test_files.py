"""Writes are whole or absent, and a full disk is one error whatever library finds it."""

import errno
import os
import shutil
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from worldsim.files import allocate_array, atomic_path


def full(monkeypatch: pytest.MonkeyPatch, free: int) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=free))


@pytest.mark.parametrize(
    ("error", "free"),
    [
        (RuntimeError("PytorchStreamWriter failed writing file data/0"), 0),  # torch.save
        (OSError("1000 requested and 0 written"), 0),  # np.save
        (ValueError("I/O error: No space left on device (os error 28)"), 1 << 30),  # safetensors
    ],
)
def test_a_full_disk_is_told_by_its_number(
    error: Exception, free: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    full(monkeypatch, free)
    with pytest.raises(OSError) as caught, atomic_path(tmp_path / "weights.pt") as temporary:
        temporary.write_text("half")
        raise error
    assert caught.value.errno == errno.ENOSPC and "weights.pt" in str(caught.value.filename)
    assert not list(tmp_path.iterdir())


def test_other_failures_stay_what_they_are(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    full(monkeypatch, 1 << 30)
    with pytest.raises(RuntimeError, match="shape"), atomic_path(tmp_path / "weights.pt"):
        raise RuntimeError("shape mismatch")
    full(monkeypatch, 0)
    with pytest.raises(KeyboardInterrupt), atomic_path(tmp_path / "weights.pt"):
        raise KeyboardInterrupt


def test_an_allocated_array_has_its_space_on_disk(tmp_path: Path) -> None:
    """A sparse one would kill the process when a later write finds the disk full."""
    array = allocate_array(tmp_path / "a.npy", np.uint8, (300, 1000))
    assert (tmp_path / "a.npy").stat().st_blocks * 512 >= 300_000
    array[7] = 5
    del array
    assert np.load(tmp_path / "a.npy")[7].sum() == 5000


def test_an_array_that_does_not_fit_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "posix_fallocate", refuse)
    with pytest.raises(OSError, match="No space"), atomic_path(tmp_path / "a.npy") as temporary:
        allocate_array(temporary, np.uint8, (300, 1000))
    assert not list(tmp_path.iterdir())
