"""What each variant had reached when the quickest one was done."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from edgewise.studies.records.records import Trial


def equal_time(by_variant: Mapping[str, Sequence[Trial]]) -> dict[str, Any]:
    """The best validation score of each variant within the same seconds of training.

    The seconds are those that the quickest variant took for all its epochs, as a mean over seeds.
    A variant is given as many whole epochs as fit at its mean pace; one that does not finish the
    first has no score. Seconds depend on the machine and on what else it was doing.

    Returns:
        ``seconds``, and by variant in ``scores`` the mean over seeds or None.

    """
    if not by_variant:
        return {"seconds": None, "scores": {}}
    limit = min(_seconds(trials) for trials in by_variant.values())
    return {
        "seconds": limit,
        "scores": {name: _within(trials, limit) for name, trials in by_variant.items()},
    }


def _seconds(trials: Sequence[Trial]) -> float:
    return float(np.mean([sum(t.timing["seconds_per_epoch"]) for t in trials]))


def _within(trials: Sequence[Trial], limit: float) -> float | None:
    pace = _seconds(trials) / np.mean([len(t.history) for t in trials])
    # A hair more: the quickest variant's last epoch must not be lost to rounding.
    epochs = int(limit / max(pace, 1e-12) + 1e-6)
    if not epochs:
        return None
    return float(np.mean([max(trial.learning("validation")[:epochs]) for trial in trials]))
