"""What is said of one variant alone: accuracy, learning, cost, from its trials."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from edgewise.studies.predictions import Predictions
from edgewise.studies.records import Trial
from edgewise.studies.statistics import expected_calibration_error, mean_interval

CONVERGED_WITHIN = 0.005
"""A run has converged at the first epoch that is this close to its best validation accuracy."""

HISTORY = ("train_accuracy", "train_loss", "validation_accuracy", "validation_loss")


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


def convergence_epoch(history: Sequence[Mapping[str, Any]]) -> int:
    """The first epoch whose validation accuracy is within half a point of the run's best.

    Example:
        >>> rows = [{"epoch": e + 1, "validation_accuracy": a} for e, a in enumerate([0.5, 0.9, 0.904])]
        >>> convergence_epoch(rows)
        2

    """  # noqa: E501
    best = max(row["validation_accuracy"] for row in history)
    reached = (r for r in history if r["validation_accuracy"] >= best - CONVERGED_WITHIN)
    return next(reached)["epoch"]


def stability(history: Sequence[Mapping[str, Any]]) -> float | None:
    """Standard deviation of the validation accuracy over the last third of the epochs, at least two.

    Example:
        >>> stability([{"validation_accuracy": a} for a in (0.1, 0.8, 0.8)])
        0.0

    """  # noqa: E501
    last = max(2, -(-len(history) // 3))
    if len(history) < 2:
        return None
    return float(np.std([row["validation_accuracy"] for row in history[-last:]], ddof=1))


def describe(
    trials: Sequence[Trial], predictions: Predictions, name: str, level: float
) -> dict[str, Any]:
    """All that is said of one variant alone."""
    first = trials[0].record
    return {
        "encoder": first["encoder"],
        "options": first["options"],
        "parameters": first["parameters"],
        "encoder_parameters": first["encoder_parameters"],
        "seeds": [trial.seed for trial in trials],
        **_accuracies(trials, level),
        **_learning(trials, level),
        **_cost(trials),
        "expected_calibration_error": over_seeds(
            [
                expected_calibration_error(right, stated)
                for right, stated in zip(
                    predictions.correct(name), predictions.probability[name], strict=True
                )
            ],
            level,
            bounds=(0, 1),
        ),
        "curves": _curves(trials, level),
    }


def _accuracies(trials: Sequence[Trial], level: float) -> dict[str, Any]:
    def each(part: str, what: str) -> list[float | None]:
        return [trial.record[part].get(what) for trial in trials]

    entries = {
        f"{part}_accuracy": over_seeds(each(part, "accuracy"), level, bounds=(0, 1))
        for part in ("test", "final", "validation", "train")
    }
    return entries | {"test_loss": over_seeds(each("test", "loss"), level)}


def _learning(trials: Sequence[Trial], level: float) -> dict[str, Any]:
    """How the runs went: over-fitting, convergence, stability."""

    def each(of: Callable[[Trial], float | None]) -> dict[str, Any]:
        return over_seeds([of(trial) for trial in trials], level)

    def gap(row: Mapping[str, Any]) -> float:
        return row["train_accuracy"] - row["validation_accuracy"]

    return {
        "overfitting_gap": each(
            lambda t: t.record["train"]["accuracy"] - t.record["validation"]["accuracy"]
        ),
        "final_overfitting_gap": each(lambda t: gap(t.history[-1])),
        "convergence_epoch": each(lambda t: convergence_epoch(t.history)),
        "stability": each(lambda t: stability(t.history)),
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
    for name in HISTORY:
        rows = [[_number(row[name]) for row in trial.history] for trial in trials]
        curves[name] = _band(held(rows, length), level)
    seconds = [np.cumsum(trial.timing["seconds_per_epoch"] or [0.0]) for trial in trials]
    curves["seconds"] = held(seconds, length).mean(0).tolist()
    return curves


def longest(trials: Sequence[Trial]) -> Trial:
    """The trial that ran for the most epochs."""
    return max(trials, key=lambda trial: len(trial.history))


def _number(value: float | None) -> float:
    return np.nan if value is None else float(value)


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
