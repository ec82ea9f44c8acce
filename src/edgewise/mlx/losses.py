"""Losses in MLX, with the checks that torch makes and MLX does not."""

import math
from collections.abc import Callable
from functools import partial

import mlx.core as mx
import mlx.nn as nn

from edgewise.core import InputError

ArrayLoss = Callable[[mx.array, mx.array], mx.array]


def array_loss(name: str, label_smoothing: float = 0.0) -> ArrayLoss:
    """``"cross_entropy"`` or ``"mse"``, the mean over the batch."""
    return partial(_cross_entropy, label_smoothing) if name == "cross_entropy" else _mse


def _cross_entropy(smoothing: float, logits: mx.array, labels: mx.array) -> mx.array:
    if logits.ndim != 2 or labels.shape != logits.shape[:1]:
        raise InputError(
            f"cross_entropy takes logits (n, C) and labels (n,), got {logits.shape} and "
            f"{labels.shape}"
        )
    # MLX would read past the row's end; NaN stops the run, which then names the items.
    known = (labels >= 0) & (labels < logits.shape[1])
    labels = mx.where(known, labels, 0)
    loss = nn.losses.cross_entropy(logits, labels, label_smoothing=smoothing, reduction="mean")
    return mx.where(known.all(), loss, math.nan)


def _mse(prediction: mx.array, target: mx.array) -> mx.array:
    if prediction.shape != target.shape:
        raise InputError(
            f"mse takes predictions and targets of one shape, got {prediction.shape} and "
            f"{target.shape}"
        )
    return (prediction - target).square().mean()
