"""Python code of the user's own: policies, and modules that register parts.

Only the user's command or Python code names it: no data set, run folder or model does.

Two folders may each hold a `helpers.py`. On one import path the first to be imported would serve
both. So code of a folder is loaded as a package of its own, and its import statements look there
first, as a script's do; statements inside functions, which run later, too.
"""

import builtins
import hashlib
import importlib.util
import sys
from collections.abc import Mapping, Sequence
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec, PathFinder, SourceFileLoader
from pathlib import Path
from types import ModuleType
from typing import Any

from worldsim.errors import UsageError

_IN_USE: list[str] = []
_KEPT: set[str] = set()
"""Names of the modules that files of parts brought; a second run would register them twice."""


def import_parts(names: Sequence[str]) -> None:
    """Import modules that register parts of the user's own, each once in a process.

    Args:
        names: `path/to/file.py`, which may import modules beside it, or `package.module`; all
            that the running command has.

    Raises:
        UsageError: there is no such module, or it does not run.
    """
    for name in names:
        own_module(name, "parts", keep=True)
    _IN_USE[:] = names


def parts_in_use() -> tuple[str, ...]:
    """What `import_parts` was given last; a worker process is told these names."""
    return tuple(_IN_USE)


def own_module(place: str, purpose: str, keep: bool = False) -> ModuleType:
    """The module at `place`, `path/to/file.py` or `package.module`.

    Args:
        place: see above.
        purpose: what it is for, in messages.
        keep: whether a file is run once for the whole process; else it is run anew.

    Raises:
        UsageError: there is none, or it does not run.
    """
    path = Path(place)
    try:
        if path.suffix != ".py":
            return importlib.import_module(place)
        if path.is_file():
            return Folder(path.parent).load(path, keep)
    except ModuleNotFoundError as error:
        raise UsageError(f"no module {error.name!r} for {purpose} {place}") from error
    except Exception as error:
        raise UsageError(f"{purpose} code {place} does not run: {error!r}") from error
    raise UsageError(f"no {purpose} file {place}")


class Folder(MetaPathFinder):
    """Code of one folder.

    Args:
        path: the folder.
    """

    def __init__(self, path: Path) -> None:
        self.path = str(path.resolve())
        self.package = f"worldsim_own_{hashlib.sha256(self.path.encode()).hexdigest()[:12]}"

    def load(self, file: Path, keep: bool = False) -> ModuleType:
        """Run `file`, which lies in the folder, anew, with what it imports from there.

        Args:
            file: the file.
            keep: whether it is the last time that it, or what it imports from there, is run.

        Raises:
            Exception: whatever the file raises.
        """
        name = f"{self.package}.{file.stem}"
        if name in _KEPT:
            return sys.modules[name]
        for old in self._loaded() - _KEPT:
            del sys.modules[old]
        sys.meta_path[:] = [f for f in sys.meta_path if getattr(f, "package", "") != self.package]
        sys.meta_path.insert(0, self)
        package = ModuleType(self.package)
        package.__path__ = [self.path]
        sys.modules[self.package] = package
        loader = _Loader(self, name, str(file.resolve()))
        spec = importlib.util.spec_from_file_location(name, file.resolve(), loader=loader)
        assert spec is not None
        module = importlib.util.module_from_spec(spec)
        sys.modules[name] = module  # dataclasses and pickles look their module up
        loader.exec_module(module)
        if keep:
            _KEPT.update(self._loaded())
        return module

    def _loaded(self) -> set[str]:
        return {name for name in sys.modules if name.partition(".")[0] == self.package}

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """A module of this folder; see `importlib.abc.MetaPathFinder`."""
        if not fullname.startswith(f"{self.package}."):
            return None
        spec = PathFinder.find_spec(fullname, path)
        if spec is not None and isinstance(spec.loader, SourceFileLoader):
            spec.loader = _Loader(self, spec.loader.name, str(spec.loader.path))
        return spec

    def bring(
        self,
        name: str,
        globals: Mapping[str, Any] | None = None,
        locals: Mapping[str, Any] | None = None,
        fromlist: Sequence[str] | None = (),
        level: int = 0,
    ) -> ModuleType:
        """What an import statement of the folder's code brings; see `builtins.__import__`."""
        top = name.partition(".")[0]
        if level == 0 and self._holds(top):
            inner = f"{self.package}.{name}"
            module = builtins.__import__(inner, globals, locals, fromlist or (), 0)
            return module if fromlist else sys.modules[f"{self.package}.{top}"]
        return builtins.__import__(name, globals, locals, fromlist or (), level)

    def _holds(self, name: str) -> bool:
        """Whether a module lies here; there is but one worldsim, and a folder without code is
        none where a module of its name is installed."""
        spec = None if name == "worldsim" else PathFinder.find_spec(name, [self.path])
        if spec is None or spec.origin is not None:
            return spec is not None
        return name not in sys.modules and PathFinder.find_spec(name) is None


class _Loader(SourceFileLoader):
    """Runs a file whose import statements look into a folder first."""

    def __init__(self, folder: Folder, name: str, path: str) -> None:
        super().__init__(name, path)
        self._folder = folder

    def exec_module(self, module: ModuleType) -> None:
        """Run the file in `module`."""
        statements = {**vars(builtins), "__import__": self._folder.bring}
        module.__dict__["__builtins__"] = statements
        super().exec_module(module)
