"""Levenberg–Marquardt on the constants of a symbolic network, down to machine precision."""

from collections.abc import Callable
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from edgewise.symbolic.jacobian import Coordinates
from edgewise.symbolic.network import SymbolicKAN

Penalty = Callable[[Tensor], Tensor]
"""θ ↦ Q, for a penalty θᵀ Q θ beside the mean squared error."""


class Polished(NamedTuple):
    """How a descent ended: the mean squared error and the number of steps."""

    error: float
    steps: int


@torch.no_grad()
def polish(
    model: SymbolicKAN,
    x: Float[Tensor, "N I"],
    y: Float[Tensor, "N O"],
    *,
    steps: int = 50,
    target: float = 1e-30,
    patience: int = 6,
    weight: Float[Tensor, " N"] | None = None,
    free: Float[Tensor, " n"] | None = None,
    penalty: Penalty | None = None,
    give_up: Callable[[int, float], bool] | None = None,
) -> Polished:
    r"""Moves the constants to a least mean squared error, in place.

    Each step solves (Marquardt 1963)

    .. math::
        (J^\top J + Q + μ D)\, δ = -(J^\top r + Q θ), \qquad D = \mathrm{diag}(J^\top J)

    and is taken only if it lowers the objective, so that one into NaN, over a pole or out of a
    domain never is. The damping μ lives with constants that can stand in for each other.

    Args:
        model: The network, in float64.
        x: Inputs.
        y: Targets.
        steps: The most steps.
        target: The mean squared error that is good enough.
        patience: How many steps without a gain of one part in a thousand end it.
        weight: A weight for each sample, with mean 1.
        free: Which constants may move, in the order of :class:`Coordinates`.
        penalty: A quadratic penalty, newly asked for at each step.
        give_up: Called with the step and the error; a true answer ends it.

    """
    place = Coordinates(model)
    theta = place.read()
    moving = slice(None) if free is None else free.nonzero().squeeze(1)
    root = (1 / y.numel()) ** 0.5 * (1 if weight is None else weight.sqrt().unsqueeze(1))
    error = _error(place, theta, x, y, root)
    best, since, mu, step = error, 0, 1e-3, 0
    for step in range(1, steps + 1):
        if not error > target:
            break
        output, J = place.jacobian(x)
        r, J = ((output - y) * root).reshape(-1), J[..., moving]
        J = (J * (root if isinstance(root, float) else root.unsqueeze(-1))).flatten(0, 1)
        Q = None if penalty is None else penalty(theta)[moving][:, moving]
        found = _descend(place, theta, moving, (r, J, Q), (x, y, root), error, mu)
        if found is None:
            break
        theta, error, mu = found
        since = 0 if error < 0.999 * best else since + 1
        best = min(best, error)
        if since >= patience or (give_up is not None and give_up(step, error)):
            break
    place.write(theta)
    return Polished(error, step)


def _descend(
    place: Coordinates,
    theta: Tensor,
    moving: slice | Tensor,
    system: tuple[Tensor, Tensor, Tensor | None],
    data: tuple,
    error: float,
    mu: float,
) -> tuple[Tensor, float, float] | None:
    """The first damped step that lowers the objective, or None if none does."""
    r, J, Q = system
    here = theta[moving]
    H, g = J.T @ J, J.T @ r
    objective = error
    if Q is not None:
        H, g = H + Q, g + Q @ here
        objective = error + float(here @ Q @ here)
    if not torch.isfinite(H).all():
        return None
    scale = H.diagonal().clamp(min=1e-12 * float(H.diagonal().max()) + 1e-300).sqrt()
    H = H / scale / scale.unsqueeze(1)
    g = g / scale
    for _ in range(12):
        A = H.clone()
        A.diagonal().add_(mu + 1e-14)
        L, info = torch.linalg.cholesky_ex(A)
        if not info:
            delta = torch.cholesky_solve(-g.unsqueeze(1), L).squeeze(1) / scale
            new = theta.clone()
            new[moving] = here + delta
            found = _error(place, new, *data)
            there = new[moving]
            total = found if Q is None else found + float(there @ Q @ there)
            if total < objective:
                return new, found, max(mu * 0.2, 1e-12)
        mu = max(mu, 1e-12) * 5
        if mu > 1e8:
            break
    return None


def _error(place: Coordinates, theta: Tensor, x: Tensor, y: Tensor, root: float | Tensor) -> float:
    place.write(theta)
    error = float(((place.evaluate(x) - y) * root).square().sum())
    return error if error == error else float("inf")
