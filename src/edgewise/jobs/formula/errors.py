"""How well the data know the constants of a formula."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import sympy
from jaxtyping import Float
from scipy.optimize import least_squares

from edgewise.symbolic import to_function
from edgewise.symbolic.formula import complexity

_LONG = 60
"""Expressions of this many signs are put together as they are, without SymPy's rewriting."""

_STEP = float(np.finfo(float).eps) ** (1 / 3)
"""The best relative step of a central difference."""


class Constant(NamedTuple):
    """One number of a formula.

    Attributes:
        text: As it is written.
        value: What it is.
        error: Its standard error; 0 for a number that was recognised as a simple one, infinite
            for one that the data leave open, NaN where there are too few rows to tell.

    """

    text: str
    value: float
    error: float

    @property
    def simple(self) -> bool:
        """Whether it was recognised as a simple number, such as 3/2 or 2π."""
        return self.error == 0


def refit(
    expression: sympy.Expr, names: Sequence[str], x: Float[np.ndarray, "N I"], y: np.ndarray
) -> sympy.Expr:
    """The formula with its decimal constants at the least squares of all rows.

    A search looks at a sample of the rows; this looks at all of them. Simple numbers stay.

    Args:
        expression: The formula.
        names: What the columns of x are called.
        x: Inputs.
        y: The target (N,).

    Returns:
        The better of the two formulas.

    Example:
        >>> x = np.linspace(1, 2, 50)[:, None]
        >>> refit(sympy.sympify("2.4*t**2"), ["t"], x, 2.5 * x[:, 0] ** 2)
        2.5*t**2

    """
    function, start = _of_constants(expression, names, x)
    if not len(start):
        return expression

    def residual(scaled: np.ndarray) -> np.ndarray:
        r = function(scaled * start) - y
        return np.where(np.isfinite(r), r, 1e150)

    before = residual(np.ones(len(start)))
    found = least_squares(residual, np.ones(len(start)), method="trf", max_nfev=30)
    if not found.cost < 0.5 * before @ before:
        return expression
    new = [sympy.Float(value, 17) for value in found.x * start]
    return _exchanged(expression, dict(zip(_decimals(expression), new, strict=True)))


def constants(
    expression: sympy.Expr, names: Sequence[str], x: Float[np.ndarray, "N I"], y: np.ndarray
) -> list[Constant]:
    r"""The constants of a formula with their standard errors.

    With the residuals r of N rows and J their derivatives with respect to the p decimal constants,
    the covariance at a least-squares optimum is, to first order (Seber & Wild 1989, eq. 2.21),

    .. math::
        s^2\,(J^\top J)^{-1}, \qquad s^2 = \frac{\|r\|^2}{N - p}

    for residuals that are independent and of one size. Exponents and signs are structure, and are
    not listed; simple numbers are taken as known.

    Args:
        expression: The formula, at its optimum (:func:`refit`).
        names: What the columns of x are called.
        x: Inputs.
        y: The target (N,).

    Returns:
        The decimal constants in the order of their size, then the simple ones.

    Example:
        >>> x = np.linspace(1, 2, 51)[:, None]
        >>> y = 2.5 * x[:, 0] ** 2 / 3 + 0.01 * (-1.0) ** np.arange(51)
        >>> found = constants(sympy.sympify("2.5*t**2/3 + 1.7e-3"), ["t"], x, y)
        >>> [(c.text, round(c.error, 4)) for c in found]
        [('0.833333333333333', 0.0016), ('0.00170000000000000', 0.0041)]

    """
    function, values = _of_constants(expression, names, x)
    errors = _standard_errors(function, values, y)
    decimals = [
        Constant(str(number), float(number), float(error))
        for number, error in zip(_decimals(expression), errors, strict=True)
    ]
    simple = [Constant(str(number), float(number), 0.0) for number in _simple(expression)]
    return decimals + simple


def _decimals(expression: sympy.Expr) -> list[sympy.Float]:
    """The different decimal numbers of an expression, the largest first."""
    found = expression.atoms(sympy.Float)
    return sorted(found, key=lambda number: (-abs(float(number)), str(number)))


def _simple(expression: sympy.Expr) -> list[sympy.Expr]:
    """The exact numbers that stand as factors or terms, the largest first; not ±1."""
    found: set[sympy.Expr] = set()

    def look(part: sympy.Expr) -> None:
        if part.is_number:
            if not part.has(sympy.Float) and part not in (0, 1, -1):
                found.add(part)
            return
        if part.is_Pow:
            look(part.base if part.base is not sympy.E else part.exp)
            return
        if part.is_Mul or part.is_Add:
            numbers = [a for a in part.args if a.is_number]
            if len(numbers) > 1:
                look(part.func(*numbers))
            else:
                list(map(look, numbers))
        for argument in part.args:
            if not (argument.is_number and (part.is_Mul or part.is_Add)):
                look(argument)

    look(expression)
    return sorted(found, key=lambda number: (-abs(float(number)), str(number)))


def _of_constants(expression: sympy.Expr, names: Sequence[str], x: np.ndarray):
    """The formula on these rows as a function of its decimal constants, and their values."""
    decimals = _decimals(expression)
    stand_ins = [sympy.Symbol(f"constant {k}", real=True) for k in range(len(decimals))]
    opened = _exchanged(expression, dict(zip(decimals, stand_ins, strict=True)))
    inner = to_function(opened, [*names, *(s.name for s in stand_ins)])

    def function(values: np.ndarray) -> np.ndarray:
        columns = np.broadcast_to(values, (len(x), len(values)))
        return inner(np.concatenate([x, columns], axis=1))

    return function, np.array([float(number) for number in decimals])


def _exchanged(expression: sympy.Expr, exchange: dict) -> sympy.Expr:
    with sympy.evaluate(complexity(expression) < _LONG):
        return expression.xreplace(exchange)


def _standard_errors(function, values: np.ndarray, y: np.ndarray) -> np.ndarray:
    N, p = len(y), len(values)
    if not p:
        return np.zeros(0)
    if p >= N:
        return np.full(p, np.nan)
    J = np.empty((N, p))
    for k, h in enumerate(_STEP * np.abs(values)):
        step = h * np.eye(p)[k]
        J[:, k] = (function(values + step) - function(values - step)) / (2 * h)
    if not np.isfinite(J).all():
        return np.full(p, np.nan)
    r = function(values) - y
    return np.sqrt(r @ r / (N - p)) * _inverse_diagonal(J)


def _inverse_diagonal(J: np.ndarray) -> np.ndarray:
    """The roots of the diagonal of (JᵀJ)⁻¹; infinite where a direction has no effect."""
    size = np.sqrt((J * J).sum(0))
    open_ = size == 0
    size = np.where(open_, 1.0, size)
    _, s, V = np.linalg.svd(J / size, full_matrices=False)
    # Central differences are good to some ten digits.
    blind = s < 1e-8 * s.max()
    share = np.abs(V[blind]).max(axis=0, initial=0.0) > 1e-3
    root = np.sqrt(((V[~blind] / s[~blind, None]) ** 2).sum(0)) / size
    return np.where(open_ | share, np.inf, root)
