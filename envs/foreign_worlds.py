"""3D worlds of others that are known by name: imported when an id of theirs is asked for.

Which package an id belongs to stands here and nowhere in data, so that data never names a module.
"""

import os
import tempfile
import warnings
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import gymnasium

from worldsim.errors import EXTRAS, MissingExtraError, UsageError

_PACKAGES = {
    "MiniWorld-": "miniworld",
    "MemoryMaze-": "memory_maze",
    "Vizdoom": "vizdoom.gymnasium_wrapper",
}
"""Beginnings of ids, and the module that registers them or makes them."""
_MAZE = "worldsim.envs.foreign_maze:MemoryMaze"
_SIZES = ("9x9", "11x11", "13x13", "15x15")


def register_world(source: str) -> None:
    """Register the worlds that an id belongs to; nothing happens to other ids.

    Raises:
        MissingExtraError: their package is not installed.
        UsageError: it does not load.
    """
    module = next((m for start, m in _PACKAGES.items() if source.startswith(start)), None)
    if module is None:
        return
    package = module.partition(".")[0]
    if find_spec(package) is None:
        raise MissingExtraError(package, EXTRAS[package])
    if package == "miniworld" and not os.environ.get("DISPLAY"):
        # pyglet reads it when it is first imported, and else wants a screen.
        os.environ.setdefault("PYGLET_HEADLESS", "true")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            import_module(module)
    except Exception as error:  # whatever a module of others raises
        raise UsageError(
            f"package {package!r} does not load: {type(error).__name__}: {error}; install it anew "
            f"with `pip install 'worldsim[{EXTRAS[package]}]'`"
        ) from error
    if package == "memory_maze":
        for size in _SIZES:
            if (name := f"MemoryMaze-{size}-v0") not in gymnasium.registry:
                gymnasium.register(name, entry_point=_MAZE, kwargs={"size": size})


class KeepsSight(gymnasium.Wrapper[Any, Any, Any, Any]):
    """ViZDoom shows black where a game is over; this shows what was seen last instead."""

    _last: Any = None

    def reset(self, **kwargs: Any) -> Any:
        """See `gymnasium.Env.reset`."""
        self._last, info = self.env.reset(**kwargs)
        return self._last, info

    def step(self, action: Any) -> Any:
        """See `gymnasium.Env.step`."""
        observation, *rest = self.env.step(action)
        if getattr(self.env.unwrapped, "state", None) is not None:
            self._last = observation
        return self._last, *rest


def usual_arguments(source: str) -> dict[str, Any]:
    """Arguments of a constructor that an id is known to need, unless others are given."""
    if not source.startswith("Vizdoom"):
        return {}
    # ViZDoom writes its settings into the current folder, unless they have a place.
    return {"doom_config_path": str(Path(tempfile.gettempdir()) / f"vizdoom_{os.getpid()}.ini")}


def adapted(source: str, env: gymnasium.Env[Any, Any]) -> gymnasium.Env[Any, Any]:
    """An env as its id is known to need it."""
    return KeepsSight(env) if source.startswith("Vizdoom") else env
