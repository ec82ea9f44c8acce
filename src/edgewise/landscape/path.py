"""The loss along a straight line between two states."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path as File
from typing import Any

import torch
from torch import Tensor, nn

from edgewise.core import InputError
from edgewise.curvature import Functional
from edgewise.landscape.certificate import Certificate, Least, certify, least
from edgewise.landscape.knots import State, flat_state
from edgewise.landscape.operators import Data, Loss
from edgewise.landscape.records import Progress, Records, fingerprint, number

ALPHAS = tuple(-1.5 + 3.5 * i / 49 for i in range(50))
"""From before the start to beyond the end."""


@dataclass(frozen=True, eq=False)
class Path:
    """The loss at θ(α) = (1 - α) θ_0 + α θ_1.

    Attributes:
        alphas: Where, ascending.
        losses: The loss there, for each of the data by name.
        slopes: φ'(α) on the first data.
        bends: φ''(α) = dᵀ H d on the first data, d = θ_1 - θ_0.
        leasts: The smallest eigenvalue of the Hessian there, where it was asked for.
        certificate: Whether the loss on the first data is convex.
        transfer: The relative error of bringing each end to the model's knots.

    """

    alphas: tuple[float, ...]
    losses: dict[str, tuple[float, ...]]
    slopes: tuple[float, ...]
    bends: tuple[float, ...]
    leasts: tuple[Least, ...] | None
    certificate: Certificate
    transfer: tuple[float, float]

    @property
    def barrier(self) -> dict[str, float]:
        """For each of the data: how far the loss between the ends rises above their chord."""
        return {name: _barrier(self.alphas, f) for name, f in self.losses.items()}


def interpolate(
    model: nn.Module,
    theta_0: State,
    theta_1: State,
    loss: Loss,
    data: Data | Mapping[str, Data],
    alphas: Sequence[float] = ALPHAS,
    *,
    eigenvalues: bool = False,
    seed: int = 0,
    folder: str | File | None = None,
    progress: Progress | None = None,
    **options: Any,
) -> Path:
    r"""The loss along the line through two states, and whether it is convex.

    .. math::
        φ(α) = f((1 - α)\, θ_0 + α\, θ_1), \qquad φ'' = d^\top H d, \quad d = θ_1 - θ_0

    Only trained parameters move. Buffers, and so a KAN's knots, are the model's all along: knots
    that are interpolated too turn over beyond the ends, and the loss has a kink that is none of
    the model's. States with other knots are brought to the model's first, and the error of that
    is told. The model itself is not changed.

    Args:
        model: The model, with the knots of the line.
        theta_0: The state at α = 0: a flat vector, a state dict or a model.
        theta_1: The state at α = 1.
        loss: ``loss(prediction, target)``, the mean over examples.
        data: ``(x, y)`` batches, one such pair, or several of these by name. Curvature is that on
            the first. Names ``"fresh/0"``, ``"fresh/1"``, … are drawn as one band.
        alphas: Where to look.
        eigenvalues: Whether to find the smallest eigenvalue of the Hessian at each point.
        seed: Of the start vectors for the eigenvalues.
        folder: Where ``path.json`` keeps each point as it is done; called again with the same
            arguments, it goes on.
        progress: Called with (points done, points).
        options: ``params``, ``dtype``, ``chunk_size``, ``keep``, as in
            :class:`edgewise.curvature.Functional`.

    Raises:
        InputError: If a state does not fit, alphas or data are empty, or the folder holds others.

    Example:
        >>> from edgewise.landscape import interpolate
        >>> x = torch.linspace(-1, 1, 10)[:, None]
        >>> line, ends = torch.nn.Linear(1, 1), (torch.zeros(2), torch.ones(2))
        >>> path = interpolate(line, *ends, torch.nn.functional.mse_loss, (x, x), [0, 0.5, 1])
        >>> path.certificate.verdict
        'no violation of convexity along the line at 3 points'

    """
    alphas = tuple(sorted(float(a) for a in alphas))
    if not alphas:
        raise InputError("alphas are empty: give at least one point of the line")
    named = _by_name(data)
    functionals = {name: Functional(model, loss, d, **options) for name, d in named.items()}
    first = next(iter(functionals.values()))
    (start, e0), (end, e1) = (flat_state(first, state) for state in (theta_0, theta_1))

    def point(i: int) -> dict[str, Any]:
        theta = torch.lerp(start, end, alphas[i])
        return _point(functionals, theta, end - start, seed if eigenvalues else None)

    settings = {"alphas": alphas, "eigenvalues": eigenvalues, "seed": seed, "names": list(named)}
    identity = fingerprint(functionals.values(), (start, end), settings) if folder else ""
    file = File(folder) / "path.json" if folder else None
    rows = Records(file, identity, len(alphas)).fill(point, progress)
    losses = {name: tuple(number(row["losses"][name]) for row in rows) for name in functionals}
    leasts = tuple(Least(**row["least"]) for row in rows) if eigenvalues else None
    slopes, bends = (tuple(number(row[key]) for row in rows) for key in ("slope", "bend"))
    eps = torch.finfo(first.dtype).eps
    certificate = certify(alphas, next(iter(losses.values())), bends, leasts, eps)
    return Path(alphas, losses, slopes, bends, leasts, certificate, (e0, e1))


def _by_name(data: Data | Mapping[str, Data]) -> dict[str, Data]:
    named = dict(data) if isinstance(data, Mapping) else {"data": data}
    if not named:
        raise InputError("the data are empty: give at least one set by name")
    return named


def _point(
    functionals: dict[str, Functional], theta: Tensor, d: Tensor, seed: int | None
) -> dict[str, Any]:
    """All that is recorded at one point."""
    first = next(iter(functionals.values()))
    row: dict[str, Any] = {
        "losses": {name: float(f.value(theta)) for name, f in functionals.items()},
        "slope": float(first.gradient(theta) @ d),
        "bend": float(d @ (first.hessian(theta) @ d)),
    }
    if seed is not None:
        row["least"] = vars(least(first, theta, seed))
    return row


def _barrier(alphas: Sequence[float], values: Sequence[float]) -> float:
    a, f = (torch.tensor(list(s), dtype=torch.float64) for s in (alphas, values))
    inside = (a >= 0) & (a <= 1)
    if int(inside.sum()) < 2:
        return 0.0
    a, f = a[inside], f[inside]
    t = (a - a[0]) / (a[-1] - a[0])
    return float((f - ((1 - t) * f[0] + t * f[-1])).max())
