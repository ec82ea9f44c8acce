"""A network as an expression, and an expression as text."""

import keyword
from collections.abc import Callable, Sequence

import numpy as np
import sympy
from sympy.printing.codeprinter import PrintMethodNotImplementedError
from sympy.printing.numpy import NumPyPrinter, SciPyPrinter
from torch import nn

from edgewise.core import InputError
from edgewise.symbolic.layer import SPLINE, SymbolicLayer
from edgewise.symbolic.network import as_symbolic
from edgewise.symbolic.numbers import number

_LONG = 60
"""Expressions of this many signs are put together as they are, without SymPy's rewriting."""


def formula(model: nn.Module, names: Sequence[str] | None = None) -> sympy.Expr | list[sympy.Expr]:
    """What a network computes, as a SymPy expression: the same numbers to rounding.

    Constants that are simple numbers to the last digit, such as 0.5 or 3.141592653589793, are
    printed as such.

    Args:
        model: A network whose edges are all formulas.
        names: What the inputs are called; by default x1, x2, ...

    Returns:
        The expression, or a list of them if there are several outputs.

    Raises:
        InputError: If an edge is a spline, a constant is not finite, or the names do not fit.

    Example:
        >>> layers = [SymbolicLayer(2, [["x", "0"], ["0", "exp"]], arities=[2])]
        >>> formula(ew.symbolic.SymbolicKAN(layers), names=["m", "t"])
        m*exp(t)

    """
    model = as_symbolic(model)
    found = list(symbols(names, model.widths[0]))
    for k, layer in enumerate(model.layers):
        found = _outputs(k, layer, found)
    return found[0] if len(found) == 1 else found


def symbols(names: Sequence[str] | None, count: int) -> list[sympy.Symbol]:
    """Real symbols of these names, or x1, x2, ...

    Raises:
        InputError: If there are too few or too many, or two are the same.

    """
    if names is None:
        names = [f"x{k + 1}" for k in range(count)]
    names = [str(name) for name in names]
    if len(names) != count or len(set(names)) != count:
        raise InputError(f"there must be {count} different names, one for each input, got {names}")
    return [sympy.Symbol(name, real=True) for name in names]


def _outputs(k: int, layer: SymbolicLayer, inputs: list[sympy.Expr]) -> list[sympy.Expr]:
    for out, row in enumerate(layer.functions):
        for in_, name in enumerate(row):
            if name == SPLINE:
                raise InputError(
                    f"the edge {(k, out, in_)} is a spline, which has no formula: "
                    f"use snap(), or fix() and prune()"
                )
    terms = [[_number(float(value), f"a bias of layer {k}")] for value in layer.bias.detach()]
    nodes, start = [], 0
    # SymPy looks for symmetries of every sine it makes: minutes where the arguments are long.
    with sympy.evaluate(sum(map(complexity, inputs)) < _LONG):
        for n, edge in enumerate(layer.edges):
            where = f"the edge {(k, edge.out, edge.in_)}"
            a, b, c = (_number(float(z.detach()[n]), where) for z in (layer.a, layer.b, layer.c))
            argument = _plus([_times(a, inputs[edge.in_]), b])
            terms[edge.out].append(_times(c, edge.function.expression(argument)))
        sums = [_plus([*rest, bias]) for bias, *rest in terms]
        for arity in layer.arities:
            nodes.append(sympy.Mul(*sums[start : start + arity]) if arity > 1 else sums[start])
            start += arity
    return nodes


def _times(c: sympy.Expr, expression: sympy.Expr) -> sympy.Expr:
    return expression if c == 1 else sympy.Mul(c, expression)


def _plus(terms: list[sympy.Expr]) -> sympy.Expr:
    terms = [t for t in terms if t != 0] or [sympy.Integer(0)]
    return terms[0] if len(terms) == 1 else sympy.Add(*terms)


def _number(value: float, where: str) -> sympy.Expr:
    if not np.isfinite(value):
        raise InputError(f"{where} has the constant {value}; no formula can be written with it")
    return number(value)


def to_function(expression: sympy.Expr, names: Sequence[str]) -> Callable[[np.ndarray], np.ndarray]:
    """An expression as a function of an array with a column for each name.

    Example:
        >>> f = to_function(sympy.sympify("a**2 + b"), ["a", "b"])
        >>> f(np.array([[1.0, 2.0], [3.0, 4.0]]))
        array([ 3., 13.])

    """
    # By name and through symbols of our own: names such as "lambda" are no Python names.
    by_name = {str(s): s for s in expression.free_symbols}
    stand_ins = [sympy.Symbol(f"x{k}_", real=True) for k in range(len(names))]
    replaced = {
        by_name[str(name)]: stand_in
        for name, stand_in in zip(names, stand_ins, strict=True)
        if str(name) in by_name
    }
    missing = set(by_name) - {str(name) for name in names}
    if missing:
        raise InputError(f"the expression has variables that are not named: {sorted(missing)}")
    compiled = sympy.lambdify(stand_ins, _renamed(expression, replaced), modules=["scipy", "numpy"])

    def function(x: np.ndarray) -> np.ndarray:
        x = np.asarray(x, dtype=np.float64)
        with np.errstate(all="ignore"):
            return np.broadcast_to(compiled(*x.T), (len(x),)).astype(np.float64)

    return function


def _renamed(expression: sympy.Expr, names: dict) -> sympy.Expr:
    """Other symbols for these; long expressions as they are, or SymPy rewrites them for minutes."""
    with sympy.evaluate(complexity(expression) < _LONG):
        return expression.xreplace(names)


def to_python(expression: sympy.Expr, names: Sequence[str], function: str = "formula") -> str:
    """The text of a Python function that needs NumPy only (SciPy for special functions).

    Example:
        >>> print(to_python(sympy.sympify("exp(a) + b**2"), ["a", "b"]))
        import numpy
        <BLANKLINE>
        <BLANKLINE>
        def formula(a, b):
            return b**2 + numpy.exp(a)
        <BLANKLINE>

    """
    arguments = [_python_name(str(name)) for name in names]
    if len(set(arguments)) < len(arguments):
        arguments = [f"x{k + 1}" for k in range(len(names))]
    by_name = {str(s): s for s in expression.free_symbols}
    renamed = {
        by_name[str(name)]: sympy.Symbol(argument, real=True)
        for name, argument in zip(names, arguments, strict=True)
        if str(name) in by_name
    }
    expression = _renamed(expression, renamed)
    try:
        body = NumPyPrinter({"strict": True}).doprint(expression)
    except PrintMethodNotImplementedError:
        body = SciPyPrinter().doprint(expression)
    modules = ("numpy", "scipy.constants", "scipy.special")
    lines = [f"import {module}" for module in modules if module in body] or ["import numpy"]
    signature = f"def {function}({', '.join(arguments)}):"
    return "\n".join([*lines, "", "", signature, f"    return {body}", ""])


def _python_name(name: str) -> str:
    """The name if Python takes it, else one that it takes."""
    cleaned = "".join(ch if ch.isalnum() or ch == "_" else "_" for ch in name)
    if not cleaned or cleaned[0].isdigit() or keyword.iskeyword(cleaned):
        cleaned = f"x_{cleaned}"
    return cleaned


def complexity(expression: sympy.Expr) -> int:
    """How many symbols, numbers and operations an expression is written with.

    Example:
        >>> complexity(sympy.sympify("x")), complexity(sympy.sympify("exp(x + 1)"))
        (1, 4)

    """
    return sum(1 for _ in sympy.preorder_traversal(expression))
