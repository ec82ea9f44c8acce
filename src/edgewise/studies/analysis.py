"""What a study shows: a pure function of its records, recomputable without training."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from edgewise.studies.comparison import MAX_LISTED, compare_pairs
from edgewise.studies.mistakes import common_mistakes, telling_mistakes
from edgewise.studies.predictions import Predictions
from edgewise.studies.records import StudyRecords, Trial
from edgewise.studies.statistics import (
    crossed_mean,
    expected_calibration_error,
    mean_interval,
)
from edgewise.studies.verdicts import MIN_SEEDS, headline

CONVERGED_WITHIN = 0.005
"""A run has converged at the first epoch that is this close to its best validation accuracy."""

DEAD_EXPERT = 0.01
"""An expert that gets less than this share of the router's choices is called dead."""

LENGTH_BINS = 5

HISTORY = ("train_accuracy", "train_loss", "validation_accuracy", "validation_loss")


def analyse(records: StudyRecords, level: float = 0.95) -> dict[str, Any]:
    """Computes every number of the report.

    Accuracies are fractions; whatever ends in ``_points`` is in percent of the test items. An entry
    with ``mean``, ``low``, ``high`` and ``values`` is over seeds, with a Student t interval that is
    None for a single seed.

    Args:
        records: What `read_study` returned.
        level: Coverage of all intervals.

    Returns:
        A dictionary that `edgewise.core.write_json` can write: ``study``, ``headline``, ``notes``,
        ``ranking``, ``variants``, ``pairs``, ``by_length``, ``confusion``, ``mistakes``,
        ``experts``, ``failures``, ``unfinished``.

    Raises:
        InputError: If the trials can't be compared, for instance because their items differ.

    """
    found = {
        name: _variant(trials, records.predictions, name, level)
        for name, trials in records.by_variant.items()
    }
    ranking = sorted(found, key=lambda name: (-found[name]["test_accuracy"]["mean"], name))
    pairs = _pairs(records, ranking, level)
    lead = [pair for pair in pairs if pair["a"] == ranking[0]]
    few = all(pair["seeds"] < MIN_SEEDS for pair in pairs)
    dataset = str(records.config.get("dataset", "the data set"))
    accuracy = {name: found[name]["test_accuracy"] | {"level": level} for name in ranking}
    return {
        "study": _study(records, level) | {"enough_seeds": not few},
        "headline": headline(ranking, accuracy, lead, dataset),
        "notes": _notes(records, len(ranking)),
        "ranking": ranking,
        "variants": found,
        "pairs": pairs,
        **_of_predictions(records, level),
        "experts": _experts(records, level),
        "failures": [
            {"variant": f.variant, "seed": f.seed, "message": f.message, "traceback": f.traceback}
            for f in records.failures
        ],
        "unfinished": [f"{path.parent.name}/{path.name}" for path in records.unfinished],
    }


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


def _study(records: StudyRecords, level: float) -> dict[str, Any]:
    machines = {(t.timing["device"], t.timing["threads"]) for t in records.trials}
    return {
        "dataset": records.config.get("dataset"),
        "variants": list(records.by_variant),
        "seeds": list(records.seeds),
        "trials": len(records.trials),
        "items": int(records.predictions.item.size) if records.trials else 0,
        "classes": list(records.trials[0].record["classes"]) if records.trials else [],
        "level": level,
        "min_seeds": MIN_SEEDS,
        "machines": [{"device": d, "threads": n} for d, n in sorted(machines, key=str)],
    }


def _notes(records: StudyRecords, variants: int) -> list[str]:
    """What a reader has to know before the numbers."""
    notes = []
    if records.failures:
        names = sorted({failure.variant for failure in records.failures})
        notes.append(
            f"{_trials(len(records.failures))} failed ({', '.join(names)}); "
            f"the others are compared without."
        )
    if records.unfinished:
        notes.append(
            f"{_trials(len(records.unfinished))} left unfinished by a stopped run, not counted "
            f"here; run the study again to finish."
        )
    short = [n for n, t in records.by_variant.items() if len(t) < len(records.seeds)]
    if short:
        notes.append(
            f"Not every seed is there for {', '.join(short)}: two variants are compared on the "
            f"seeds that both have, means and intervals are over each variant's own seeds."
        )
    if variants > MAX_LISTED:
        notes.append(
            f"Of the {variants * (variants - 1) // 2} pairs only those with the leader are "
            f"listed; the adjustment counts them all."
        )
    return notes


def _trials(count: int) -> str:
    return "1 trial" if count == 1 else f"{count} trials"


def _pairs(records: StudyRecords, ranking: list[str], level: float) -> list[dict[str, Any]]:
    if len(ranking) < 2:
        return []
    right = {name: records.predictions.correct(name) for name in ranking}
    return compare_pairs(right, records.predictions.seeds, ranking, level)


