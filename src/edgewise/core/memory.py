"""What the C library does with memory that was freed: kept for the next step, or given back."""

import ctypes
import os
from collections.abc import Callable

# The options of glibc's mallopt, by their numbers in malloc.h, and what they are set to.
_MMAP_MAX, _TRIM_THRESHOLD, _TOP_PAD = -4, -1, -2
_SETTINGS = {
    _MMAP_MAX: 0,  # no block is a mapping of its own
    _TRIM_THRESHOLD: 2**31 - 1,  # bytes free at the heap's end before they are given back
    _TOP_PAD: 2**26,  # bytes taken beyond what is asked for when the heap grows
}


def keep_freed_memory() -> bool:
    """Lets this process keep what it frees, instead of asking the system for it in every step.

    glibc takes each large block as a mapping of its own and gives it back when it is freed, so that
    a training step on a CPU, which frees what it allocates, pays for every page of it anew: up to
    half of its time. The numbers stay the same. The commands that train and the workers of a study
    call this; in a script or a notebook it is yours to call, once, before training.

    Whoever sets ``MALLOC_*`` or ``glibc.malloc`` tunables in the environment is left with them.

    Returns:
        Whether anything was set: False where the C library is not glibc, or the environment says
        how memory is handled.

    Example:
        >>> kept = keep_freed_memory()  # and then train

    """
    chosen = any(name.startswith("MALLOC_") for name in os.environ)
    chosen = chosen or "glibc.malloc" in os.environ.get("GLIBC_TUNABLES", "")
    mallopt = _of_c_library("mallopt")
    if chosen or mallopt is None:
        return False
    done = [mallopt(option, value) == 1 for option, value in _SETTINGS.items()]
    return all(done)


def give_back_memory() -> bool:
    """Gives what was freed back to the system; whether there was any (False without glibc)."""
    trim = _of_c_library("malloc_trim")
    return trim is not None and trim(0) == 1


def _of_c_library(name: str) -> Callable[..., int] | None:
    """A function of the C library this process has, if it has it; Windows has another kind."""
    return None if os.name == "nt" else getattr(ctypes.CDLL(None), name, None)
