"""Learning rates as pure functions of what has happened: nothing to step, nothing to save."""

import math
from collections.abc import Sequence

from edgewise.train.settings import Settings

START = 1 / 25
"""Where the cosine schedule's warm-up starts, as a fraction of the learning rate."""

END = 1e-4
"""Where the cosine schedule ends, as a fraction of the learning rate."""


def learning_rate(settings: Settings, step: int, steps: int, losses: Sequence[float]) -> float:
    """The learning rate of one optimiser step.

    Args:
        settings: Which schedule, and its numbers.
        step: Optimiser steps already taken, over all epochs.
        steps: Optimiser steps of a whole run.
        losses: Validation losses of the epochs that are finished.

    """
    if settings.schedule == "cosine":
        return settings.learning_rate * cosine(step, steps, settings.warmup)
    if settings.schedule == "plateau":
        cuts = plateau_cuts(losses, settings.plateau_patience)
        return settings.learning_rate * settings.plateau_factor**cuts
    return settings.learning_rate


def cosine(step: int, steps: int, warmup: float) -> float:
    """A linear climb from 1/25 to 1, then half a cosine down to 1e-4.

    With w = round(warmup · steps): for t < w, 1/25 + (1 − 1/25) t/w; from w on,
    e + (1 − e)(1 + cos π p)/2 with p = (t − w)/(steps − 1 − w) and e = 1e-4. The cosine is that
    of Loshchilov & Hutter, *SGDR* (ICLR 2017), eq. 5, without restarts.

    Example:
        >>> [round(cosine(t, 9, warmup=0.5), 3) for t in range(9)]
        [0.04, 0.28, 0.52, 0.76, 1.0, 0.854, 0.5, 0.147, 0.0]

    """
    w = round(warmup * steps)
    if step < w:
        return START + (1 - START) * step / w
    p = (step - w) / max(1, steps - 1 - w)
    return END + (1 - END) * (1 + math.cos(math.pi * p)) / 2


def plateau_cuts(losses: Sequence[float], patience: int) -> int:
    """How often the losses have gone more than ``patience`` epochs without a new lowest.

    The rule of `torch.optim.lr_scheduler.ReduceLROnPlateau` with ``threshold=0``: a cut starts
    the count of bad epochs again.

    Example:
        >>> plateau_cuts([3, 2, 2, 2, 2, 1], patience=1)
        1

    """
    lowest, bad, cuts = math.inf, 0, 0
    for loss in losses:
        bad = 0 if loss < lowest else bad + 1
        lowest = min(lowest, loss)
        if bad > patience:
            cuts, bad = cuts + 1, 0
    return cuts
