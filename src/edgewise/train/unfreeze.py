"""Gradual unfreezing: some parameters wait for their epoch while the others learn."""

from collections.abc import Iterator, Mapping

from torch import nn

from edgewise.core import InputError
from edgewise.train.parameter_names import matching
from edgewise.train.source import Batch, Source


class Unfreezing:
    """Batches for `fit` that freeze and unfreeze parameters as their epoch begins.

    What learns is a pure function of the epoch's number, so a run that is killed and resumed, with
    the same arguments, goes on as if it had not been. A frozen parameter gets no gradient, no
    weight decay and no momentum: it does not change by a bit, and AdamW's averages begin with its
    first epoch.

    Args:
        train: The batches to learn from.
        model: The model that is trained on them.
        schedule: For names of parameters, the first epoch (from 1) in which they learn. A name may
            have ``*`` in it, and ``"activations"`` stands for all that shapes functions
            (:func:`~edgewise.train.activation_parameters`). The last entry that fits a parameter
            counts; one that none fits learns from the beginning.

    Raises:
        InputError: If an entry fits no parameter, an epoch is no whole number of at least 1,
            nothing is left to learn in epoch 1, or a parameter requires no gradient now, so that
            `fit` would not see it.

    Example:
        >>> model = ew.models.KAN([2, 3, 1])
        >>> tokens = ew.data.Tokens.of([[1], [2]], torch.tensor([0, 1]), ("a", "b"))
        >>> train = ew.data.Batches(tokens, batch_size=2)
        >>> train = Unfreezing(train, model, {"activations": 3, "layers.1.*": 2})
        >>> _ = train.epoch(2)
        >>> [name for name, p in model.named_parameters() if not p.requires_grad]
        ['layers.0.coefficients']

    """

    def __init__(self, train: Source, model: nn.Module, schedule: Mapping[str, int]) -> None:
        self.train, self.model = train, model
        self.first = first_epochs(model, schedule)
        parameters = dict(model.named_parameters())
        for name in self.first:
            if not parameters[name].requires_grad:
                raise InputError(
                    f"the parameter {name!r} requires no gradient, so that fit would leave it out: "
                    f"call model.requires_grad_() first"
                )
        if not any(p.requires_grad and self.first.get(n, 1) == 1 for n, p in parameters.items()):
            raise InputError(
                "the schedule leaves nothing to learn in epoch 1: let some parameters begin there"
            )

    def __len__(self) -> int:
        return len(self.train)

    def epoch(self, number: int) -> Iterator[Batch]:
        """The batches of the epoch; the model's parameters are frozen as they are to be in it."""
        for name, parameter in self.model.named_parameters():
            if name in self.first:
                parameter.requires_grad_(number >= self.first[name])
        return self.train.epoch(number)


def first_epochs(model: nn.Module, schedule: Mapping[str, int]) -> dict[str, int]:
    """The first epoch of each parameter that the schedule speaks of.

    Raises:
        InputError: If an entry fits no parameter, or an epoch is no whole number of at least 1.

    Example:
        >>> first_epochs(ew.models.KAN([2, 1]), {"*": 4, "*bias": 1})
        {'layers.0.coefficients': 4, 'layers.0.base_weight': 4, 'layers.0.bias': 1}

    """
    for pattern, epoch in schedule.items():
        if type(epoch) is not int or epoch < 1:
            raise InputError(
                f"the schedule's epoch for {pattern!r} must be a whole number of at least 1, "
                f"got {epoch!r}"
            )
    return matching(model, schedule, "the schedule")
