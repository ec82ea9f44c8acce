"""The answers of all trials to the same test items, side by side."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from edgewise.core import InputError
from edgewise.studies.kinds.metric import CLASSES, NUMBERS
from edgewise.studies.records.seal import broken

if TYPE_CHECKING:
    from edgewise.studies.records.records import Trial


@dataclass(frozen=True)
class Predictions:
    """Answers to I test items; the arrays of a variant have a row for each of its S seeds.

    Attributes:
        task: ``"classes"`` or ``"numbers"``.
        item: Which item of the data set, (I,).
        label: The true class, or number, (I,).
        length: Number of events or tokens, (I,); 0 where all items are of one size.
        seeds: Of each variant, in the order of its rows.
        predicted: The answered class, or number, (S, I).
        probability: Of the answered class, (S, I); empty for numbers.
        true_probability: Of the true class, (S, I); empty for numbers.

    """

    task: str
    item: np.ndarray
    label: np.ndarray
    length: np.ndarray
    seeds: Mapping[str, tuple[int, ...]]
    predicted: Mapping[str, np.ndarray]
    probability: Mapping[str, np.ndarray]
    true_probability: Mapping[str, np.ndarray]

    def correct(self, variant: str) -> np.ndarray:
        """Whether the answer is right, (S, I) bool; of classes only."""
        return self.predicted[variant] == self.label

    def scores(self, variant: str) -> np.ndarray:
        """What each answer is worth, (S, I); a row's mean is the trial's metric.

        Of a class 1 or 0, of a number 1 - (y - ŷ)² / var y.
        """
        if self.task == CLASSES:
            return self.correct(variant)
        missed = (self.predicted[variant] - self.label) ** 2
        return 1 - missed / self.label.var()


_KINDS = {
    CLASSES: {
        "predicted": np.int32,
        "probability": np.float32,
        "true_probability": np.float32,
    },
    NUMBERS: {"predicted": np.float64},
}


def load_predictions(by_variant: Mapping[str, tuple["Trial", ...]]) -> Predictions:
    """Reads the answers of all trials, in 12 bytes an answer, or 8.

    Args:
        by_variant: The finished trials of each variant, at least one in all.

    Raises:
        InputError: If a trial was tested on other items, or its record and answers disagree.

    """
    first = next(iter(by_variant.values()))[0]
    shared, task = _sorted(first.predictions()), first.record["task"]
    columns: dict[str, dict[str, np.ndarray]] = {}
    for variant, trials in by_variant.items():
        shape = (len(trials), shared["item"].size)
        columns[variant] = {name: np.empty(shape, kind) for name, kind in _KINDS[task].items()}
        for row, trial in enumerate(trials):
            found = _sorted(trial.predictions())
            _check(found, shared, trial, first)
            for name, column in columns[variant].items():
                column[row] = found[name]
    return Predictions(
        task,
        *(shared[name] for name in ("item", "label", "length")),
        {variant: tuple(t.seed for t in trials) for variant, trials in by_variant.items()},
        *(
            {variant: column[name] for variant, column in columns.items() if name in column}
            for name in ("predicted", "probability", "true_probability")
        ),
    )


def _sorted(found: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """The same answers by item, as a run may have answered in the order of its batches."""
    item = found["item"]
    if (item[1:] > item[:-1]).all():
        return found
    order = np.argsort(item, kind="stable")
    return {name: array[order] for name, array in found.items()}


def _check(
    found: dict[str, np.ndarray], shared: dict[str, np.ndarray], trial: "Trial", first: "Trial"
) -> None:
    if any(not np.array_equal(found[name], shared[name]) for name in ("item", "label", "length")):
        raise InputError(
            f"{trial.folder} was tested on other items than {first.folder}, so they can't be "
            f"compared: delete the one that does not belong to this study"
        )
    if trial.record["task"] != first.record["task"]:
        raise InputError(
            f"{trial.folder} predicts {trial.record['task']} and {first.folder} "
            f"{first.record['task']}: delete the one that does not belong to this study"
        )
    if trial.record["task"] == CLASSES:
        score = float((found["predicted"] == found["label"]).mean())
    else:
        missed = ((found["predicted"] - found["label"]) ** 2).mean()
        score = 1 - float(missed / found["label"].var())
    stated = trial.score("test")
    if abs(score - stated) > 1e-5 * max(1.0, abs(stated)):
        raise broken(
            trial.folder,
            f"its record says that {trial.metric.name} on the test set is {stated:.5f}, its "
            f"predictions say {score:.5f}",
        )
