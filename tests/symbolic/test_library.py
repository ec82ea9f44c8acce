import pickle

import pytest
import sympy
import torch

from edgewise.core import InputError
from edgewise.symbolic.functions import (
    _OWN,
    FUNCTIONS,
    add_function,
    choose_functions,
    find_function,
)

PYKAN = (
    *("x", "x^2", "x^3", "x^4", "x^5", "1/x", "1/x^2", "1/x^3", "1/x^4", "1/x^5"),
    *("sqrt", "x^0.5", "x^1.5", "1/sqrt", "1/x^0.5", "exp", "log", "abs", "sin", "cos"),
    *("tan", "tanh", "sgn", "arcsin", "arccos", "arctan", "arctanh", "0", "gaussian"),
)


def inside(function):
    low, high = max(function.domain[0], -1.4), min(function.domain[1], 1.4)
    width = high - low
    points = torch.linspace(low + 0.05 * width, high - 0.05 * width, 8, dtype=torch.float64)
    return points[points.abs() > 0.01]


@pytest.mark.parametrize("name", PYKAN)
def test_every_function_of_pykan_is_there(name):
    assert find_function(name)(torch.ones(2, dtype=torch.float64) * 0.5).shape == (2,)


@pytest.mark.parametrize("name", sorted(_OWN))
def test_the_slope_is_the_derivative(name):
    f = FUNCTIONS.resolve(name)
    x, h = inside(f), 1e-6
    numeric = (f.value(x + h) - f.value(x - h)) / (2 * h)
    torch.testing.assert_close(f.slope(x), numeric, rtol=1e-6, atol=1e-7)
    x.requires_grad_()
    (g,) = torch.autograd.grad(f(x).sum(), x)
    torch.testing.assert_close(g, f.slope(x))


@pytest.mark.parametrize("name", sorted(_OWN))
def test_sympy_says_the_same(name):
    f = FUNCTIONS.resolve(name)
    x = inside(f)
    symbol = sympy.Symbol("x", real=True)
    expression = f.expression(symbol)
    expected = [float(expression.subs(symbol, float(v))) for v in x]
    torch.testing.assert_close(f.value(x), torch.tensor(expected, dtype=torch.float64))


def test_a_function_is_added_by_one_line_and_pickled_by_name():
    f = add_function("test-cube-root", lambda x: x.sign() * x.abs() ** (1 / 3), "x**Rational(1, 3)")
    x = torch.tensor([8.0], dtype=torch.float64)
    assert f(x).item() == pytest.approx(2)
    assert f.slope(x).item() == pytest.approx(1 / 12)
    assert pickle.loads(pickle.dumps(f)) is f
    assert find_function("test-cube-root") is f


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (
            lambda: choose_functions(["sin", "cosh2"]),
            "unknown function 'cosh2': did you mean 'cosh'?",
        ),
        (
            lambda: choose_functions("sin"),
            "functions must be a list of names, got the single text 'sin'",
        ),
        (
            lambda: choose_functions(["0"]),
            "functions must name at least one function beside '0', e.g. ['x', 'sin']",
        ),
        (
            lambda: add_function("sin", torch.sin, "sin(x)"),
            "the library has a function 'sin' of its own; give yours another name",
        ),
        (
            lambda: add_function("test-q", torch.sin, "sin(q)"),
            "the text of 'test-q' must be of the variable x, got 'sin(q)'",
        ),
        (
            lambda: add_function("test-j", torch.special.bessel_j0, "besselj(0, x)"),
            "torch can't differentiate the function 'test-j': pass its derivative as slope=",
        ),
        (
            lambda: add_function("test-f", torch.sin, "sin(x)", free="c"),
            "free must be '', 'a', 'b' or 'ab', got 'c'",
        ),
    ],
)
def test_errors(call, message):
    with pytest.raises(InputError) as error:
        call()
    assert str(error.value).startswith(message)
