"""How sharp a minimum is, in several measures."""

import math
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from edgewise.core import InputError, generator
from edgewise.curvature import Estimate, Functional, extreme_eigenpairs
from edgewise.curvature import trace as trace_of
from edgewise.landscape.operators import Data, Loss, has_matrix, in_float64, operator


@dataclass(frozen=True)
class Sharpness:
    """Measures of one state; none is invariant to everything, so there are several.

    Attributes:
        loss: f(θ).
        largest: The largest eigenvalue of the Hessian, λ_1.
        trace: tr H.
        per_parameter: tr H / n.
        sam: max f(θ + ε) - f(θ) over ‖ε‖ ≤ ρ, by gradient ascent (Foret et al. 2021).
        adaptive: The same over :math:`‖ε / |θ|‖ ≤ ρ` (Kwon et al. 2021), which
            scaling weights leaves.
        critical_rate: The largest step of gradient descent that does not raise the loss; at
            a quadratic with one eigenvalue it is 2 / λ_1. Infinite where no step up to 1e12 does.
        rho: ρ.

    """

    loss: float
    largest: float
    trace: Estimate
    per_parameter: float
    sam: float
    adaptive: float
    critical_rate: float
    rho: float


def sharpness(
    model: nn.Module,
    loss: Loss,
    data: Data,
    *,
    rho: float = 0.05,
    ascents: int = 10,
    products: int = 100,
    seed: int = 0,
    **options: Any,
) -> Sharpness:
    """The sharpness of the loss at the model's parameters.

    Args:
        model: The model; it is not changed.
        loss: ``loss(prediction, target)``, the mean over examples.
        data: ``(x, y)`` batches, or one such pair.
        rho: The radius ρ of the neighbourhoods.
        ascents: Steps of gradient ascent within them.
        products: Products for the trace.
        seed: Of all random vectors.
        options: As in :class:`edgewise.curvature.Functional`.

    Raises:
        InputError: If ``rho`` is not positive.

    Example:
        >>> from edgewise.landscape import sharpness
        >>> x = torch.tensor([[1.0, 0.0], [0.0, 2.0]])
        >>> line = torch.nn.Linear(2, 1, bias=False)
        >>> round(sharpness(line, torch.nn.functional.mse_loss, (x, x[:, :1])).largest, 5)
        4.0

    """
    if not 0 < rho < math.inf:
        raise InputError(f"rho must be a positive number, got {rho!r}")
    functional = Functional(model, loss, data, **options)
    H = operator(functional)
    found = extreme_eigenpairs(
        H,
        functional.size,
        1,
        tol=in_float64(functional.dtype),
        values_only=True,
        generator=generator(seed, "sharpness"),
    )
    method = "exact" if has_matrix(functional) else "auto"
    tr = trace_of(
        H, functional.size, products, method=method, generator=generator(seed, "sharpness trace")
    )
    theta = functional.point()
    here, g = functional.value_and_gradient(theta)
    start = found.vectors[:, 0]
    start = start if float(start @ g) >= 0 else -start
    one = torch.ones_like(theta)
    plain, adaptive = (
        _rise(functional, theta, start, rho, scale, ascents) for scale in (one, theta.abs())
    )
    return Sharpness(
        loss=float(here),
        largest=float(found.values[0]),
        trace=tr,
        per_parameter=tr.value / functional.size,
        sam=plain,
        adaptive=adaptive,
        critical_rate=critical_rate(functional, theta),
        rho=rho,
    )


def _rise(
    functional: Functional, theta: Tensor, start: Tensor, rho: float, scale: Tensor, ascents: int
) -> float:
    """The highest loss met on the way up within ‖ε / scale‖ ≤ ρ, less that at θ.

    At a minimum the gradient is no guide, so the way begins along the sharpest direction.
    """
    here = float(functional.value(theta))
    best, ahead = 0.0, start * scale
    for _ in range(ascents):
        if not float(ahead.norm()):
            return best
        at = theta + rho * scale * ahead / ahead.norm()
        value, gradient = functional.value_and_gradient(at)
        best = max(best, float(value) - here)
        ahead = gradient * scale
    return best


def critical_rate(functional: Functional, theta: Tensor) -> float:
    """The largest η with f(θ - η g) ≤ f(θ): doubled until the loss rises, then bisected."""
    here, g = functional.value_and_gradient(theta)
    if not float(g.norm()):
        return math.inf
    lower = lambda eta: float(functional.value(theta - eta * g)) <= float(here)  # noqa: E731
    low, high = 0.0, 1e-3
    while lower(high):
        low, high = high, 2 * high
        if high > 1e12:
            return math.inf
    while high - low > 1e-3 * high and high > 1e-12:
        middle = (low + high) / 2
        low, high = (middle, high) if lower(middle) else (low, middle)
    return low
