"""Where a cache lies, and several processes that want it at once."""

import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from shutil import copytree

import numpy as np
import pytest

import worldsim.data.cache as cache_module
from worldsim.data.cache import build_cache, cache_folder
from worldsim.errors import UsageError
from worldsim.files import FileLock

WriteSet = Callable[..., Path]

BUILDER = """
import sys
from pathlib import Path
from worldsim.data.cache import build_cache

print("ready", flush=True)
for line in sys.stdin:
    built = []
    try:
        cache = build_cache(Path(sys.argv[1]), 32, line.strip(), lambda *_: built.append(1))
        print("built" if built else "opened", int(cache.pixels.sum()), flush=True)
    except Exception as error:
        print(repr(error), flush=True)
"""


@pytest.fixture
def builders(tmp_path: Path, write_set: WriteSet) -> Iterator[list[subprocess.Popen[str]]]:
    """Three processes that build the cache of one set in the folders they are told."""
    root = str(write_set(tmp_path / "set", range(3)))
    command = [sys.executable, "-c", BUILDER, root]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    processes = [subprocess.Popen(command, **pipes) for _ in range(3)]  # type: ignore[call-overload]
    yield processes
    for process in processes:
        process.communicate()


def test_processes_that_open_a_fresh_set_at_once_share_one_cache(
    tmp_path: Path, builders: list[subprocess.Popen[str]]
) -> None:
    def answers() -> list[str]:
        return [p.stdout.readline().strip() for p in builders if p.stdout]

    assert answers() == ["ready"] * 3
    for attempt in range(8):
        for process in builders:
            assert process.stdin is not None
            process.stdin.write(f"{tmp_path / str(attempt)}\n")
            process.stdin.flush()
        said = sorted(answer.split() for answer in answers())
        assert [words[0] for words in said] == ["built", "opened", "opened"], said
        assert len({words[1] for words in said}) == 1
    assert not list(tmp_path.glob("*/*/.*")), "locks and half caches are gone"


def test_a_lock_keeps_others_out_until_it_is_closed(tmp_path: Path) -> None:
    path, order = tmp_path / "lock", []
    first = FileLock(path)
    with pytest.raises(BlockingIOError):
        FileLock(path, wait=False)

    def wait() -> None:
        with FileLock(path):
            order.append("second")

    waiting = threading.Thread(target=wait)
    waiting.start()
    order.append("first")
    first.close()
    waiting.join(timeout=30)
    assert order == ["first", "second"] and not path.exists()


def test_a_lock_on_a_file_that_was_removed_is_none(tmp_path: Path) -> None:
    """The waiter of a lock whose holder removed the file must not share it with a newcomer."""
    path = tmp_path / "lock"
    holder = FileLock(path)
    taken: list[FileLock] = []
    waiting = threading.Thread(target=lambda: taken.append(FileLock(path)))
    waiting.start()
    holder.close()
    waiting.join(timeout=30)
    with pytest.raises(BlockingIOError):
        FileLock(path, wait=False)
    taken[0].close()


def test_a_named_folder_holds_the_caches_of_many_sets(
    tmp_path: Path, write_set: WriteSet, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = write_set(tmp_path / "a/set", range(2))
    second = Path(copytree(first, tmp_path / "b/set"))  # of the same name
    place = tmp_path / "place"
    caches = [build_cache(root, 32, place) for root in (first, second)]
    assert caches[0].folder != caches[1].folder
    assert all(place in cache.folder.parents for cache in caches)
    assert not (first / "cache").exists() and not (second / "cache").exists()
    monkeypatch.setenv("WORLDSIM_CACHE", str(tmp_path / "elsewhere"))
    assert tmp_path / "elsewhere" in cache_folder(first).parents
    assert place in cache_folder(first, place).parents, "what is named goes first"
    monkeypatch.delenv("WORLDSIM_CACHE")
    assert cache_folder(first) == first / "cache"


def test_a_place_that_cannot_be_written_to_asks_for_another(
    tmp_path: Path, write_set: WriteSet
) -> None:
    root = write_set(tmp_path / "set", range(2))
    (root / "cache").write_text("a file, as if the disk were read-only")
    with pytest.raises(UsageError, match=r"set/cache .*cache=FOLDER or WORLDSIM_CACHE"):
        build_cache(root, 32)
    assert build_cache(root, 32, tmp_path / "place").num_episodes == 2


def test_a_cache_on_a_read_only_disk_is_opened(
    tmp_path: Path, write_set: WriteSet, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = write_set(tmp_path / "set", range(2))
    built = build_cache(root, 32)

    def read_only(*_: object) -> None:
        raise PermissionError(30, "Read-only file system")

    monkeypatch.setattr(cache_module, "FileLock", read_only)
    np.testing.assert_array_equal(build_cache(root, 32).pixels, built.pixels)
    with pytest.raises(UsageError, match=r"Read-only file system.*cache=FOLDER"):
        build_cache(root, 16)
