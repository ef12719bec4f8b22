"""Hashes of files and folders that a kept result depends on, whatever they are named.

A file counts by its content. Videos of a data set, which may be large, count by size and time.
"""

import hashlib
import json
import os
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any

from worldsim.errors import UsageError
from worldsim.rollout.own_code import code_digest, module_digest

Parts = dict[str, str]
"""Hashes of what a result depends on, by what it is."""

RELEASES = "releases.json"
"""Log of the release runs of models, beside them."""

DESCRIPTIONS = frozenset(
    {"README.md", "training.yaml", "validation.json", "quality.json", RELEASES}
)
"""Files beside a model's weights that tell about them; nothing computed depends on these."""

RESULT = "comparison.json"
"""Marks a folder that a ranking writes to: what lies there is made, not read."""

JUDGE_VALIDATION = "judge_validation"
"""Key of a ranking's config, and folder below its own."""


def digest_of(parts: Parts) -> str:
    """One hash of them all."""
    return hash_of(parts)


def hash_of(value: Any) -> str:
    """Hash of plain data, independent of the order of keys."""
    return hashlib.sha256(json.dumps(value, sort_keys=True, default=str).encode()).hexdigest()


def digest_env(env_id: str | None, env_kwargs: Mapping[str, Any]) -> list[str | None]:
    """Hashes of what an env's arguments name, and of the code of a foreign env."""
    import gymnasium

    registered = gymnasium.registry.get(str(env_kwargs.get("source", env_id)))
    entry = registered.entry_point if registered else None
    module = entry if isinstance(entry, str) else getattr(entry, "__module__", "")
    code = module_digest(module.partition(":")[0]) if module else None
    return [*digest_named(env_kwargs), code]


def digest_network(folder: Path) -> str:
    """Hash of the files of a model's or judge's folder, descriptions and subfolders left out."""
    files = sorted(p for p in folder.iterdir() if p.is_file() and p.name not in DESCRIPTIONS)
    return _digest((file.name, digest_file(file)) for file in files)


def digest_dataset(root: Path) -> str:
    """Hash of a LeRobot data set: its tables by content, its videos by size and time.

    Whatever else lies there, such as decoded frames, follows from these.
    """
    entries: list[tuple[str, Any]] = []
    for part in ("meta", "data", "images", "videos"):
        for file in _files(root / part):
            stat = file.stat()
            seen = (stat.st_size, stat.st_mtime_ns) if part == "videos" else digest_file(file)
            entries.append((file.relative_to(root).as_posix(), seen))
    return _digest(entries)


def digest_named(value: Any) -> list[str]:
    """Hashes of all files, folders and code that a plain value names, at any depth.

    Args:
        value: text, a path, or lists and mappings of such, as configs hold them.
    """
    if isinstance(value, Mapping):
        return [text for key in sorted(value, key=str) for text in digest_named(value[key])]
    if isinstance(value, list | tuple | set | frozenset):
        return [text for item in value for text in digest_named(item)]
    if not isinstance(value, str | os.PathLike) or not str(value):
        return []
    found = code_digest(str(value)) or _digest_of_path(str(value))
    return [] if found is None else [found]


def digest_file(path: Path) -> str:
    """Hash of a file's content; read again only when its size or time has changed."""
    stat = path.stat()
    return _content(path, stat.st_ino, stat.st_size, stat.st_mtime_ns)


@cache
def _content(path: Path, *_: int) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _digest_of_path(name: str) -> str | None:
    """Hash of what lies under a path, or of a checkpoint that ships under this name."""
    from worldsim.models.pretrained import SHIPPED_PREFIX, locate
    from worldsim.policies.checkpoints import find_checkpoint

    path = Path(name)
    try:
        if path.is_file():
            return digest_file(path)
        if path.is_dir():
            if Path.cwd().is_relative_to(path.resolve()):  # "." is hardly meant as all that is here
                return None
            dataset = (path / "meta" / "info.json").is_file()
            return digest_dataset(path) if dataset else _digest_tree(path)
        shipped = name.startswith(SHIPPED_PREFIX)  # a model, such as a planner's
        return _digest_tree(locate(name) if shipped else find_checkpoint(name))
    except (UsageError, OSError, ValueError):  # text that is no path, such as an instruction
        return None


def _digest_tree(folder: Path) -> str:
    return _digest(
        (file.relative_to(folder).as_posix(), digest_file(file))
        for file in _files(folder)
        if file.name != "README.md"
    )


def _files(folder: Path, above: tuple[Path, ...] = ()) -> Iterator[Path]:
    """Files at any depth, in order; without hidden ones, compiled code and written results."""
    place = folder.resolve()
    if not folder.is_dir() or (folder / RESULT).is_file() or place in above:  # a link to above
        return
    for entry in sorted(folder.iterdir()):
        if entry.name.startswith(".") or entry.name == "__pycache__":
            continue
        if entry.is_dir():
            yield from _files(entry, (*above, place))
        elif entry.is_file():
            yield entry


def _digest(entries: Any) -> str:
    return hashlib.sha256(repr(list(entries)).encode()).hexdigest()
