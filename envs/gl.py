"""Choice of the off-screen OpenGL backend, before mujoco is imported."""

import ctypes
import os
import sys

from worldsim.errors import UsageError

BACKENDS = ("egl", "osmesa", "glfw", "glx", "cgl", "wgl")
_SWITCHES = ("enable", "enabled", "on", "true", "1", "disable", "disabled", "off", "false", "0")


def choose_backend() -> str:
    """Set `MUJOCO_GL` for machines without a display; a value already set is respected.

    EGL is preferred, OSMesa is the fallback where libEGL is absent. Mesa's software rasteriser is
    kept on one thread: its own threads cost more than they give on small images, and the vector
    env already uses every core.

    Returns:
        The backend's name ("egl", "osmesa", "glfw", ...).

    Raises:
        UsageError: the value already set is none that MuJoCo knows.
    """
    os.environ.setdefault("LP_NUM_THREADS", "0")
    chosen = os.environ.get("MUJOCO_GL")
    if chosen and chosen.lower().strip() not in (*BACKENDS, *_SWITCHES):
        raise UsageError(
            f"the environment variable MUJOCO_GL is {chosen!r}; MuJoCo knows "
            f"{', '.join(BACKENDS)}. Without it worldsim chooses"
        )
    if chosen:
        return chosen
    if not sys.platform.startswith("linux"):
        return "glfw"
    if os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY"):
        return "glfw"
    os.environ["MUJOCO_GL"] = "egl" if _loads("libEGL.so.1") else "osmesa"
    return os.environ["MUJOCO_GL"]


def _loads(library: str) -> bool:
    try:
        ctypes.CDLL(library)
    except OSError:
        return False
    return True
