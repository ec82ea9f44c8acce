"""A run like that of `edgewise.train.fit`, computed by MLX."""

import time
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType

import torch
from torch import nn
from torch.nn import functional as F

from edgewise.core import InputError, did_you_mean, require, seeded
from edgewise.train.checkpoint import copy_state, identify
from edgewise.train.evaluate import Loss
from edgewise.train.history import best_epoch, is_over, plain_row
from edgewise.train.keeper import Keeper, State
from edgewise.train.loop import OnBatch, OnEpoch, _check, _finish, _train, _validate
from edgewise.train.run import Run
from edgewise.train.settings import Settings
from edgewise.train.source import Source
from edgewise.train.step import Penalty

LOSSES: dict[str, Loss] = {"cross_entropy": F.cross_entropy, "mse": F.mse_loss}
"""Losses that MLX has too, as torch computes them in validation."""


def train_mlx(
    model: nn.Module,
    train: Source,
    validation: Source,
    settings: Settings | None = None,
    *,
    seed: int,
    folder: str | Path | None = None,
    loss: str = "cross_entropy",
    label_smoothing: float = 0.0,
    penalty: Penalty | None = None,
    on_epoch: Sequence[OnEpoch] = (),
    on_batch: Sequence[OnBatch] = (),
    device: str | torch.device | None = None,
) -> Run:
    """Trains the model with MLX and leaves it with the weights of its best epoch.

    AdamW, schedule, clipping, accumulation, batches, selection and early stopping are those of
    `edgewise.train.fit`, and so is the `Run`; initial weights are the model's own. Forward and
    backward pass and the optimiser's step are MLX's, in float32; validation, between epochs, is
    torch's. Dropout draws other masks than torch would.

    Args:
        model: A float32 model whose modules all have twins (`edgewise.mlx.networks`).
        train: Batches to learn from.
        validation: Batches the best epoch is chosen on.
        settings: How to train; ``precision`` other than ``"float32"`` is refused.
        seed: Seed of the run.
        folder: Where the run is kept, as in `fit`.
        loss: ``"cross_entropy"`` or ``"mse"``.
        label_smoothing: The part of a label that training spreads over all classes.
        penalty: Not supported: must be None.
        on_epoch: As in `fit`.
        on_batch: As in `fit`.
        device: ``"cpu"``, ``"gpu"`` (or torch's names for one), or None for MLX's own choice.

    Raises:
        InputError: If the run can't be done as asked.
        RunError: If a loss or gradient becomes NaN or infinite.
        MissingExtraError: If MLX is not installed.

    """
    settings = Settings() if settings is None else settings
    _check(train, validation, settings, seed)
    _check_options(model, settings, loss, label_smoothing, penalty)
    mx = require("mlx.core", extra="mlx")
    # Not at the top: training with torch must not need MLX.
    from edgewise.mlx.losses import array_loss
    from edgewise.train.mlx_step import MLXStepper

    stepper = MLXStepper(model, settings, array_loss(loss, label_smoothing), _device(mx, device))
    state = State(model, stepper)
    identity = identify(model, len(train), settings, seed) | {"backend": "mlx"}
    keeper = Keeper(Path(folder), identity) if folder else None
    if keeper:
        keeper.resume(state)
    where = next(model.parameters()).device
    while not is_over(state.history, settings):
        start = time.perf_counter()
        epoch = len(state.history) + 1
        with seeded(seed, "epoch", epoch):
            row = _train(state, train, epoch, on_batch)
            row |= _validate(model, validation, epoch, settings, LOSSES[loss], where)
            if best_epoch([*state.history, row], settings.select) == epoch:
                state.best = copy_state(model)
            for call in on_epoch:
                call(row, model)
        state.history.append(plain_row(row))
        state.seconds.append(time.perf_counter() - start)
        if keeper:
            keeper.keep(state)
    return _finish(state)


def _check_options(
    model: nn.Module,
    settings: Settings,
    loss: str,
    label_smoothing: float,
    penalty: Penalty | None,
) -> None:
    """Refuses what MLX does not do here, by name."""
    if settings.precision != "float32":
        raise InputError(
            f"precision is {settings.precision!r}: MLX trains in float32 only; "
            f"use precision='float32' or the torch backend"
        )
    if settings.unfreeze:
        raise InputError("unfreeze is for torch: MLX trains the same parameters in every epoch")
    if penalty is not None:
        raise InputError("penalty is a function of a torch model: MLX trains without; use torch")
    if loss not in LOSSES:
        raise InputError(f"unknown loss {loss!r}: {did_you_mean(str(loss), LOSSES)}")
    if label_smoothing and loss != "cross_entropy":
        raise InputError("label_smoothing goes with loss='cross_entropy' only: leave it out")
    if not 0 <= label_smoothing < 1:
        raise InputError(f"label_smoothing must lie in [0, 1), got {label_smoothing!r}")
    for name, parameter in model.named_parameters():
        if parameter.dtype != torch.float32:
            raise InputError(
                f"{name!r} is {str(parameter.dtype).removeprefix('torch.')}: MLX trains in "
                f"float32 only; use model.float()"
            )


def _device(mx: ModuleType, device: str | torch.device | None) -> object:
    """MLX's device; it has one GPU, whatever torch calls it."""
    if device is None:
        return mx.default_device()
    kind = str(device).partition(":")[0]
    if kind == "cpu":
        return mx.Device(mx.cpu)
    if kind not in ("gpu", "mps", "cuda") or not mx.is_available(mx.gpu):
        known = "cpu, gpu" if mx.is_available(mx.gpu) else "cpu"
        raise InputError(f"MLX can't use the device {str(device)!r} here: use one of {known}")
    return mx.Device(mx.gpu)
