"""What is said of one variant alone: its score, learning, cost, from its trials."""

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from edgewise.studies.kinds.metric import CLASSES
from edgewise.studies.records.predictions import Predictions
from edgewise.studies.records.records import Trial
from edgewise.studies.statistics.measures import expected_calibration_error, mean_interval

CONVERGED_WITHIN = 0.005
"""A run has converged at the first epoch that is this close to its best on validation."""


def over_seeds(
    values: Sequence[float | None], level: float, bounds: tuple[float, float] | None = None
) -> dict[str, Any]:
    """Mean and interval of one number a seed; None where it is not known.

    Example:
        >>> over_seeds([0.5], 0.95)
        {'mean': 0.5, 'low': None, 'high': None, 'values': [0.5]}
        >>> over_seeds([0.98, 1.0], 0.95, bounds=(0, 1))["high"]
        1.0

    """
    known = [value for value in values if value is not None and np.isfinite(value)]
    entry = {"mean": None, "low": None, "high": None, "values": list(values)}
    if len(known) == len(values) == 1:
        entry["mean"] = float(known[0])
    elif known and len(known) == len(values):
        mean, low, high = mean_interval(np.array(known), level)
        if bounds:
            low, high = max(low, float(bounds[0])), min(high, float(bounds[1]))
        entry |= {"mean": mean, "low": low, "high": high}
    return entry


def convergence_epoch(scores: Sequence[float]) -> int:
    """The first epoch, from 1, whose validation score is within half a point of the run's best.

    Example:
        >>> convergence_epoch([0.5, 0.9, 0.904])
        2

    """
    best = max(scores)
    return next(e for e, score in enumerate(scores, 1) if score >= best - CONVERGED_WITHIN)


def stability(scores: Sequence[float]) -> float | None:
    """Standard deviation of the validation score over the last third of the epochs, at least two.

    Example:
        >>> stability([0.1, 0.8, 0.8])
        0.0

    """
    last = max(2, -(-len(scores) // 3))
    if len(scores) < 2:
        return None
    return float(np.std(scores[-last:], ddof=1))


def describe(
    trials: Sequence[Trial], predictions: Predictions, name: str, level: float
) -> dict[str, Any]:
    """All that is said of one variant alone."""
    first = trials[0].record
    return {
        "subject": first["subject"],
        "options": first["options"],
        "parameters": first["parameters"],
        "encoder_parameters": first["encoder_parameters"],
        "seeds": [trial.seed for trial in trials],
        **_scores(trials, level),
        **_learning(trials, level),
        **_cost(trials),
        "expected_calibration_error": _calibration(predictions, name, level),
        "curves": _curves(trials, level),
    }


def _calibration(predictions: Predictions, name: str, level: float) -> dict[str, Any] | None:
    """How far stated probabilities are from the truth; numbers come without any."""
    if predictions.task != CLASSES:
        return None
    pairs = zip(predictions.correct(name), predictions.probability[name], strict=True)
    errors = [expected_calibration_error(right, stated) for right, stated in pairs]
    return over_seeds(errors, level, bounds=(0, 1))


def _scores(trials: Sequence[Trial], level: float) -> dict[str, Any]:
    # Explained variance has no lowest value.
    bounds = (0.0 if trials[0].record["task"] == CLASSES else -math.inf, 1.0)
    entries = {
        f"{part}_score": over_seeds([t.score(part) for t in trials], level, bounds)
        for part in ("test", "final", "validation", "train")
    }
    key = trials[0].metric.key
    extra = {
        name: over_seeds([t.record["extra"][name][key] for t in trials], level, bounds)
        for name in trials[0].record["extra"]
    }
    losses = over_seeds([t.record["test"]["loss"] for t in trials], level)
    return entries | {"extra": extra, "test_loss": losses}


def _learning(trials: Sequence[Trial], level: float) -> dict[str, Any]:
    """How the runs went: over-fitting, convergence, stability."""

    def each(of: Callable[[Trial], float | None]) -> dict[str, Any]:
        return over_seeds([of(trial) for trial in trials], level)

    return {
        "overfitting_gap": each(lambda t: t.score("train") - t.score("validation")),
        "final_overfitting_gap": each(
            lambda t: t.learning("train")[-1] - t.learning("validation")[-1]
        ),
        "convergence_epoch": each(lambda t: convergence_epoch(t.learning("validation"))),
        "stability": each(lambda t: stability(t.learning("validation"))),
        "epochs": each(lambda t: t.record["epochs"]),
        "best_epoch": each(lambda t: t.record["best_epoch"]),
        "stopped_early": sum(bool(trial.record["stopped_early"]) for trial in trials),
    }


def _cost(trials: Sequence[Trial]) -> dict[str, Any]:
    seconds = [value for trial in trials for value in trial.timing["seconds_per_epoch"]]
    memory = [trial.timing["peak_memory_bytes"] for trial in trials]
    known = [value for value in memory if value is not None]
    return {
        "seconds_per_epoch": float(np.median(seconds)) if seconds else None,
        "seconds": float(sum(trial.timing["seconds"] for trial in trials)),
        "peak_memory_mb": max(known) / 1e6 if known else None,
    }


def _curves(trials: Sequence[Trial], level: float) -> dict[str, Any]:
    """Mean and interval at each epoch; a run that stopped early keeps its last value."""
    length = max(len(trial.history) for trial in trials)
    curves: dict[str, Any] = {"epoch": [row["epoch"] for row in longest(trials).history]}
    for part in ("train", "validation"):
        scores = [trial.learning(part) for trial in trials]
        losses = [[row[f"{part}_loss"] for row in trial.history] for trial in trials]
        curves[f"{part}_score"] = _band(held(scores, length), level)
        curves[f"{part}_loss"] = _band(held(losses, length), level)
    seconds = [np.cumsum(trial.timing["seconds_per_epoch"] or [0.0]) for trial in trials]
    curves["seconds"] = held(seconds, length).mean(0).tolist()
    return curves


def longest(trials: Sequence[Trial]) -> Trial:
    """The trial that ran for the most epochs."""
    return max(trials, key=lambda trial: len(trial.history))


def held(rows: Sequence[Sequence[float]], length: int) -> np.ndarray:
    """Rows of unequal length as an array, each continued with its last value."""
    filled = np.empty((len(rows), length))
    for place, row in enumerate(rows):
        part = np.asarray(row, dtype=float)[:length]
        filled[place, : part.size] = part
        filled[place, part.size :] = part[-1]
    return filled


def _band(values: np.ndarray, level: float) -> dict[str, list[float | None]]:
    """Mean and interval of each column of (S, E)."""
    entries = [over_seeds(column.tolist(), level) for column in values.T]
    return {end: [entry[end] for entry in entries] for end in ("mean", "low", "high")}
