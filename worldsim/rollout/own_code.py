"""Hashes of Python code that a config names, with whatever of the user's it imports.

Files are read and never run: imports are followed as far as they can be read off the code. Code
of installed packages counts as far as the package that is named; worldsim's own by its version.
"""

import hashlib
import re
import sys
import sysconfig
from importlib.machinery import ModuleSpec
from importlib.util import find_spec
from modulefinder import ModuleFinder
from pathlib import Path

_TARGET = re.compile(r"(?P<place>.+\.py|[A-Za-z_][\w.]*):[A-Za-z_]\w*")


def code_digest(target: str) -> str | None:
    """Hash of the code behind `file.py:Name` or `package.module:Name`; None for other text."""
    match = _TARGET.fullmatch(target)
    return None if match is None else place_digest(match["place"])


def place_digest(place: str) -> str | None:
    """Hash of the code of `path/to/file.py` or `package.module`; None where there is none."""
    if not place.endswith(".py"):
        return module_digest(place)
    file = Path(place)
    return _digest(_imported_by_file(file)) if file.is_file() else None


def module_digest(module: str) -> str | None:
    """Hash of a module's code; None where there is no such module."""
    top = module.partition(".")[0]
    found = _spec(top)
    if top == "worldsim" or found is None:
        return None
    if found.submodule_search_locations:
        package = Path(next(iter(found.submodule_search_locations)))
    elif found.origin and Path(found.origin).is_file():
        package = Path(found.origin)
    else:
        return None
    if _is_installed(package):
        return _digest(_files_under(package))
    finder = _finder(package.parent)
    try:
        finder.import_hook(module)
    except (ImportError, SyntaxError, ValueError):
        return _digest(_files_under(package))
    return _digest(_files_of(finder))


def _spec(top: str) -> ModuleSpec | None:
    """Of a module without parents, which finding does not import."""
    try:
        return find_spec(top)
    except (ImportError, ValueError):  # imported as something without a spec, such as __main__
        return None


def _imported_by_file(file: Path) -> dict[str, Path]:
    """{module: file} of a script and of what it imports."""
    finder = _finder(file.resolve().parent)
    try:
        finder.run_script(str(file))
    except (SyntaxError, ValueError):  # whoever runs it is told
        return {"__main__": file}
    return _files_of(finder)


def _finder(folder: Path) -> ModuleFinder:
    """Looks for modules in a folder, then where else Python finds the user's own."""
    own = [entry for entry in sys.path if entry and not _is_installed(Path(entry))]
    return ModuleFinder([str(folder), *own], excludes=["worldsim"])


def _files_under(package: Path) -> dict[str, Path]:
    """{name: file} of all code of a package, or of a module that is one file, and its assets."""
    files = [f for kind in ("*.py", "*.xml") for f in package.rglob(kind)] or [package]
    return {file.relative_to(package.parent).as_posix(): file for file in files}


def _files_of(finder: ModuleFinder) -> dict[str, Path]:
    files = {name: getattr(module, "__file__", None) for name, module in finder.modules.items()}
    return {name: Path(file) for name, file in files.items() if file}


def _is_installed(path: Path) -> bool:
    """Whether a path is Python's own, or where packages are installed."""
    roots = {sysconfig.get_path(name) for name in ("purelib", "platlib", "stdlib", "platstdlib")}
    return any(path.resolve().is_relative_to(Path(root).resolve()) for root in roots if root)


def _digest(files: dict[str, Path]) -> str:
    content = hashlib.sha256()
    for name in sorted(files):
        content.update(name.encode() + b"\0" + files[name].read_bytes() + b"\0")
    return content.hexdigest()
