"""Simple functions of one input, without constants of their own, that terms are made of."""

from collections.abc import Callable
from typing import NamedTuple

import sympy
import torch
from torch import Tensor


class Atom(NamedTuple):
    """A function on tensors and in SymPy.

    Attributes:
        value: On tensors.
        expression: On expressions.
        cost: How far from simple; x has 1.
        needs: ``"positive"``, ``"nonzero"`` or nothing: of its argument.

    """

    value: Callable[[Tensor], Tensor]
    expression: Callable[[sympy.Expr], sympy.Expr]
    cost: float = 3.0
    needs: str = ""

    def allowed(self, z: Tensor) -> bool:
        """Whether it is smooth on these values."""
        if self.needs == "positive":
            return bool((z > 0).all())
        return not (self.needs and (((z > 0).any() and (z < 0).any()) or (z == 0).any()))


def power(n: str) -> Atom:
    """The power xⁿ, for a whole n or a half."""
    exponent = sympy.Rational(n)
    value, half = float(exponent), exponent.q > 1
    needs = "positive" if half else "nonzero" if value < 0 else ""
    cost = abs(value) + 0.5 * (value < 0) + half
    return Atom(lambda x: x**value, lambda e: e**exponent, cost, needs)


ONE = Atom(torch.ones_like, lambda e: sympy.Integer(1), 0.0)
LINE = power("1")
SIN = Atom(torch.sin, sympy.sin)
COS = Atom(torch.cos, sympy.cos)
EXP = Atom(torch.exp, sympy.exp)
FALL = Atom(lambda x: (-x).exp(), lambda e: sympy.exp(-e))
LOG = Atom(torch.log, sympy.log, needs="positive")
LEVELS: tuple[tuple[Atom, ...], ...] = (
    (ONE, LINE, power("2"), power("-1"), power("-2")),
    (SIN, COS, power("1/2"), power("-1/2"), power("3"), power("4")),
    (
        *(EXP, FALL, LOG, power("-3"), power("-4")),
        Atom(lambda x: x.sin() ** 2, lambda e: sympy.sin(e) ** 2, 4.0),
        Atom(lambda x: x.cos() ** 2, lambda e: sympy.cos(e) ** 2, 4.0),
        Atom(lambda x: x.sin() * x.cos(), lambda e: sympy.sin(e) * sympy.cos(e), 4.0),
        power("3/2"),
    ),
)
"""From the plain to the rare."""
