"""What a model says about every example of a set, and how right it is."""

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import islice

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from edgewise.core import InputError, RunError, did_you_mean
from edgewise.train.distributed import gathered, world
from edgewise.train.settings import PRECISIONS
from edgewise.train.source import Batch, Source, check_source, is_classification, place

Loss = Callable[[Tensor, Tensor], Tensor]


@dataclass(frozen=True, eq=False)
class Evaluation:
    """A model's answers to n examples, sorted by item, on the CPU.

    Attributes:
        loss: The mean loss over the examples.
        accuracy: The fraction of right labels; None where the targets aren't labels.
        items: Which examples.
        labels: Their targets.
        predictions: The likeliest label; the raw prediction where the targets aren't labels.
        probabilities: The softmax of the logits; None where the targets aren't labels.

    """

    loss: float
    accuracy: float | None
    items: Int[Tensor, " n"]
    labels: Tensor
    predictions: Tensor
    probabilities: Float[Tensor, "n C"] | None


def evaluate(
    model: nn.Module,
    batches: Source,
    loss: Loss = cross_entropy,
    device: str | torch.device | None = None,
    precision: str = "float32",
    split: bool = False,
) -> Evaluation:
    """Asks the model about every example once, in evaluation mode and without gradients.

    The predictions are sorted by item before the loss is taken over all of them at once, so the
    result does not depend on the order of the batches, and a small last batch has no more weight
    than its examples.

    Args:
        model: Called as ``model(*batch.inputs)``; each of its modules is left in the mode it was.
        batches: Where the examples are; its epoch 0 is taken.
        loss: ``loss(prediction, target)``, the mean over the examples.
        device: Where to compute; None is where the model is.
        precision: ``"float32"``, or ``"bfloat16"`` or ``"float16"`` for autocast.
        split: Where several processes train together, each computes some of the batches and all
            get the same result; all of them must call it.

    Raises:
        InputError: If there is nothing to evaluate, or an example comes twice.
        RunError: If the loss is NaN or infinite; it names the examples.

    Example:
        >>> class Halves:
        ...     def __len__(self): return 2
        ...     def epoch(self, number):
        ...         yield Example((torch.eye(2)[1:],), torch.tensor([1]), torch.tensor([1]))
        ...         yield Example((torch.eye(2)[:1],), torch.tensor([1]), torch.tensor([0]))
        >>> from typing import NamedTuple
        >>> class Example(NamedTuple):
        ...     inputs: tuple; target: Tensor; items: Tensor
        ...     def to(self, device): return self
        >>> result = evaluate(nn.Identity(), Halves())
        >>> result.items.tolist(), result.predictions.tolist(), result.accuracy
        ([0, 1], [0, 1], 0.5)

    """
    check_source(batches, "batches")
    check_precision(precision)
    device = place(model, device)
    with evaluating(model), torch.no_grad():
        # With fewer batches than processes, one would have nothing to tell of.
        rank, size = world() if split and len(batches) >= world()[1] else (0, 1)
        mine = islice(batches.epoch(0), rank, None, size)
        parts = [_ask(model, batch, device, precision) for batch in mine]
        items, prediction, target = _gather(parts, size > 1)
        value = float(loss(prediction, target))
    if not math.isfinite(value):
        raise RunError(_blame(value, items, prediction))
    return _conclude(value, items.cpu(), prediction.cpu(), target.cpu())


def check_precision(precision: str) -> None:
    """Refuses a precision that autocast doesn't know."""
    if precision not in PRECISIONS:
        raise InputError(
            f"unknown precision {precision!r}: {did_you_mean(str(precision), PRECISIONS)}"
        )


def autocast(device: torch.device, precision: str) -> torch.autocast:
    """The forward pass's context; ``"float32"`` is the model's own type, so it changes nothing."""
    dtype = getattr(torch, precision) if precision != "float32" else None
    return torch.autocast(device.type, dtype=dtype, enabled=dtype is not None)


@contextmanager
def evaluating(model: nn.Module) -> Iterator[None]:
    """Inside, the model is in evaluation mode; outside, each module is in the mode it was.

    Example:
        >>> model = nn.Sequential(nn.Dropout(), nn.Dropout().eval())
        >>> with evaluating(model):
        ...     pass
        >>> [module.training for module in model]
        [True, False]

    """
    modes = {module: module.training for module in model.modules()}
    model.eval()
    try:
        yield
    finally:
        for module, mode in modes.items():
            module.training = mode


def _ask(model: nn.Module, batch: Batch, device: torch.device, precision: str):
    batch = batch.to(device)
    with autocast(device, precision):
        prediction = model(*batch.inputs)
    # The loss is taken in full precision whatever the forward pass was.
    wide = prediction.float() if prediction.dtype in (torch.bfloat16, torch.float16) else prediction
    return batch.items, wide, batch.target


def _gather(parts: list, everywhere: bool) -> tuple[Tensor, Tensor, Tensor]:
    """Items, predictions and targets of all batches, of all processes too, sorted by item."""
    if not parts:
        raise InputError("batches gave nothing in epoch 0: give at least one batch")
    columns = [torch.cat(column) for column in zip(*parts, strict=True)]
    items, prediction, target = map(gathered, columns) if everywhere else columns
    items, order = torch.sort(items)
    twice = items[1:][items[1:] == items[:-1]]
    if len(twice):
        raise InputError(f"the item {int(twice[0])} comes twice in batches: give each item once")
    order = order.to(prediction.device)
    return items, prediction[order], target[order]


def _conclude(loss: float, items: Tensor, prediction: Tensor, target: Tensor) -> Evaluation:
    if not is_classification(prediction, target):
        return Evaluation(loss, None, items, target, prediction, None)
    said = prediction.argmax(1)
    accuracy = int((said == target).sum()) / len(target)
    probabilities = prediction.softmax(1).float()
    return Evaluation(loss, accuracy, items, target, said, probabilities)


def _blame(value: float, items: Tensor, prediction: Tensor) -> str:
    bad = items[~prediction.isfinite().flatten(1).all(1).to(items.device)]
    if not len(bad):
        return f"the loss is {value} though every prediction is finite: look at the targets"
    return f"the loss is {value}: the predictions are not finite for {name_items(bad)}"


def name_items(items: Tensor, most: int = 5) -> str:
    """The first few items, for a message.

    Example:
        >>> name_items(torch.arange(9))
        'items 0, 1, 2, 3, 4, ... (9 in all)'
        >>> name_items(torch.tensor([7]))
        'item 7'

    """
    few = ", ".join(str(i) for i in items[:most].tolist())
    more = f", ... ({len(items)} in all)" if len(items) > most else ""
    return f"item{'s' if len(items) > 1 else ''} {few}{more}"
