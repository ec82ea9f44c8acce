"""What can be done to a target so that the rest becomes simpler, and how to undo it."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import sympy
import torch
from jaxtyping import Float
from torch import Tensor


@dataclass(frozen=True)
class Transform:
    """T and its inverse.

    Attributes:
        name: What it is called.
        forward: y ↦ T(y).
        inverse: SymPy's T⁻¹, of the expression and the sign of y.
        fits: Whether T can be undone for such y.

    """

    name: str
    forward: Callable[[Tensor], Tensor]
    inverse: Callable[[sympy.Expr, int], sympy.Expr]
    fits: Callable[[Tensor], bool]


def _any(y: Tensor) -> bool:
    return True


def _one_sign(y: Tensor) -> bool:
    return bool((y > 0).all() or (y < 0).all())


def _positive(y: Tensor) -> bool:
    return bool((y > 0).all())


def _is_arc(y: Tensor) -> bool:
    # A sine that was undone covers a good part of ±π/2.
    return bool((y.abs() <= torch.pi / 2 + 1e-12).all() and y.abs().max() > 0.5)


TRANSFORMS = (
    Transform("y", lambda y: y, lambda e, s: e, _any),
    Transform("1/y", lambda y: 1 / y, lambda e, s: 1 / e, _one_sign),
    Transform("y^2", lambda y: y * y, lambda e, s: s * sympy.sqrt(e), _one_sign),
    Transform("log y", lambda y: y.log(), lambda e, s: sympy.exp(e), _positive),
    Transform("1/y^2", lambda y: y**-2, lambda e, s: s / sympy.sqrt(e), _one_sign),
    Transform("sqrt y", lambda y: y.sqrt(), lambda e, s: e**2, _positive),
    Transform("1/sqrt y", lambda y: y.rsqrt(), lambda e, s: e**-2, _positive),
    Transform("sin y", lambda y: y.sin(), lambda e, s: sympy.asin(e), _is_arc),
    Transform(
        "exp y", lambda y: y.exp(), lambda e, s: sympy.log(e), lambda y: bool(y.abs().max() < 50)
    ),
)
"""In the order of trying."""


def transformed(
    y: Float[Tensor, " N"],
) -> Iterator[tuple[Transform, Float[Tensor, " N"], int]]:
    """Each transform that fits, T(y), and the sign of y that its inverse needs."""
    sign = -1 if (y < 0).all() else 1
    for transform in TRANSFORMS:
        if transform.fits(y):
            t = transform.forward(y)
            if torch.isfinite(t).all() and t.std() > 1e-9 * t.abs().max():
                yield transform, t, sign
