"""How the C library hands out memory, for programs that remake the same large arrays."""

import ctypes
import os

# The numbers of <malloc.h>.
M_TRIM_THRESHOLD, M_TOP_PAD, M_MMAP_THRESHOLD = -1, -2, -3
MIB = 2**20


def keep_freed_memory() -> bool:
    """Let the process use freed memory again, where by default it goes back to the system.

    A network's step frees and asks for the same megabytes many times, and every time the system
    maps and clears them. Memory in use does not grow, memory held may. Left alone where a variable
    `MALLOC_*` or `GLIBC_TUNABLES` is set, and where the C library is not glibc.

    Returns:
        Whether it was changed.
    """
    if any(name.startswith(("MALLOC_", "GLIBC_TUNABLES")) for name in os.environ):
        return False
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (AttributeError, OSError):
        return False
    wanted = ((M_MMAP_THRESHOLD, 256), (M_TRIM_THRESHOLD, 1024), (M_TOP_PAD, 64))
    return all(mallopt(option, size * MIB) == 1 for option, size in wanted)
