"""The answers of all trials to the same test items, side by side."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from edgewise.core import InputError

if TYPE_CHECKING:
    from edgewise.studies.records import Trial


@dataclass(frozen=True)
class Predictions:
    """Answers to I test items; the arrays of a variant have a row for each of its S seeds.

    Attributes:
        item: Which item of the data set, (I,).
        label: The true class, (I,).
        length: Number of events, (I,).
        seeds: Of each variant, in the order of its rows.
        predicted: The answered class, (S, I).
        probability: Of the answered class, (S, I).
        true_probability: Of the true class, (S, I).

    """

    item: np.ndarray
    label: np.ndarray
    length: np.ndarray
    seeds: Mapping[str, tuple[int, ...]]
    predicted: Mapping[str, np.ndarray]
    probability: Mapping[str, np.ndarray]
    true_probability: Mapping[str, np.ndarray]

    def correct(self, variant: str) -> np.ndarray:
        """Whether the answer is right, (S, I) bool."""
        return self.predicted[variant] == self.label


def load_predictions(by_variant: Mapping[str, tuple["Trial", ...]]) -> Predictions:
    """Reads the answers of all trials, in 12 bytes an answer.

    Args:
        by_variant: The finished trials of each variant, at least one in all.

    Raises:
        InputError: If a trial was tested on other items, or its record and answers disagree.

    """
    first = next(iter(by_variant.values()))[0]
    shared = _sorted(first.predictions())
    columns: dict[str, dict[str, np.ndarray]] = {}
    for variant, trials in by_variant.items():
        shape = (len(trials), shared["item"].size)
        columns[variant] = {
            "predicted": np.empty(shape, np.int32),
            "probability": np.empty(shape, np.float32),
            "true_probability": np.empty(shape, np.float32),
        }
        for row, trial in enumerate(trials):
            found = _sorted(trial.predictions())
            _check(found, shared, trial, first)
            for name, column in columns[variant].items():
                column[row] = found[name]
    return Predictions(
        *(shared[name] for name in ("item", "label", "length")),
        {variant: tuple(t.seed for t in trials) for variant, trials in by_variant.items()},
        *(
            {variant: column[name] for variant, column in columns.items()}
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
    accuracy = float((found["predicted"] == found["label"]).mean())
    if abs(accuracy - trial.record["test"]["accuracy"]) > 1e-5:
        raise InputError(
            f"{trial.folder} is damaged (its record says {trial.record['test']['accuracy']:.5f} of "
            f"the test set is right, its predictions say {accuracy:.5f}): delete the folder and "
            f"run the study again, which repeats this trial only"
        )
