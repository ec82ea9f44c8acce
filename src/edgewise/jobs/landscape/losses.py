"""The losses of a landscape by name, for classes and for numbers."""

from collections.abc import Callable

import torch.nn.functional as F
from torch import Tensor

from edgewise.core import InputError

Loss = Callable[[Tensor, Tensor], Tensor]


def loss_for(name: str | None, classes: int | None) -> tuple[str, Loss]:
    """A loss and its name; None is cross-entropy for classes, mean squared error for numbers.

    With classes, squares and Huber's loss are those between the outputs and 0 or 1 for each class.

    Args:
        name: cross_entropy, mse, huber or None.
        classes: How many classes there are; None where the targets are numbers.

    Raises:
        InputError: If cross-entropy is asked of numbers.

    Example:
        >>> name, loss = loss_for(None, classes=2)
        >>> name, round(float(loss(torch.zeros(1, 2), torch.tensor([1]))), 4)
        ('cross_entropy', 0.6931)
        >>> float(loss_for("mse", 2)[1](torch.tensor([[0.0, 2.0]]), torch.tensor([1])))
        0.5

    """
    name = name or ("mse" if classes is None else "cross_entropy")
    if classes is None:
        if name == "cross_entropy":
            raise InputError(
                "cross_entropy is for classes, and the targets here are numbers: use mse or huber"
            )
        return name, {"mse": F.mse_loss, "huber": F.huber_loss}[name]
    found = {"cross_entropy": F.cross_entropy, "mse": squares_of_classes, "huber": huber_of_classes}
    return name, found[name]


def squares_of_classes(y: Tensor, target: Tensor) -> Tensor:
    """The mean squared distance to 0 or 1 for each class."""
    return F.mse_loss(y, F.one_hot(target, y.shape[1]).to(y))


def huber_of_classes(y: Tensor, target: Tensor) -> Tensor:
    """The same by Huber's loss."""
    return F.huber_loss(y, F.one_hot(target, y.shape[1]).to(y))
