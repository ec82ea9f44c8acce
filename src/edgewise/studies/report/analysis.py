"""What a study shows: a pure function of its records, recomputable without training."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from edgewise.studies.kinds.metric import CLASSES, METRICS
from edgewise.studies.records.predictions import Predictions
from edgewise.studies.records.records import StudyRecords, Trial
from edgewise.studies.report.equal_time import equal_time
from edgewise.studies.report.mistakes import common_mistakes, telling_mistakes
from edgewise.studies.report.variant import describe, held, longest, over_seeds
from edgewise.studies.statistics.comparison import MAX_LISTED, compare_pairs
from edgewise.studies.statistics.crossed import crossed_mean
from edgewise.studies.statistics.verdicts import MIN_SEEDS, headline

DEAD_EXPERT = 0.01
"""An expert that gets less than this share of the router's choices is called dead."""

LENGTH_BINS = 5


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
        ``ranking``, ``variants``, ``pairs``, ``equal_time``, ``by_length``, ``confusion``,
        ``mistakes``, ``experts``, ``failures``, ``unfinished``.

    Raises:
        InputError: If the trials can't be compared, for instance because their items differ.

    """
    found = {
        name: describe(trials, records.predictions, name, level)
        for name, trials in records.by_variant.items()
    }
    ranking = sorted(found, key=lambda name: (-found[name]["test_score"]["mean"], name))
    pairs = _pairs(records, ranking, level)
    lead = [pair for pair in pairs if pair["a"] == ranking[0]]
    few = all(pair["seeds"] < MIN_SEEDS for pair in pairs)
    dataset = str(records.config.get("dataset", "the data set"))
    scores = {name: found[name]["test_score"] | {"level": level} for name in ranking}
    study = _study(records, level)
    return {
        "study": study | {"enough_seeds": not few},
        "headline": headline(ranking, scores, lead, dataset, study["metric"]),
        "notes": _notes(records, len(ranking)),
        "ranking": ranking,
        "variants": found,
        "pairs": pairs,
        "equal_time": equal_time(records.by_variant),
        **_of_predictions(records, level),
        "experts": _experts(records, level),
        "failures": [
            {"variant": f.variant, "seed": f.seed, "message": f.message, "traceback": f.traceback}
            for f in records.failures
        ],
        "unfinished": [f"{path.parent.name}/{path.name}" for path in records.unfinished],
    }


def _study(records: StudyRecords, level: float) -> dict[str, Any]:
    machines = {(t.timing["device"], t.timing["threads"]) for t in records.trials}
    task = records.trials[0].record["task"] if records.trials else CLASSES
    return {
        "kind": records.config.get("study", "encoders"),
        "task": task,
        "metric": METRICS[task].name,
        "loss": METRICS[task].loss,
        "length": "tokens" if records.config.get("study") == "text" else "events",
        "budget": records.config.get("parameters", 0),
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
    scores = {name: records.predictions.scores(name) for name in ranking}
    return compare_pairs(scores, records.predictions.seeds, ranking, level)


_NO_LENGTHS: dict[str, Any] = {"bins": [], "variants": {}}


def _of_predictions(records: StudyRecords, level: float) -> dict[str, Any]:
    """Score by length, confusion and mistakes; empty when no trial finished."""
    if not records.trials or records.predictions.task != CLASSES:
        return {
            "by_length": _NO_LENGTHS,
            "confusion": {},
            "mistakes": {"telling": {}, "common": {"count": 0, "items": []}},
        }
    predictions = records.predictions
    classes = len(records.trials[0].record["classes"])
    return {
        "by_length": _by_length(predictions, level) if predictions.length.any() else _NO_LENGTHS,
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
    share = np.stack(
        [held([list(column) for column in zip(*rows, strict=True)], length) for rows in shares]
    )
    epochs = [row["epoch"] for row in longest(trials).history]
    return {"epoch": epochs, "selected": share.mean(0).tolist()}
