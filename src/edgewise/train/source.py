"""What a run asks of its data and its model: two protocols, a few questions and a place."""

from collections.abc import Iterator
from typing import Protocol, Self

import torch
from torch import Tensor, nn

from edgewise.core import InputError


class Batch(Protocol):
    """Some examples: what the model takes, what it should say, and which examples they are."""

    @property
    def inputs(self) -> tuple[Tensor, ...]:
        """The model's arguments; the model is called as ``model(*inputs)``."""
        ...

    @property
    def target(self) -> Tensor:
        """What the loss compares the prediction with: (n,) integers for n labels."""
        ...

    @property
    def items(self) -> Tensor:
        """(n,) indices of the examples in their data set."""
        ...

    def to(self, device: torch.device) -> Self:
        """The same batch on another device."""
        ...


class Source(Protocol):
    """Where batches come from; `edgewise.data.Batches` is one."""

    def __len__(self) -> int:
        """Batches in an epoch."""
        ...

    def epoch(self, number: int) -> Iterator[Batch]:
        """The batches of one epoch, in an order that depends on the number only."""
        ...


def check_source(source: Source, name: str) -> None:
    """Refuses what isn't a source, or has nothing to give.

    Raises:
        InputError: With the ``name`` the caller knows the source by.

    """
    if not (hasattr(source, "__len__") and callable(getattr(source, "epoch", None))):
        raise InputError(
            f"{name} is a {type(source).__name__}: give an object with len() and epoch(number), "
            f"as edgewise.data.Batches is"
        )
    if len(source) == 0:
        raise InputError(f"{name} has no batches: give at least one")


def is_classification(prediction: Tensor, target: Tensor) -> bool:
    """True for (n, C) predictions beside (n,) integer labels: only then is there an accuracy.

    Example:
        >>> is_classification(torch.zeros(2, 3), torch.tensor([0, 2]))
        True
        >>> is_classification(torch.zeros(2, 1), torch.zeros(2, 1))
        False

    """
    return prediction.ndim == 2 and target.ndim == 1 and is_integer(target)


def is_integer(target: Tensor) -> bool:
    """True for labels: whole numbers, not truth values."""
    return not (target.is_floating_point() or target.is_complex() or target.dtype == torch.bool)


def place(model: nn.Module, device: str | torch.device | None) -> torch.device:
    """Moves the model to ``device``, or finds out where it is.

    Raises:
        InputError: If torch knows no such device or this machine has none.

    """
    if device is None:
        tensors = [*model.parameters(), *model.buffers()]
        return tensors[0].device if tensors else torch.device("cpu")
    try:
        device = torch.device(device)
        torch.empty(0, device=device)
    # A torch built without CUDA says so with an AssertionError.
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        reason = str(error).splitlines()[0]
        raise InputError(f"the device {str(device)!r} can't be used: {reason}") from error
    model.to(device)
    return device
