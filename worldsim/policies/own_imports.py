"""Imports of a policy file: the modules beside it, which no other policy file sees.

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


class Folder(MetaPathFinder):
    """Code of one folder.

    Args:
        path: the folder.
    """

    def __init__(self, path: Path) -> None:
        self.path = str(path.resolve())
        self.package = f"worldsim_own_{hashlib.sha256(self.path.encode()).hexdigest()[:12]}"

    def load(self, file: Path) -> ModuleType:
        """Run `file`, which lies in the folder, anew, with what it imports from there.

        Raises:
            Exception: whatever the file raises.
        """
        for name in [n for n in sys.modules if n.partition(".")[0] == self.package]:
            del sys.modules[name]
        sys.meta_path[:] = [f for f in sys.meta_path if getattr(f, "package", "") != self.package]
        sys.meta_path.insert(0, self)
        package = ModuleType(self.package)
        package.__path__ = [self.path]
        sys.modules[self.package] = package
        name = f"{self.package}.{file.stem}"
        loader = _Loader(self, name, str(file.resolve()))
        spec = importlib.util.spec_from_file_location(name, file.resolve(), loader=loader)
        assert spec is not None
        module = importlib.util.module_from_spec(spec)
        sys.modules[name] = module  # dataclasses and pickles look their module up
        loader.exec_module(module)
        return module

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
