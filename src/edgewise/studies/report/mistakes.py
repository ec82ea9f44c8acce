"""The test items that tell most about a variant: what it misses and the others get."""

from typing import Any

import numpy as np

from edgewise.studies.records.predictions import Predictions


def telling_mistakes(predictions: Predictions, most: int = 5) -> dict[str, list[dict[str, Any]]]:
    """Of each variant, the items that most others get right and it gets wrong.

    An item counts when the other variants are right on at least half of their seeds (each variant
    weighs the same) and this one on less than half; the widest gap comes first.

    Returns:
        Of each variant up to ``most`` rows: ``item``, ``label``, ``length``, ``answer`` (its most
        frequent wrong one), ``right`` (share of this variant's seeds) and ``others_right``.

    """
    names = list(predictions.seeds)
    right = np.stack([predictions.correct(name).mean(0) for name in names])
    found: dict[str, list[dict[str, Any]]] = {}
    for row, name in enumerate(names):
        if len(names) == 1:
            found[name] = []
            continue
        others = np.delete(right, row, axis=0).mean(0)
        gap = np.where((others >= 0.5) & (right[row] < 0.5), others - right[row], 0.0)
        found[name] = [
            _item(predictions, place)
            | {
                "answer": _wrong_answer(predictions, name, place),
                "right": float(right[row, place]),
                "others_right": float(others[place]),
            }
            for place in np.argsort(-gap, kind="stable")[:most]
            if gap[place] > 0
        ]
    return found


def common_mistakes(predictions: Predictions, most: int = 10) -> dict[str, Any]:
    """The items that no trial gets right, those answered with most confidence first.

    Returns:
        ``count`` of such items, and up to ``most`` rows in ``items``: ``item``, ``label``,
        ``length``, ``answer`` (the most frequent one over all trials) and ``probability``, the mean
        that the trials gave their answers.

    """
    names = list(predictions.seeds)
    wrong = np.all([~predictions.correct(name).any(0) for name in names], axis=0)
    places = np.flatnonzero(wrong)
    trials = sum(len(seeds) for seeds in predictions.seeds.values())
    sure = sum(predictions.probability[name][:, places].sum(0, dtype=float) for name in names)
    sure = sure / trials
    order = np.argsort(-sure, kind="stable")[:most]
    return {
        "count": int(places.size),
        "items": [
            _item(predictions, places[rank])
            | {
                "answer": _most_frequent(
                    np.concatenate([predictions.predicted[name][:, places[rank]] for name in names])
                ),
                "probability": float(sure[rank]),
            }
            for rank in order
        ],
    }


def _item(predictions: Predictions, place: int) -> dict[str, int]:
    return {name: int(getattr(predictions, name)[place]) for name in ("item", "label", "length")}


def _wrong_answer(predictions: Predictions, name: str, place: int) -> int:
    answers = predictions.predicted[name][:, place]
    return _most_frequent(answers[answers != predictions.label[place]])


def _most_frequent(answers: np.ndarray) -> int:
    return int(np.bincount(answers).argmax())
