"""Which OpenGL context a thread draws in.

habitat-sim makes its own current once, when a simulator begins, and takes for granted that it
stays. MuJoCo's renderer in the same thread makes another one current, and what habitat-sim then
draws goes wrong or ends the process. So its context is kept and made current before each use.
"""

import ctypes
from dataclasses import dataclass
from functools import cache
from typing import Any

_DRAW, _READ = 0x3059, 0x305A
"""EGL_DRAW and EGL_READ of the EGL 1.5 specification, section 3.7.4."""


@dataclass(frozen=True)
class Context:
    """What EGL's calls need to make a context current, as addresses; None stands for none."""

    display: int | None
    draw: int | None
    read: int | None
    context: int | None

    def make_current(self) -> bool:
        """Let this thread draw in it; whether it can, for it may be gone or another thread's."""
        egl = _egl()
        if egl is None or self.context in (None, egl.eglGetCurrentContext()):
            return True  # none is kept where habitat-sim draws by another library
        return bool(egl.eglMakeCurrent(self.display, self.draw, self.read, self.context))


def current() -> Context:
    """The context that this thread draws in."""
    egl = _egl()
    if egl is None:
        return Context(None, None, None, None)
    draw, read = (egl.eglGetCurrentSurface(which) for which in (_DRAW, _READ))
    return Context(egl.eglGetCurrentDisplay(), draw, read, egl.eglGetCurrentContext())


@cache
def _egl() -> Any:
    """The library that MuJoCo and habitat-sim share; None where they draw by another."""
    try:
        egl = ctypes.CDLL("libEGL.so.1")
    except OSError:
        return None
    pointer = ctypes.c_void_p
    for name, takes in (
        ("eglGetCurrentDisplay", []),
        ("eglGetCurrentSurface", [ctypes.c_int]),
        ("eglGetCurrentContext", []),
    ):
        function = getattr(egl, name)
        function.argtypes, function.restype = takes, pointer
    egl.eglMakeCurrent.argtypes = [pointer] * 4
    egl.eglMakeCurrent.restype = ctypes.c_uint
    return egl
