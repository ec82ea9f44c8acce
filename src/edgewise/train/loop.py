"""One run, from the first epoch to the best weights; killed and called again, it goes on."""

import math
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import torch
from torch import nn
from torch.nn.functional import cross_entropy

from edgewise.core import InputError, RunError, seeded
from edgewise.train.checkpoint import copy_state, identify
from edgewise.train.distributed import Shared, agree, is_first, same_everywhere, world
from edgewise.train.evaluate import Loss, evaluate
from edgewise.train.history import Row, best_epoch, is_over, plain_row
from edgewise.train.keeper import Keeper, State
from edgewise.train.run import Run
from edgewise.train.schedule import learning_rate
from edgewise.train.settings import Settings
from edgewise.train.source import Source, check_source, is_integer, place
from edgewise.train.step import Penalty, Step, Stepper, groups
from edgewise.train.unfreeze import Unfreezing

OnEpoch = Callable[[Row, nn.Module], None]
OnBatch = Callable[[Step], None]


def fit(
    model: nn.Module,
    train: Source,
    validation: Source,
    settings: Settings | None = None,
    *,
    seed: int,
    folder: str | Path | None = None,
    loss: Loss = cross_entropy,
    penalty: Penalty | None = None,
    on_epoch: Sequence[OnEpoch] = (),
    on_batch: Sequence[OnBatch] = (),
    device: str | torch.device | None = None,
) -> Run:
    """Trains the model and leaves it in evaluation mode with the weights of its best epoch.

    An epoch is a pure function of (weights, optimiser, seed, number): dropout and the like draw
    from ``seeded(seed, "epoch", number)``, and the caller's random state is not touched. With a
    ``folder``, ``checkpoint.safetensors`` and ``history.jsonl`` are replaced after every epoch;
    called again with the same arguments, the run goes on from its last finished epoch and ends
    with the same weights and history, bit for bit on a CPU. A finished run is not run again. Its
    checkpoint holds the last and the best weights, but no optimiser.

    Where ``torch.distributed`` is initialised, all its processes call this with the same arguments:
    each takes its part of every batch and of the validation set, and all end with the same weights
    and history, which are those of one process up to rounding (dropout draws other masks, batch
    normalisation and penalties that look at the batch, such as the load balance, see a process's
    part). The first process keeps the folder.

    What an epoch changes must be in the model's parameters and persistent buffers, and ``train``
    must give the same batches for the same epoch number.

    Args:
        model: Called as ``model(*batch.inputs)``; returns logits (n, C) or predictions.
        train: Batches to learn from; epochs are numbered from 1.
        validation: Batches the best epoch is chosen on, and early stopping decided.
        settings: How to train; None is ``Settings()``.
        seed: Seed of the run; the order of ``train`` is its own matter.
        folder: Where the run is kept, one folder a run; None keeps nothing.
        loss: ``loss(prediction, target)``, the mean over the batch's examples.
        penalty: ``penalty(model)``, a scalar called after each forward pass and added to the
            loss; with accumulation, weighted by the batch's share of the examples as the loss is.
        on_epoch: Called as ``call(row, model)`` when an epoch's row is complete. It may add keys
            to the row, of what JSON knows, and must not change the model. Epochs that a resumed
            run does not repeat are not called again.
        on_batch: Called with a `Step` after each optimiser step.
        device: Where to train; None is where the model is.

    Returns:
        The `Run`. A row has ``epoch`` (from 1), ``learning_rate`` (of the epoch's last step),
        ``train_loss``, ``train_accuracy``, ``penalty``, ``validation_loss``,
        ``validation_accuracy`` and ``gradient_norm`` (mean over steps, before clipping). Training
        means are over examples as they went by, dropout included. Accuracies are None where
        targets aren't labels.

    Raises:
        InputError: If the run can't be done as asked, or ``folder`` holds another run or a
            damaged one.
        RunError: If a loss, penalty or gradient becomes NaN or infinite.

    Example:
        >>> from typing import NamedTuple
        >>> class Points(NamedTuple):
        ...     inputs: tuple; target: torch.Tensor; items: torch.Tensor
        ...     def to(self, device): return self
        >>> class Line:  # is x positive?
        ...     def __len__(self): return 1
        ...     def epoch(self, number):
        ...         x = torch.linspace(-1, 1, 8)[:, None]
        ...         yield Points((x,), (x[:, 0] > 0).long(), torch.arange(8))
        >>> with seeded(0, "init"):
        ...     model = nn.Linear(1, 2)
        >>> settings = Settings(epochs=30, learning_rate=0.3)
        >>> fit(model, Line(), Line(), settings, seed=0).best["validation_accuracy"]
        1.0

    """
    settings = Settings() if settings is None else settings
    _check(train, validation, settings, seed)
    device = place(model, device)
    state = State(model, Stepper(model, settings, loss, penalty, device))
    if settings.unfreeze:
        train = Unfreezing(train, model, settings.unfreeze)
    keeper = Keeper(Path(folder), identify(model, len(train), settings, seed)) if folder else None
    if keeper:
        keeper.resume(state)
    rank, size = world()
    same_everywhere(len(state.history), "numbers of finished epochs")
    if size > 1:
        train = Shared(train, rank, size)
    while not is_over(state.history, settings):
        start = time.perf_counter()
        epoch = len(state.history) + 1
        with seeded(seed, "epoch", epoch, *([rank] if rank else [])):
            row = _train(state, train, epoch, on_batch)
            agree(model)
            row |= _validate(model, validation, epoch, settings, loss, device)
            if best_epoch([*state.history, row], settings.select) == epoch:
                state.best = copy_state(model)
            for call in on_epoch:
                call(row, model)
        state.history.append(plain_row(row))
        state.seconds.append(time.perf_counter() - start)
        if keeper and is_first():
            keeper.keep(state)
    return _finish(state)


