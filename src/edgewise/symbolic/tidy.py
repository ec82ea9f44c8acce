"""An expression in plain form: constants gathered, brought to simple numbers, checked on data."""

import math
from collections.abc import Sequence

import numpy as np
import sympy

from edgewise.symbolic.formula import complexity, to_function
from edgewise.symbolic.numbers import simple_number

_ODD = (sympy.sin, sympy.tan, sympy.tanh, sympy.sinh, sympy.asin, sympy.atan, sympy.atanh)
_EXPANDED = 120
"""Longer expressions are not multiplied out."""
_FACTORED = 60
"""Longer ones are not factored."""
_EVEN = (sympy.cos, sympy.cosh, sympy.Abs)


def tidy(
    expression: sympy.Expr,
    names: Sequence[str],
    x: np.ndarray,
    y: np.ndarray,
    tolerance: float = 1e-9,
) -> sympy.Expr:
    """The expression with constants gathered and made simple, as long as it fits the data as well.

    Args:
        expression: The expression.
        names: What the columns of x are called.
        x: Inputs (N, I).
        y: What it should give (N,).
        tolerance: How far a constant may move, relative to it.

    Returns:
        The simplest form that is at most 1 % worse on the data, or good to 12 digits; the
        expression itself if none is.

    Example:
        >>> x = np.linspace(0.1, 1, 20)[:, None]
        >>> e = sympy.sympify("1.5*exp(0.5*(6.2831853071795864*t + 0.2))")
        >>> y = to_function(e, ["t"])(x)
        >>> tidy(e, ["t"], x, y)
        1.65775637711347*exp(pi*t)

    """
    before = _error(expression, names, x, y)
    # A term of 1e-15 is a rounding error, not a part of the formula.
    allowed = max(1.01 * before, 3e-13)
    gathered = gather(expression)
    forms = [gathered]
    forms.append(snap_numbers(gathered, tolerance))
    forms.append(snap_numbers(gather(forms[-1]), tolerance))
    if complexity(gathered) < _EXPANDED:
        # Products of sums may hold terms that cancel.
        expanded = gather(sympy.expand(gathered))
        forms.append(snap_numbers(gather(snap_numbers(expanded, tolerance)), tolerance))
    # A rough constant may still be a simple one, as the data say below.
    forms.append(snap_numbers(gather(snap_numbers(gathered, 1e3 * tolerance)), 1e3 * tolerance))
    forms += [factored for form in forms[1:3] for factored in _factored(form)]
    forms += [_without_bars(form, names, x) for form in forms]
    best = expression
    for form in forms:
        if form.has(sympy.nan, sympy.zoo, sympy.I) or _error(form, names, x, y) > allowed:
            continue
        if _length(form) <= _length(best):
            best = form
    return best


def _without_bars(expression: sympy.Expr, names: Sequence[str], x: np.ndarray) -> sympy.Expr:
    """|e| as e or -e where e has one sign on the data."""
    found = {}
    for bars in expression.atoms(sympy.Abs):
        values = to_function(bars.args[0], names)(x)
        if (values >= 0).all() or (values <= 0).all():
            found[bars] = bars.args[0] if values.mean() > 0 else -bars.args[0]
    return expression.xreplace(found) if found else expression


def _factored(expression: sympy.Expr) -> list[sympy.Expr]:
    """Common factors taken out, where all numbers are exact and it takes no time."""
    if _floats(expression) or complexity(expression) > _FACTORED:
        return []
    return [sympy.factor(expression), sympy.factor(expression, deep=True)]


def _length(expression: sympy.Expr) -> int:
    """The complexity, where a number that is not simple counts for more."""
    return complexity(expression) + 12 * _floats(expression)


def _floats(expression: sympy.Expr) -> int:
    return len(expression.atoms(sympy.Float))


def _error(expression: sympy.Expr, names: Sequence[str], x: np.ndarray, y: np.ndarray) -> float:
    """Root mean square error, relative to the spread of y."""
    residual = to_function(expression, names)(x) - y
    error = math.sqrt(np.mean(residual**2) / max(np.var(y), 1e-300))
    return error if math.isfinite(error) else math.inf


def snap_numbers(expression: sympy.Expr, tolerance: float, largest: int = 2000) -> sympy.Expr:
    """Every floating-point number that is nearly a simple one replaced by it.

    Args:
        expression: The expression.
        tolerance: How far a number may move, relative to it.
        largest: How large numerator times denominator may become.

    Example:
        >>> snap_numbers(sympy.sympify("0.50000000001*x**2.0"), 1e-9)
        x**2/2

    """
    found = {}
    for value in expression.atoms(sympy.Float):
        exact = simple_number(float(value), tolerance, largest)
        if exact is not None:
            found[value] = exact
    return expression.xreplace(found)