def _variant(
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
    curves: dict[str, Any] = {"epoch": [row["epoch"] for row in _longest(trials).history]}
    for name in HISTORY:
        rows = [[_number(row[name]) for row in trial.history] for trial in trials]
        curves[name] = _band(_held(rows, length), level)
    seconds = [np.cumsum(trial.timing["seconds_per_epoch"] or [0.0]) for trial in trials]
    curves["seconds"] = _held(seconds, length).mean(0).tolist()
    return curves


def _longest(trials: Sequence[Trial]) -> Trial:
    return max(trials, key=lambda trial: len(trial.history))


def _number(value: float | None) -> float:
    return np.nan if value is None else float(value)


def _held(rows: Sequence[Sequence[float]], length: int) -> np.ndarray:
    """Rows of unequal length as an array, each continued with its last value."""
    held = np.empty((len(rows), length))
    for place, row in enumerate(rows):
        part = np.asarray(row, dtype=float)[:length]
        held[place, : part.size] = part
        held[place, part.size :] = part[-1]
    return held


def _band(values: np.ndarray, level: float) -> dict[str, list[float | None]]:
    """Mean and interval of each column of (S, E)."""
    entries = [over_seeds(column.tolist(), level) for column in values.T]
    return {end: [entry[end] for entry in entries] for end in ("mean", "low", "high")}


def _of_predictions(records: StudyRecords, level: float) -> dict[str, Any]:
    """Accuracy by length, confusion and mistakes; empty when no trial finished."""
    if not records.trials:
        return {
            "by_length": {"bins": [], "variants": {}},
            "confusion": {},
            "mistakes": {"telling": {}, "common": {"count": 0, "items": []}},
        }
    predictions = records.predictions
    classes = len(records.trials[0].record["classes"])
    return {
        "by_length": _by_length(predictions, level),
        "confusion": {name: _confusion(predictions, name, classes) for name in predictions.seeds},
        "mistakes": {
            "telling": telling_mistakes(predictions),
            "common": common_mistakes(predictions),
        },
    }


def _by_length(predictions: Predictions, level: float) -> dict[str, Any]:
    """Accuracy in up to five bins of the number of events, with about as many items in each."""
    length = predictions.length
    inner = np.quantile(length, np.arange(1, LENGTH_BINS) / LENGTH_BINS, method="lower")
    which = np.searchsorted(np.unique(inner), length, side="left")
    members = [np.flatnonzero(which == bin_) for bin_ in np.unique(which)]
    bins = [
        {"shortest": int(length[m].min()), "longest": int(length[m].max()), "items": int(m.size)}
        for m in members
    ]
    variants = {
        name: [_crossed(predictions.correct(name)[:, m], level) for m in members]
        for name in predictions.seeds
    }
    return {"bins": bins, "variants": variants}


def _crossed(right: np.ndarray, level: float) -> dict[str, float | None]:
    """Mean with an interval over seeds and items; without one where there is only one of either."""
    if min(right.shape) < 2:
        return {"mean": float(right.mean()), "low": None, "high": None}
    found = crossed_mean(right, level)
    return {"mean": found.mean, "low": max(0.0, found.low), "high": min(1.0, found.high)}


def _confusion(predictions: Predictions, name: str, classes: int) -> list[list[int]]:
    """Counts over all seeds: rows are true classes, columns are answers."""
    flat = predictions.label * classes + predictions.predicted[name]
    return np.bincount(flat.ravel(), minlength=classes**2).reshape(classes, classes).tolist()


def _experts(records: StudyRecords, level: float) -> dict[str, Any]:
    """How much each expert of a mixture is used, and which ones are dead."""
    found = {}
    for name, trials in records.by_variant.items():
        usage = [t.record["expert_usage"] for t in trials if t.record["expert_usage"]]
        if not usage:
            continue
        experts = list(usage[0]["experts"])
        columns = {
            what: [
                over_seeds(list(c), level, (0, 1))
                for c in zip(*(u[what] for u in usage), strict=True)
            ]
            for what in ("selected", "weight")
        }
        found[name] = {
            "experts": experts,
            **columns,
            "entropy": over_seeds([u["entropy"] for u in usage], level, (0, 1)),
            "dead": [
                expert
                for expert, entry in zip(experts, columns["selected"], strict=True)
                if entry["mean"] is not None and entry["mean"] < DEAD_EXPERT
            ],
            "over_epochs": _usage_over_epochs(trials),
        }
    return found


def _usage_over_epochs(trials: Sequence[Trial]) -> dict[str, Any] | None:
    """Mean share of the router's choices for each expert by epoch, where the history has it."""
    if not all(row.get("expert_usage") for trial in trials for row in trial.history):
        return None
    length = max(len(trial.history) for trial in trials)
    shares = [[row["expert_usage"]["selected"] for row in trial.history] for trial in trials]
    held = np.stack(
        [_held([list(column) for column in zip(*rows, strict=True)], length) for rows in shares]
    )
    epochs = [row["epoch"] for row in _longest(trials).history]
    return {"epoch": epochs, "selected": held.mean(0).tolist()}
