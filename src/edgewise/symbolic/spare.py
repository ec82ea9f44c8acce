"""No more constants than noisy data can tell."""

import math
from collections.abc import Sequence

import numpy as np
import sympy
import torch
from torch import Tensor

from edgewise.core import InputError
from edgewise.symbolic.compile import from_expression
from edgewise.symbolic.formula import complexity, formula, to_function
from edgewise.symbolic.jacobian import Coordinates
from edgewise.symbolic.numbers import simple_number
from edgewise.symbolic.polish import polish
from edgewise.symbolic.tidy import gather, snap_numbers

_ROWS = 3000
"""How many rows constants are fitted to; all of them judge."""
_MOST = 14
"""Formulas with more constants are fitted, but not made simpler."""


def spare(expression: sympy.Expr, names: Sequence[str], x: np.ndarray, y: np.ndarray) -> sympy.Expr:
    """The expression fitted to noisy data, with each constant 0 or simple that may be so.

    A change is kept if it lowers N log(mean squared error) + (number of signs) log N, the Bayesian
    information criterion, once the other constants are fitted again.

    Args:
        expression: The expression.
        names: What the columns of x are called.
        x: Inputs (N, I).
        y: The target (N,).

    Example:
        >>> x = np.linspace(1, 2, 500)[:, None]
        >>> y = x[:, 0] / 2 + 0.01 * np.random.default_rng(0).normal(size=500)
        >>> t = sympy.Symbol("t", real=True)
        >>> spare(sympy.Float(0.49) * t + sympy.Float(0.01), ["t"], x, y)
        t/2

    """
    best = _fitted(expression, names, x, y)
    least = min((_length(e, names, x, y), k) for k, e in enumerate((best, expression)))
    best, least = (best, expression)[least[1]], least[0]
    if len(best.atoms(sympy.Float)) > _MOST:
        return best
    place = 0
    while place < len(floats := sorted(best.atoms(sympy.Float), key=abs)):
        for simple in _simpler(floats[place]):
            trial = best.xreplace({floats[place]: simple})
            if trial.free_symbols:
                trial = _fitted(trial, names, x, y)
                length = _length(trial, names, x, y)
                if length < least:
                    best, least = trial, length
                    break
        else:
            place += 1
    return best


def _simpler(value: sympy.Float) -> list[sympy.Expr]:
    """0, and what the number may be when it is known to 1 %."""
    close = simple_number(float(value), 1e-2, largest=12)
    return [sympy.Integer(0), *([] if close is None else [close])]


def _fitted(
    expression: sympy.Expr, names: Sequence[str], x: np.ndarray, y: np.ndarray
) -> sympy.Expr:
    """With those constants fitted that are floating-point numbers; as it was if it can't be."""
    if not expression.atoms(sympy.Float):
        return expression
    try:
        model = from_expression(expression, names)
    except InputError:
        return expression
    theta = Coordinates(model).read()
    # What is 0 or 1 is not written down, and exact numbers are meant.
    exact = {abs(float(n)) for n in expression.atoms(sympy.Rational)} | {0.0, 1.0}
    free = torch.tensor([abs(v) not in exact for v in theta.tolist()])
    if not free.any():
        return expression
    rows = slice(None, None, max(1, len(x) // _ROWS))
    inputs, target = _tensor(x[rows]), _tensor(y[rows, None])
    polish(model, inputs, target, steps=20, patience=3, free=free)
    try:
        found = formula(model, names)
    except InputError:
        return expression
    return min((snap_numbers(e, 1e-13) for e in (found, gather(found))), key=_signs)


def _tensor(values: np.ndarray) -> Tensor:
    return torch.from_numpy(np.ascontiguousarray(values))


def _length(expression: sympy.Expr, names: Sequence[str], x: np.ndarray, y: np.ndarray) -> float:
    """The criterion, infinite where the expression is no real number."""
    if expression.has(sympy.nan, sympy.zoo, sympy.oo, sympy.I):
        return math.inf
    error = float(np.mean((to_function(expression, names)(x) - y) ** 2))
    if not math.isfinite(error):
        return math.inf
    return len(y) * math.log(max(error, 1e-300)) + _signs(expression) * math.log(len(y))


def _signs(expression: sympy.Expr) -> int:
    return complexity(expression) + 2 * len(expression.atoms(sympy.Float))