def gather(expression: sympy.Expr) -> sympy.Expr:
    """Constants brought to where they can be read, from the inside out; the value stays.

    Sums of multiples are multiplied out, factors come out of powers, logarithms and exponentials,
    phases are brought to [0, π).

    Example:
        >>> t = sympy.Symbol("t", real=True)
        >>> gather(sympy.sin(t - 2 * sympy.pi) * 2 + 3 * (2 * t + 1))
        6*t + 2*sin(t) + 3

    """
    if not expression.args or expression.is_number:
        return expression
    args = [gather(argument) for argument in expression.args]
    expression = expression.func(*args)
    if expression.is_Add:
        return _gather_sum(expression)
    if expression.is_Mul:
        return _gather_product(expression)
    if isinstance(expression, sympy.exp):
        return _gather_exponential(expression)
    if expression.is_Pow:
        return _gather_power(expression)
    if isinstance(expression, sympy.log):
        return _gather_logarithm(expression)
    if isinstance(expression, (sympy.sin, sympy.cos)):
        return _gather_wave(expression)
    if isinstance(expression, (*_ODD, *_EVEN)):
        return _gather_sign(expression)
    return expression


def _leading(expression: sympy.Expr) -> float:
    """The coefficient of the largest size in a sum; its sign is that of the first term."""
    coefficients = [float(t.as_coeff_Mul()[0]) for t in sympy.Add.make_args(expression)]
    variable = [
        float(t.as_coeff_Mul()[0]) for t in sympy.Add.make_args(expression) if t.free_symbols
    ]
    return (variable or coefficients)[0]


def _gather_sum(expression: sympy.Expr) -> sympy.Expr:
    """Multiples of sums multiplied out; terms that rounding left are dropped."""
    terms = []
    for term in sympy.Add.make_args(expression):
        c, rest = term.as_coeff_Mul()
        terms += [c * t for t in rest.args] if rest.is_Add else [term]
    expression = sympy.Add(*terms)
    if not expression.is_Add:
        return expression
    sizes = [abs(complex(t.as_coeff_Mul()[0])) for t in expression.args]
    largest = max(sizes)
    kept = [t for t, s in zip(expression.args, sizes, strict=True) if s > 1e-10 * largest]
    return sympy.Add(*kept)


def _gather_product(expression: sympy.Expr) -> sympy.Expr:
    """In each factor that is a sum the first coefficient becomes 1."""
    if not expression.is_Mul:
        return expression
    c, rest = expression.as_coeff_Mul()
    factors = list(sympy.Mul.make_args(rest))
    if len(factors) == 1 and factors[0].is_Add:
        return sympy.Add(*[c * t for t in factors[0].args])
    found = []
    for factor in factors:
        base, n = factor.as_base_exp()
        if base.is_Add and n.is_Integer:
            lead = _leading(base)
            c, base = c * sympy.Float(lead, 17) ** n, _divided(base, lead)
            factor = base**n
        found.append(factor)
    return c * sympy.Mul(*found)


def _divided(expression: sympy.Expr, by: float) -> sympy.Expr:
    return sympy.Add(*[t / sympy.Float(by, 17) for t in sympy.Add.make_args(expression)])


def _gather_exponential(expression: sympy.Expr) -> sympy.Expr:
    constant, rest = expression.args[0].as_coeff_Add()
    return sympy.exp(constant) * sympy.exp(rest) if constant else expression


def _gather_power(expression: sympy.Expr) -> sympy.Expr:
    base, n = expression.base, expression.exp
    if base.is_number:
        return expression
    c, rest = (_leading(base), None) if base.is_Add else base.as_coeff_Mul()
    if rest is None:
        rest = _divided(base, c)
    c = sympy.sympify(c)
    if not n.is_Integer and c.is_negative:
        c, rest = -c, -rest
        rest = sympy.Add(*[-t for t in sympy.Add.make_args(-rest)])
    return c**n * rest**n


def _gather_logarithm(expression: sympy.Expr) -> sympy.Expr:
    argument = expression.args[0]
    c, rest = (_leading(argument), None) if argument.is_Add else argument.as_coeff_Mul()
    if rest is None:
        c = abs(c)
        rest = _divided(argument, c)
    if c == 1 or float(c) <= 0:
        return expression
    return sympy.log(c) + sympy.log(rest)


def _gather_wave(expression: sympy.Expr) -> sympy.Expr:
    """The leading coefficient positive, the phase in [0, π), and a quarter turn is a cosine."""
    argument, sign = expression.args[0], 1
    if isinstance(expression, sympy.cos):
        argument = argument + sympy.pi / 2
    phase, rest = argument.as_coeff_Add()
    # SymPy keeps π/2 + 0.3 as it is.
    rest_terms = [t for t in sympy.Add.make_args(rest) if not t.is_number]
    phase = float(phase + sum(t for t in sympy.Add.make_args(rest) if t.is_number))
    rest = sympy.Add(*rest_terms)
    if rest == 0:
        return expression
    if _leading(rest) < 0:
        rest, phase, sign = -rest, -phase, -1
    turns = math.floor(phase / math.pi + 1e-9)
    phase -= turns * math.pi
    sign *= -1 if turns % 2 else 1
    if abs(phase) < 1e-9:
        return sign * sympy.sin(rest)
    if abs(phase - math.pi / 2) < 1e-9:
        return sign * sympy.cos(rest)
    return sign * sympy.sin(rest + sympy.Float(phase, 17))


def _gather_sign(expression: sympy.Expr) -> sympy.Expr:
    argument = expression.args[0]
    if argument.is_number or _leading(argument) >= 0:
        return expression
    positive = sympy.Add(*[-t for t in sympy.Add.make_args(argument)])
    found = expression.func(positive)
    return -found if isinstance(expression, _ODD) else found
