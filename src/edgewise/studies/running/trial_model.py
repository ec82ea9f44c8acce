"""A trial's model: as wide as its budget asks for, and ready to train."""

from collections.abc import Callable
from typing import Any

from torch import nn

from edgewise.core import InputError, seeded
from edgewise.models import count_parameters
from edgewise.studies.running.trial import Trial

_WIDEST = 1 << 16


def build_model(trial: Trial, dataset: Any) -> nn.Module:
    """The trial's model, with what it takes from the training data."""
    with seeded(trial.seed, "init"):
        model = make_model(trial, dataset)
    trial.study.prepare(model, dataset)
    return model


def make_model(trial: Trial, dataset: Any) -> nn.Module:
    """The trial's model as it is made, of the width that its budget asks for."""
    study = trial.study
    width = _width_for(trial, dataset) if study.parameters else study.hidden_dim
    return study.make(trial.variant, dataset, width)


def _width_for(trial: Trial, dataset: Any) -> int:
    """The width with which the model comes closest to the budget, by bisection."""
    budget, low, high = trial.study.parameters, 1, 1

    def size(width: int) -> int:
        # The random numbers it draws are of no consequence, and must have none.
        with seeded(0, "size"):
            return count_parameters(trial.study.make(trial.variant, dataset, width))

    unit = _unit_of_width(size)
    if size(unit) > budget:
        raise InputError(
            f"parameters={budget} is too small a budget for {trial.variant.name}: with a width "
            f"of {unit} it has {size(unit)}"
        )
    while size(unit * high) < budget:
        low, high = high, 2 * high
        if unit * high > _WIDEST:
            raise InputError(
                f"parameters={budget} can't be reached by {trial.variant.name}: its width does "
                f"not change how many it has"
            )
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if size(unit * middle) <= budget else (low, middle)
    return min((unit * low, unit * high), key=lambda width: abs(size(width) - budget))


def _unit_of_width(size: Callable[[int], int]) -> int:
    """The smallest power of two that the model takes: widths are multiples of, say, its heads."""
    refusals = []
    for unit in (1, 2, 4, 8, 16):
        try:
            size(unit)
            return unit
        except InputError as error:
            refusals.append(error)
    # Not for its width, it seems.
    raise refusals[0]
