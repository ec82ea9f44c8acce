"""One optimiser step: some batches in, the weights changed, the numbers out."""

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel
from torch.nn.utils import clip_grad_norm_

from edgewise.core import InputError, RunError
from edgewise.train.distributed import items_of, sizes_of, summed, world
from edgewise.train.evaluate import Loss, autocast, name_items
from edgewise.train.parameter_names import matching
from edgewise.train.settings import Settings
from edgewise.train.source import Batch, is_classification

Penalty = Callable[[nn.Module], Tensor]


@dataclass(frozen=True)
class Step:
    """What one optimiser step did; `fit` hands it to each ``on_batch`` callable.

    Attributes:
        epoch: The epoch, from 1.
        batch: The last of the step's batches, from 1.
        batches: Batches in the epoch.
        examples: Examples in the step.
        loss: Their mean loss, without the penalty.
        penalty: The penalty.
        correct: How many labels were right; None where the targets aren't labels.
        learning_rate: The learning rate.
        gradient_norm: The norm of the whole gradient before clipping; None where float16's loss
            scaling overflowed and the step was left out.

    """

    epoch: int
    batch: int
    batches: int
    examples: int
    loss: float
    penalty: float
    correct: int | None
    learning_rate: float
    gradient_norm: float | None

    @property
    def accuracy(self) -> float | None:
        """The fraction of right labels."""
        return None if self.correct is None else self.correct / self.examples


def groups(batches: Iterable[Batch], size: int) -> Iterator[list[Batch]]:
    """The batches, ``size`` at a time; the last group has what is left.

    Example:
        >>> list(groups("abcde", 2))
        [['a', 'b'], ['c', 'd'], ['e']]

    """
    group: list[Batch] = []
    for batch in batches:
        group.append(batch)
        if len(group) == size:
            yield group
            group = []
    if group:
        yield group