def _check(train: Source, validation: Source, settings: Settings, seed: int) -> None:
    if not isinstance(settings, Settings):
        raise InputError(f"settings is a {type(settings).__name__}: give edgewise.train.Settings")
    if type(seed) is not int or seed < 0:
        raise InputError(f"seed is {seed!r}: give a whole number of at least 0")
    check_source(train, "train")
    check_source(validation, "validation")
    if settings.select != "accuracy":
        return
    with seeded(seed, "look"):
        first = next(iter(validation.epoch(0)), None)
    if first is not None and not is_integer(first.target):
        raise InputError(
            "select is 'accuracy' but the validation targets are not integer labels: "
            "use Settings(select='loss')"
        )


def _train(state: State, train: Source, epoch: int, on_batch: Sequence[OnBatch]) -> Row:
    """One pass over the training set, and the first half of its row."""
    state.model.train()
    steps = []
    for step in _steps(state, train, epoch):
        steps.append(step)
        for call in on_batch:
            call(step)
    norms = [step.gradient_norm for step in steps if step.gradient_norm is not None]
    return {
        "epoch": epoch,
        "learning_rate": steps[-1].learning_rate,
        "train_loss": _mean(steps, "loss"),
        "train_accuracy": _accuracy(steps),
        "penalty": _mean(steps, "penalty"),
        "gradient_norm": math.fsum(norms) / len(norms) if norms else None,
    }


def _steps(state: State, train: Source, epoch: int) -> Iterator[Step]:
    settings, batches = state.stepper.settings, len(train)
    per_epoch = math.ceil(batches / settings.accumulation)
    losses = [row["validation_loss"] for row in state.history]
    seen = 0
    for index, group in enumerate(groups(train.epoch(epoch), settings.accumulation)):
        done = (epoch - 1) * per_epoch + index
        rate = learning_rate(settings, done, per_epoch * settings.epochs, losses)
        yield state.stepper(group, epoch, seen + 1, batches, rate)
        seen += len(group)
    if seen != batches:
        raise InputError(
            f"train has length {batches} but gave {seen} batches in epoch {epoch}: "
            f"the two must agree, the schedule counts on it"
        )


def _mean(steps: Sequence[Step], name: str) -> float:
    """The mean over the epoch's examples."""
    total = math.fsum(getattr(step, name) * step.examples for step in steps)
    return total / sum(step.examples for step in steps)


def _accuracy(steps: Sequence[Step]) -> float | None:
    counts = [step.correct for step in steps if step.correct is not None]
    return sum(counts) / sum(step.examples for step in steps) if counts else None


def _validate(
    model: nn.Module,
    validation: Source,
    epoch: int,
    settings: Settings,
    loss: Loss,
    device: torch.device,
) -> Row:
    """The other half of the row."""
    try:
        result = evaluate(model, validation, loss, device, settings.precision, split=True)
    except RunError as error:
        raise RunError(f"on the validation set in epoch {epoch}, {error}") from error
    return {"validation_loss": result.loss, "validation_accuracy": result.accuracy}


def _finish(state: State) -> Run:
    settings, history = state.stepper.settings, state.history
    last = copy_state(state.model)
    state.model.load_state_dict(state.best)
    state.model.eval()
    for parameter in state.stepper.parameters:
        # Whatever the schedule of unfreezing left frozen.
        parameter.requires_grad_(True)
    return Run(
        history=history,
        best_epoch=best_epoch(history, settings.select),
        epochs=len(history),
        stopped_early=len(history) < settings.epochs,
        seconds=state.seconds,
        last_state=last,
    )
