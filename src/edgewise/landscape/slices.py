"""The loss on a plane through a state."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path as File
from typing import Any

import torch
from torch import Tensor, nn

from edgewise.core import InputError, generator
from edgewise.curvature import Functional
from edgewise.landscape.directions import random_direction
from edgewise.landscape.operators import Data, Loss
from edgewise.landscape.records import Progress, Records, fingerprint, number


@dataclass(frozen=True, eq=False)
class Slice:
    """The loss at θ + a d_1 + b d_2.

    Attributes:
        a: Steps along d_1, (A,).
        b: Steps along d_2, (B,).
        loss: (A, B), in float64.
        directions: d_1 and d_2, (2, n).
        normalize: How they were scaled; ``"given"`` where they were passed.

    """

    a: Tensor
    b: Tensor
    loss: Tensor
    directions: Tensor
    normalize: str


def slices(
    model: nn.Module,
    loss: Loss,
    data: Data,
    *,
    directions: Sequence[Tensor] | None = None,
    normalize: str = "filter",
    span: float = 1.0,
    points: int = 25,
    seed: int = 0,
    folder: str | File | None = None,
    progress: Progress | None = None,
    **options: Any,
) -> Slice:
    """The loss on a plane around the model's parameters, at the model's knots throughout.

    Args:
        model: The model; it is not changed.
        loss: ``loss(prediction, target)``, the mean over examples.
        data: ``(x, y)`` batches, or one such pair.
        directions: Two flat vectors, such as eigenvectors; None is two random ones.
        normalize: How random ones are scaled, see :func:`random_direction`.
        span: How far to go either way, in units of the directions.
        points: Points on each axis, an odd number so that the model itself is one.
        seed: Of the random directions.
        folder: Where ``slice.json`` keeps each row as it is done.
        progress: Called with (rows done, rows).
        options: As in :class:`edgewise.curvature.Functional`.

    Raises:
        InputError: If an argument does not fit, or the folder holds another plane.

    Example:
        >>> from edgewise.landscape import slices
        >>> x = torch.linspace(-1, 1, 10)[:, None]
        >>> line = torch.nn.Linear(1, 1)
        >>> plane = slices(line, torch.nn.functional.mse_loss, (x, line(x).detach()), points=5)
        >>> float(plane.loss[2, 2])
        0.0

    """
    if isinstance(points, bool) or not isinstance(points, int) or points < 3 or points % 2 == 0:
        raise InputError(f"points must be an odd number of at least 3, got {points!r}")
    if not 0 < span < float("inf"):
        raise InputError(f"span must be a positive number, got {span!r}")
    functional = Functional(model, loss, data, **options)
    D = _directions(functional, directions, normalize, seed)
    theta, steps = functional.point(), torch.linspace(-span, span, points, dtype=torch.float64)
    steps[points // 2] = 0.0

    def row(i: int) -> list[float]:
        start = theta + float(steps[i]) * D[0]
        return [float(functional.value(start + float(b) * D[1])) for b in steps]

    settings = {"span": span, "points": points}
    identity = fingerprint([functional], (theta, D), settings) if folder else ""
    file = File(folder) / "slice.json" if folder else None
    rows = Records(file, identity, points).fill(row, progress)
    found = torch.tensor([[number(v) for v in row] for row in rows], dtype=torch.float64)
    return Slice(steps, steps.clone(), found, D, "given" if directions else normalize)


def _directions(
    functional: Functional, given: Sequence[Tensor] | None, normalize: str, seed: int
) -> Tensor:
    if given is not None:
        if len(given) != 2:
            raise InputError(f"a plane needs two directions, got {len(given)}")
        for direction in given:
            functional.flat.check(direction)
        return torch.stack([d.to(functional.device, functional.dtype) for d in given])
    random = generator(seed, "slice")
    return torch.stack([random_direction(functional, random, normalize) for _ in range(2)])
