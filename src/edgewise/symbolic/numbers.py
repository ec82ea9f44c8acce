"""Floating-point numbers read as fractions, and as fractions of π, e and roots."""

import math
from fractions import Fraction

import sympy

_UNITS: tuple[tuple[sympy.Expr, int], ...] = (
    (sympy.Integer(1), 2000),
    (sympy.pi, 300),
    (1 / sympy.pi, 300),
    (sympy.sqrt(2), 60),
    (sympy.sqrt(3), 60),
    (sympy.sqrt(sympy.pi), 60),
    (1 / sympy.sqrt(sympy.pi), 60),
    (1 / sympy.sqrt(2 * sympy.pi), 60),
    (sympy.pi**2, 60),
    (1 / sympy.pi**2, 60),
    (sympy.E, 30),
    (1 / sympy.E, 30),
    (sympy.sqrt(5), 30),
    (sympy.log(2), 30),
)
"""Units, and how large numerator times denominator may be, so that chance hits stay rare."""

_VALUES = [(unit, float(unit), limit) for unit, limit in _UNITS]


def simple_number(value: float, tolerance: float = 1e-9, largest: int = 2000) -> sympy.Expr | None:
    """The simplest of a few thousand exact numbers within a relative tolerance, or None.

    Args:
        value: The number.
        tolerance: How far off it may be, relative to it.
        largest: How large numerator times denominator may be.

    Example:
        >>> simple_number(2.0943951023931953), simple_number(0.12345)
        (2*pi/3, None)

    """
    if value == 0:
        return sympy.Integer(0)
    if not math.isfinite(value):
        return None
    best: tuple[float, sympy.Expr] | None = None
    for rank, (unit, size, limit) in enumerate(_VALUES):
        fraction = Fraction(abs(value) / size).limit_denominator(100)
        p, q = fraction.numerator, fraction.denominator
        if (
            p == 0
            or p * q > min(limit, largest)
            or abs(p / q * size - abs(value)) > tolerance * abs(value)
        ):
            continue
        cost = p * q + (4 * rank if rank else 0)
        if best is None or cost < best[0]:
            sign = -1 if value < 0 else 1
            best = (cost, sympy.Rational(sign * p, q) * unit)
    return None if best is None else best[1]


def number(value: float, tolerance: float = 1e-15) -> sympy.Expr:
    """An exact number if there is a simple one within ``tolerance``, else all 17 digits.

    Example:
        >>> number(0.5), number(0.12345)
        (1/2, 0.12345000000000000)

    """
    exact = simple_number(value, tolerance)
    return sympy.Float(value, 17) if exact is None else exact
