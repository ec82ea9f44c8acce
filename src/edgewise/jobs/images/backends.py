"""What trains a network: one function for each backend, all called alike."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from edgewise.core import Registry
from edgewise.train import Run, Settings, Source, fit
from edgewise.train.mlx_loop import train_mlx

BACKENDS: Registry[Callable[..., Run]] = Registry("backend")
"""Functions called as `train_with` calls them, by name."""

BACKENDS.register("mlx")(train_mlx)


@dataclass(frozen=True)
class SmoothedCrossEntropy:
    """Cross-entropy, with smoothed labels where gradients are taken (Szegedy et al. 2016).

    Smoothing is a way to train, not what is asked for: without gradients, so in validation, it is
    the plain cross-entropy.

    Args:
        smoothing: The part of a label that is spread evenly over all classes.

    Example:
        >>> loss, logits, target = SmoothedCrossEntropy(0.1), torch.eye(3), torch.arange(3)
        >>> with torch.no_grad():
        ...     plain = loss(logits, target)
        >>> bool(plain == cross_entropy(logits, target)), bool(loss(logits, target) > plain)
        (True, True)

    """

    smoothing: float

    def __call__(self, prediction: Tensor, target: Tensor) -> Tensor:
        """The mean over the batch."""
        smoothing = self.smoothing if torch.is_grad_enabled() else 0.0
        return cross_entropy(prediction, target, label_smoothing=smoothing)


def train_with(
    backend: str,
    model: nn.Module,
    train: Source,
    validation: Source,
    settings: Settings,
    *,
    seed: int,
    label_smoothing: float = 0.0,
    **options: Any,
) -> Run:
    """Trains a classifier with one of the `BACKENDS`, and leaves its best weights in ``model``.

    Args:
        backend: ``"torch"``, ``"mlx"`` (extra ``mlx``), or ``module:function``.
        model: What is trained.
        train: Batches to learn from.
        validation: Batches on which the best epoch is chosen.
        settings: How to train.
        seed: The seed of the run.
        label_smoothing: See `SmoothedCrossEntropy`.
        options: As `edgewise.train.fit` takes them: folder, penalty, on_epoch, on_batch, device.
            A backend refuses by name what it does not know.

    Raises:
        InputError: If there is no such backend, or it can't do what is asked.

    """
    function = BACKENDS.resolve(backend)
    return function(
        model, train, validation, settings, seed=seed, label_smoothing=label_smoothing, **options
    )


BACKENDS.register("mlx")(train_mlx)


@BACKENDS.register("torch")
def train_torch(
    model: nn.Module,
    train: Source,
    validation: Source,
    settings: Settings,
    *,
    seed: int,
    label_smoothing: float = 0.0,
    **options: Any,
) -> Run:
    """Our own loop, `edgewise.train.fit`."""
    loss = SmoothedCrossEntropy(label_smoothing)
    return fit(model, train, validation, settings, seed=seed, loss=loss, **options)
