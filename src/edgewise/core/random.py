"""Randomness: one seed, one independent stream for each purpose, nothing global touched."""

import hashlib
import operator
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from edgewise.core.errors import InputError

if TYPE_CHECKING:
    import torch


def stream(seed: int, *purpose: str | int) -> int:
    """A 63-bit seed for one purpose, independent of every other purpose of the same seed.

    Example:
        >>> stream(0, "shuffle", 3) == stream(0, "shuffle", 3) != stream(0, "shuffle", 4)
        True

    Raises:
        InputError: If the seed is not a whole number.

    """
    # Of the text, not of numbers: SeedSequence takes (0, 1) for 2³² and ("a", 0) for ("a",).
    words = repr([_whole(seed), *(str(p) if isinstance(p, str) else _whole(p) for p in purpose)])
    return int.from_bytes(hashlib.blake2b(words.encode(), digest_size=8).digest()) >> 1


def generator(seed: int, *purpose: str | int) -> "torch.Generator":
    """A CPU generator of its own for ``purpose``.

    Example:
        >>> a, b = (torch.rand(2, generator=generator(0, "split")) for _ in range(2))
        >>> bool((a == b).all())
        True

    """
    import torch  # not at the top: `edgewise --help` does without

    return torch.Generator().manual_seed(stream(seed, *purpose))


@contextmanager
def seeded(seed: int, *purpose: str | int) -> Iterator[None]:
    """Inside, torch's default generators are seeded for ``purpose``; outside, nothing changed.

    Layers draw their initial values and dropout its masks from torch's default generator. This
    makes such code reproducible without leaving a trace in the caller's random state.

    Example:
        >>> before = torch.random.get_rng_state()
        >>> with seeded(0, "init"):
        ...     a = torch.rand(1)
        >>> bool((torch.random.get_rng_state() == before).all())
        True

    """
    import torch  # as above

    # All devices by name: left to itself fork_rng warns where there are several.
    with torch.random.fork_rng(devices=range(torch.cuda.device_count())):
        torch.manual_seed(stream(seed, *purpose))
        yield


def _whole(seed: int) -> int:
    """The number as Python's own int: NumPy's would print otherwise."""
    try:
        return int(operator.index(seed))
    except TypeError:
        raise InputError(f"a seed must be a whole number, got {seed!r}") from None
