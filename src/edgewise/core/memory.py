"""What the C library does with memory that was freed: kept for the next step, or given back."""

import ctypes
import os
from collections.abc import Callable

# Of glibc's malloc.h. The last block on the heap goes back to the system from this size on; so
# much more than asked for is taken when the heap grows; so many blocks may be mappings of their own.
M_TRIM_THRESHOLD, M_TOP_PAD, M_MMAP_MAX = -1, -2, -4
SETTINGS = {M_MMAP_MAX: 0, M_TRIM_THRESHOLD: 2**31 - 1, M_TOP_PAD: 2**26}


def keep_freed_memory() -> bool:
    """Lets this process keep what it frees, instead of asking the system for it in every step.

    glibc takes each large block as a mapping of its own and gives it back when it is freed, so that
    a training step on a CPU, which frees what it allocates, pays for every page of it anew: up to
    half of its time. The numbers stay the same. The command ``edgewise`` and the workers of
    a study call this; in a script or a notebook it is yours to call, once, before training.

    Whoever sets ``MALLOC_*`` or ``glibc.malloc`` tunables in the environment is left with them.

    Returns:
        Whether anything was set: False where the C library is not glibc, or the environment says
        how memory is handled.

    Example:
        >>> keep_freed_memory() in (True, False)
        True

    """
    chosen = any(name.startswith("MALLOC_") for name in os.environ)
    chosen = chosen or "glibc.malloc" in os.environ.get("GLIBC_TUNABLES", "")
    mallopt = _of_c_library("mallopt")
    if chosen or mallopt is None:
        return False
    return all([mallopt(option, value) == 1 for option, value in SETTINGS.items()])


def give_back_memory() -> bool:
    """Gives what was freed back to the system; whether there was any (False without glibc)."""
    trim = _of_c_library("malloc_trim")
    return trim is not None and trim(0) == 1


def _of_c_library(name: str) -> Callable[..., int] | None:
    """A function of the C library this process has, if it has it; Windows has another kind."""
    return None if os.name == "nt" else getattr(ctypes.CDLL(None), name, None)
