"""Randomness: one seed, one independent stream for each purpose, nothing global touched."""

import zlib
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch


def stream(seed: int, *purpose: str | int) -> int:
    """A 63-bit seed for one purpose, independent of every other purpose of the same seed.

    Example:
        >>> stream(0, "shuffle", 3) == stream(0, "shuffle", 3) != stream(0, "shuffle", 4)
        True

    """
    words = [p if isinstance(p, int) else zlib.crc32(p.encode()) for p in purpose]
    state = np.random.SeedSequence([seed, *words]).generate_state(1, np.uint64)[0]
    return int(state >> np.uint64(1))


def generator(seed: int, *purpose: str | int) -> torch.Generator:
    """A CPU generator of its own for ``purpose``.

    Example:
        >>> a, b = (torch.rand(2, generator=generator(0, "split")) for _ in range(2))
        >>> bool((a == b).all())
        True

    """
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
    with torch.random.fork_rng():
        torch.manual_seed(stream(seed, *purpose))
        yield