class Objective(nn.Module):
    """What a batch is worth: the model, its loss and its penalty in one module.

    Together, so that DistributedDataParallel sees every parameter that any of them uses.

    Args:
        model: Called as ``model(*batch.inputs)``.
        loss: ``loss(prediction, target)``, the mean over the batch's examples.
        penalty: ``penalty(model)``, called right after the forward pass.
        precision: Of the forward pass.

    """

    def __init__(
        self, model: nn.Module, loss: Loss, penalty: Penalty | None, precision: str
    ) -> None:
        super().__init__()
        self.model, self.loss, self.penalty = model, loss, penalty
        self.precision = precision

    def forward(self, inputs: tuple[Tensor, ...], target: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """The loss, the penalty and how many labels are right, each a scalar."""
        with autocast(target.device, self.precision):
            prediction = self.model(*inputs)
            loss = _scalar("loss", self.loss(prediction, target))
            penalty = torch.zeros_like(loss)
            if self.penalty:
                penalty = _scalar("penalty", self.penalty(self.model))
        correct = torch.full_like(loss, math.nan)
        if is_classification(prediction, target):
            correct = (prediction.argmax(1) == target).sum().float()
        return loss, penalty, correct.detach()


class Stepper:
    """AdamW with clipping, accumulation and mixed precision, for one model on one device.

    AdamW is Loshchilov & Hutter, *Decoupled weight decay regularization* (ICLR 2019). Parameters
    with fewer than two dimensions (biases, gains, scales) are not decayed.

    Where several processes train together (`edgewise.train.distributed`), each is given its part of
    every batch, DistributedDataParallel adds up their gradients, and the numbers of a `Step` are
    those of the whole batch.

    Args:
        model: Called as ``model(*batch.inputs)``.
        settings: Weight decay, clipping, precision and factors on the learning rate are read from
            it.
        loss: ``loss(prediction, target)``, the mean over the batch's examples.
        penalty: ``penalty(model)``, added to the loss; called right after the forward pass.
        device: Where the model is.

    Raises:
        InputError: If the model has nothing to train, or an entry of ``settings.rates`` fits no
            parameter.

    """

    def __init__(
        self,
        model: nn.Module,
        settings: Settings,
        loss: Loss,
        penalty: Penalty | None,
        device: torch.device,
    ) -> None:
        self.model, self.settings, self.device = model, settings, device
        self.parameters = [p for p in model.parameters() if p.requires_grad]
        if not self.parameters:
            raise InputError("the model has no parameter that requires a gradient: nothing to fit")
        self.optimiser = torch.optim.AdamW(
            parameter_groups(model, settings),
            lr=settings.learning_rate,
            weight_decay=settings.weight_decay,
            # One pass over the numbers instead of ten: a third of the time.
            fused=device.type in ("cpu", "cuda"),
        )
        scaled = settings.precision == "float16"
        self.scaler = torch.amp.GradScaler(device.type, enabled=scaled)
        self.objective: nn.Module = Objective(model, loss, penalty, settings.precision)
        self.processes = world()[1]
        if self.processes > 1:
            # Experts that nobody chose, and what waits for its epoch, get no gradient.
            self.objective = DistributedDataParallel(self.objective, find_unused_parameters=True)

    def __call__(
        self, group: Sequence[Batch], epoch: int, first: int, batches: int, rate: float
    ) -> Step:
        """Takes one step down the mean loss of the group's examples.

        Args:
            group: Batches; each batch's loss is weighted by its share of the examples, so the
                gradient is that of the one big batch they make up, uneven ones included.
            epoch: The epoch, from 1.
            first: The number of the group's first batch, from 1.
            batches: Batches in the epoch.
            rate: The learning rate.

        Raises:
            RunError: If the loss, the penalty or the gradient is NaN or infinite. The weights
                are then still those from before the step.

        """
        here, examples = zip(*map(sizes_of, group), strict=True)
        shares = [n / sum(examples) for n in examples]
        self.optimiser.zero_grad()
        measured = []
        for number, (batch, n, whole) in enumerate(zip(group, here, examples, strict=True), 1):
            # Gradients are averaged over the processes once a step, with its last batch.
            waits = self.processes > 1 and number < len(group)
            with self.objective.no_sync() if waits else nullcontext():
                # What the average over the processes divides by is made up for here.
                measured.append(
                    self._backward(batch, n * self.processes / sum(examples), n / whole)
                )
        self.scaler.unscale_(self.optimiser)
        norm = clip_grad_norm_(self.parameters, self.settings.clip or math.inf)
        # One transfer a step: on an accelerator each .item() would wait for it.
        *rows, (norm,) = _to_lists([*measured, norm.detach()[None]])
        self._check(rows, norm, group, epoch, first)
        for parameters in self.optimiser.param_groups:
            parameters["lr"] = rate * parameters["factor"]
        self.scaler.step(self.optimiser)
        self.scaler.update()
        losses, penalties, correct = zip(*rows, strict=True)
        return Step(
            epoch=epoch,
            batch=first + len(group) - 1,
            batches=batches,
            examples=sum(examples),
            loss=_weighted(losses, shares),
            penalty=_weighted(penalties, shares),
            correct=None if math.isnan(sum(correct)) else int(sum(correct)),
            learning_rate=rate,
            gradient_norm=norm if math.isfinite(norm) else None,
        )

    def _backward(self, batch: Batch, share: float, part: float) -> Tensor:
        """Adds the batch's share to the gradient; returns (loss, penalty, right labels).

        Args:
            batch: The examples.
            share: What their mean loss counts in the step's.
            part: What they are of the batch of all processes.

        """
        batch = batch.to(self.device)
        loss, penalty, correct = self.objective(batch.inputs, batch.target)
        self.scaler.scale((loss + penalty) * share).backward()
        measured = torch.stack([x.detach() for x in (loss, penalty, correct)])
        if self.processes == 1:
            return measured
        # An example that stands in for none is worth nothing, its label neither.
        return summed(measured * measured.new_tensor([part, part, float(part > 0)]))

    def _check(
        self, rows: list, norm: float, group: Sequence[Batch], epoch: int, first: int
    ) -> None:
        for number, (row, batch) in enumerate(zip(rows, group, strict=True), first):
            for name, value in zip(("loss", "penalty"), row, strict=False):
                if not math.isfinite(value):
                    where = f"epoch {epoch}, batch {number} ({name_items(items_of(batch))})"
                    raise RunError(f"the {name} is {value} in {where}: {_REMEDY}")
        # Overflow is how loss scaling finds its scale; below 1 it is no longer the scale's fault.
        if math.isfinite(norm) or (self.scaler.is_enabled() and self.scaler.get_scale() >= 1):
            return
        last = first + len(group) - 1
        which = f"batch {first}" if last == first else f"batches {first} to {last}"
        items = name_items(torch.cat([items_of(batch) for batch in group]))
        raise RunError(
            f"the gradient norm is {norm} in epoch {epoch}, {which} ({items}): {_REMEDY}"
        )


def parameter_groups(model: nn.Module, settings: Settings) -> list[dict[str, Any]]:
    """What learns at one rate with one decay: matrices, then vectors, for each factor on the rate.

    Example:
        >>> groups = parameter_groups(ew.models.KAN([2, 1]), Settings(rates={"activations": 0.1}))
        >>> [(len(group["params"]), group["factor"]) for group in groups]
        [(1, 1.0), (1, 1.0), (1, 0.1), (0, 0.1)]

    """
    factors = matching(model, settings.rates, "rates")
    named = {n: p for n, p in model.named_parameters() if p.requires_grad}
    found: list[dict[str, Any]] = []
    for factor in dict.fromkeys([1.0, *map(float, factors.values())]):
        those = [p for n, p in named.items() if float(factors.get(n, 1.0)) == factor]
        matrices = [p for p in those if p.ndim >= 2]
        vectors = [p for p in those if p.ndim < 2]
        found.append({"params": matrices, "factor": factor})
        found.append({"params": vectors, "factor": factor, "weight_decay": 0.0})
    return found


_REMEDY = "look at these items, lower the learning rate or use precision float32"


def _scalar(name: str, value: Tensor) -> Tensor:
    if not isinstance(value, Tensor) or value.ndim:
        what = f"shape {tuple(value.shape)}" if isinstance(value, Tensor) else repr(value)
        raise InputError(f"the {name} gave {what}: it must return a tensor with one number, a mean")
    return value


def _weighted(values: Sequence[float], shares: Sequence[float]) -> float:
    return math.fsum(v * share for v, share in zip(values, shares, strict=True))


def _to_lists(rows: list[Tensor]) -> list[list[float]]:
    """The rows as lists of floats, brought from their device together."""
    wide = torch.float64 if any(r.dtype == torch.float64 for r in rows) else torch.float32
    numbers = iter(torch.cat([r.to(wide) for r in rows]).tolist())
    return [[next(numbers) for _ in row] for row in rows]
