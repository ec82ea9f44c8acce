r"""What becomes of the target if inputs are scaled together.

If :math:`y(λ x_i, λ^{q_m} x_m, …) = λ^p\, y(x)` for all λ, then (Euler)

.. math::
    x_i \frac{∂y}{∂x_i} + \sum_m q_m x_m \frac{∂y}{∂x_m} = p\, y,

which is linear in p and q: least squares on the derivatives of a surrogate find them, wherever y is
negative or zero too. Then :math:`y = x_i^p\, F(x_m x_i^{-q_m}, …)`: one input less.
"""

import itertools
from fractions import Fraction
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor


class Scaling(NamedTuple):
    """Input i goes: y = xᵢᵖ F(xₘ xᵢ^(-qₘ), …).

    Attributes:
        i: The input that goes.
        p: The power of it that is a factor.
        q: For each other input that it goes into, its power.
        error: What share of the derivative this leaves unexplained.

    """

    i: int
    p: Fraction
    q: dict[int, Fraction]
    error: float


def scalings(
    y: Float[Tensor, " N"],
    euler: Float[Tensor, "N I"],
    positive: list[int],
    tolerance: float,
    largest: int = 2,
) -> list[Scaling]:
    """The ways to be rid of an input, those that touch the fewest others first.

    Args:
        y: The function's values.
        euler: x ∂y/∂x for each input.
        positive: The inputs that can be scaled.
        tolerance: The share of a derivative that may be left, for the derivatives are not exact.
        largest: Into how many others an input may go.

    """
    found = []
    for count in range(largest + 1):
        for i in positive:
            others = [m for m in positive if m != i]
            for into in itertools.combinations(others, count):
                scaling = _scaling(y, euler, i, into, tolerance)
                if scaling is not None:
                    found.append(scaling)
        if found:
            break
    return sorted(found, key=lambda s: (_weight(s), s.error))


def _scaling(
    y: Tensor, euler: Tensor, i: int, into: tuple[int, ...], tolerance: float
) -> Scaling | None:
    """The powers p and q, if they are simple fractions and explain the derivative."""
    A = torch.stack([y, *(-euler[:, m] for m in into)], dim=1)
    size = float(euler[:, i].square().mean())
    if size == 0:
        return Scaling(i, Fraction(0), {}, 0.0) if not into else None
    solution = torch.linalg.lstsq(A, euler[:, i : i + 1], driver="gelsd").solution[:, 0]
    exact = [Fraction(v).limit_denominator(4) for v in solution.tolist()]
    off = max(abs(float(f) - v) for f, v in zip(exact, solution.tolist(), strict=True))
    if off > 0.06 or any(abs(f) > 6 for f in exact) or not all(exact[1:]):
        return None
    rounded = torch.tensor([float(f) for f in exact], dtype=y.dtype)
    # Of what differs from a mere factor, not of all: a large factor would hide the rest.
    error = float((A @ rounded - euler[:, i]).square().mean()) / size
    if error > tolerance:
        return None
    return Scaling(i, exact[0], dict(zip(into, exact[1:], strict=True)), error)


def _weight(found: Scaling) -> float:
    powers = [found.p, *found.q.values()]
    return sum(abs(f.numerator) * f.denominator for f in powers)
