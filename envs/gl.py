"""Choice of the off-screen OpenGL backend, before mujoco is imported: one that was seen to work.

What the environment says is no proof: a `DISPLAY` may be that of a session that has ended, and a
library may be there without a driver. Each backend is tried as MuJoCo uses it, in a process of its
own, since a broken driver may take its process along and an open display does not survive a fork.
"""

import os
import subprocess
import sys
from functools import cache

from worldsim.errors import UsageError, WorldsimError

BACKENDS = ("egl", "osmesa", "glfw", "glx", "cgl", "wgl")
_ON = ("enable", "enabled", "on", "true", "1")
_OFF = ("disable", "disabled", "off", "false", "0")
_TRIED = "WORLDSIM_GL_TRIED"
"""Holds the value of MUJOCO_GL that was found to work, so that child processes need not try it."""
_PATIENCE_S = 30.0
_TRIAL = """
import mujoco
context = mujoco.GLContext(8, 8)
context.make_current()
model = mujoco.MjModel.from_xml_string("<mujoco/>")
mujoco.MjrContext(model, mujoco.mjtFontScale.mjFONTSCALE_100.value)
"""
_REMEDY = (
    "on Debian and Ubuntu: apt-get install libegl1 libgl1-mesa-dri libegl-mesa0 libgles2; "
    "`worldsim doctor` tells whether that was enough"
)


def choose_backend() -> str:
    """Set `MUJOCO_GL` to a backend that works here; a value already set is kept, if it works.

    EGL is preferred, with a display or without. Then come the display, if there is one, and OSMesa.
    Where none works MuJoCo is left without OpenGL, which simulates and does not draw. Mesa's
    software rasteriser is kept on one thread: its own threads cost more than they give on small
    images, and worker processes already use every core.

    Returns:
        The backend's name ("egl", "osmesa", "glfw", ...), or "disable" where none works.

    Raises:
        UsageError: the value already set is none that MuJoCo knows, or does not work.
    """
    os.environ.setdefault("LP_NUM_THREADS", "0")
    given = os.environ.get("MUJOCO_GL")
    if given:
        _require_working(given)
        return given
    if not sys.platform.startswith("linux"):
        return "glfw"
    chosen = next((name for name in _candidates() if why_not(name) is None), "disable")
    os.environ["MUJOCO_GL"] = os.environ[_TRIED] = chosen
    return chosen


def drawing_backend() -> str:
    """The chosen backend.

    Raises:
        WorldsimError: there is none that draws.
    """
    chosen = choose_backend()
    if chosen.lower().strip() not in _OFF:
        return chosen
    if os.environ.get(_TRIED) != chosen:
        raise WorldsimError(f"nothing can be drawn, since MUJOCO_GL is {chosen!r}")
    tried = "; ".join(f"{name}: {why_not(name)}" for name in _candidates())
    raise WorldsimError(f"nothing can be drawn, no OpenGL backend works here ({tried}). {_REMEDY}")


def _candidates() -> tuple[str, ...]:
    display = os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY")
    return ("egl", "glfw", "osmesa") if display else ("egl", "osmesa")


def _require_working(given: str) -> None:
    name = given.lower().strip()
    if name not in (*BACKENDS, *_ON, *_OFF):
        raise UsageError(
            f"the environment variable MUJOCO_GL is {given!r}; MuJoCo knows "
            f"{', '.join(BACKENDS)}. Without it worldsim chooses"
        )
    if name in _OFF or os.environ.get(_TRIED) == given:
        return
    if (reason := why_not(name)) is not None:
        raise UsageError(
            f"the environment variable MUJOCO_GL is {given!r}, which does not work here "
            f"({reason}). Without it worldsim chooses a backend that does; {_REMEDY}"
        )
    os.environ[_TRIED] = given


@cache
def why_not(backend: str) -> str | None:
    """What goes wrong when MuJoCo draws with this backend, or None if nothing does."""
    if not sys.executable:
        return None  # embedded: there is no interpreter to try it in
    try:
        done = subprocess.run(
            [sys.executable, "-P", "-c", _TRIAL],
            env={**os.environ, "MUJOCO_GL": backend},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=_PATIENCE_S,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        return f"it cannot be tried: {error}"
    if done.returncode == 0:
        return None
    said = done.stderr.strip().splitlines() or [f"exit code {done.returncode}"]
    return said[-1][:200]
