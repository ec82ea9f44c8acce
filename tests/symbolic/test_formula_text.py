import math

import numpy as np
import pytest
import sympy
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from symbolic_networks import random_network

import edgewise as ew
from edgewise.core import InputError
from edgewise.symbolic import formula, from_expression, tidy, to_function, to_python
from edgewise.symbolic.numbers import simple_number
from edgewise.symbolic.tidy import gather


def between_lines(model, source):
    """The network for inputs and outputs that are normalised: a layer of lines at either end."""
    ends = []
    for width in (model.widths[0], model.widths[-1]):
        table = [["x" if i == o else "0" for i in range(width)] for o in range(width)]
        layer = ew.symbolic.SymbolicLayer(width, table).double()
        with torch.no_grad():
            layer.c.copy_(0.5 + torch.rand(width, generator=source, dtype=torch.float64))
            layer.bias.copy_(torch.randn(width, generator=source, dtype=torch.float64))
        ends.append(layer)
    return ew.symbolic.SymbolicKAN([ends[0], *model.layers, ends[1]])


@settings(max_examples=8, deadline=None)
@given(
    st.integers(0, 10**6),
    st.integers(1, 4),
    st.integers(1, 3),
    st.integers(1, 2),
    st.booleans(),
)
def test_the_formula_is_what_the_network_computes(seed, inputs, outputs, depth, normalised):
    source = torch.Generator().manual_seed(seed)
    model = random_network(seed, inputs, outputs, depth)
    if normalised:
        model = between_lines(model, source)
    x = torch.rand(20, inputs, generator=source, dtype=torch.float64)
    y = model(x).detach()
    good = torch.isfinite(y).all(1) & (y.abs() < 1e100).all(1)
    assume(bool(good.any()))
    found = formula(model)
    expressions = found if outputs > 1 else [found]
    names = [f"x{k + 1}" for k in range(inputs)]
    for q, expression in enumerate(expressions):
        value = torch.from_numpy(to_function(expression, names)(x.numpy()))
        torch.testing.assert_close(value[good], y[good, q], rtol=1e-10, atol=1e-10)


def test_scaled_inputs_and_outputs_are_undone():
    # Normalising is a layer of lines before, and one behind.
    lines = [["x", "0"], ["0", "x"]]
    scale = ew.symbolic.SymbolicLayer(2, lines).double()
    body = from_expression("exp(a)*b", ["a", "b"])
    back = ew.symbolic.SymbolicLayer(1, [["x"]]).double()
    with torch.no_grad():
        scale.c.copy_(torch.tensor([0.5, 2.0]))
        scale.bias.copy_(torch.tensor([1.0, -1.0]))
        back.c.fill_(3.0)
        back.bias.fill_(4.0)
    model = ew.symbolic.SymbolicKAN([scale, *body.layers, back])
    a, b = sympy.symbols("a b", real=True)
    difference = formula(model, ["a", "b"]) - (3 * sympy.exp(a / 2 + 1) * (2 * b - 1) + 4)
    assert sympy.simplify(difference) == 0


@pytest.mark.parametrize(
    "text",
    [
        "a*exp(-b**2/2) + sin(a) + a + sqrt(a**2 + b**2)/(1 + b*a) + b**7 + a**1.3",
        "exp(sin(pi*a) + b**2)",
        "a*b*c/(1 + a)",
        "tanh(a)**2 - log(b) + atan(c)*2",
        "(a + b)**-7",
        "5",
        "a",
    ],
)
def test_an_expression_goes_there_and_back(text):
    names = ["a", "b", "c"]
    model = from_expression(text, names)
    x = torch.rand(30, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64) + 0.1
    symbols = {n: sympy.Symbol(n, real=True) for n in names}
    expected = to_function(sympy.sympify(text, locals=symbols), names)(x.numpy())
    torch.testing.assert_close(model(x)[:, 0].detach(), torch.from_numpy(expected))
    again = to_function(formula(model, names), names)(x.numpy())
    np.testing.assert_allclose(again, expected, rtol=1e-12)


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (0.5, "1/2"),
        (math.pi, "pi"),
        (-2 * math.pi / 3, "-2*pi/3"),
        (1 / math.sqrt(2 * math.pi), "sqrt(2)/(2*sqrt(pi))"),
        (1 / (4 * math.pi), "1/(4*pi)"),
        (0.0, "0"),
        (0.123456, "None"),
        (math.nan, "None"),
    ],
)
def test_simple_numbers(value, expected):
    assert str(simple_number(value)) == expected


@pytest.mark.parametrize(
    "text",
    [
        "2*sin(-3*t + 7) + cos(2*t - 1) - sin(t + 20)",
        "0.3*exp(2*(t + 0.5) - 1)*log(3*t + 6)",
        "(2*t + 4)**-3 + sqrt(5*t + 1)",
        "tanh(-2*t) + Abs(-t + 3)",
        "(0.5*t - 3)*(4*t + 1)**2",
    ],
)
def test_gathering_keeps_the_value(text):
    t = sympy.Symbol("t", real=True)
    expression = sympy.sympify(text, locals={"t": t})
    x = np.linspace(0.1, 2, 17)[:, None]
    before, after = (to_function(e, ["t"])(x) for e in (expression, gather(expression)))
    np.testing.assert_allclose(after, before, rtol=1e-12, atol=1e-12)


def test_tidy_does_not_round_what_the_data_know_better():
    x = np.linspace(0, 1, 50)[:, None]
    e = sympy.sympify("1.0000001*t")
    assert tidy(e, ["t"], x, 1.0000001 * x[:, 0]) == e


def test_python_text_runs(tmp_path):
    names = ["mass flow", "lambda", "x3"]
    symbols = [sympy.Symbol(n, real=True) for n in names]
    expression = sympy.exp(symbols[0]) * sympy.pi + sympy.besselj(0, symbols[1]) + symbols[2]
    scope = {}
    exec(to_python(expression, names), scope)
    x = np.array([[0.1, 0.2, 0.3]])
    assert scope["formula"](*x.T) == pytest.approx(to_function(expression, names)(x))


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (
            lambda: formula(ew.models.KAN([1, 1])),
            "the edge (0, 0, 0) is a spline, which has no formula: "
            "use snap(), or fix() and prune()",
        ),
        (
            lambda: formula(from_expression("a + b", ["a", "b"]), ["a", "a"]),
            "there must be 2 different names, one for each input, got ['a', 'a']",
        ),
        (
            lambda: from_expression("a + q", ["a"]),
            "the expression has variables that are not named: ['q']; named are ['a']",
        ),
        (
            lambda: from_expression("gamma(a)", ["a"]),
            "the library has no function for gamma(a): add it with add_function()",
        ),
        (lambda: from_expression("a +* 1", ["a"]), "SymPy can't read the expression 'a +* 1'"),
    ],
)
def test_errors(call, message):
    with pytest.raises(InputError) as error:
        call()
    assert str(error.value) == message


def test_no_formula_with_nan():
    model = from_expression("a", ["a"])
    with torch.no_grad():
        model.layers[0].c.fill_(math.nan)
    with pytest.raises(InputError, match=r"^the edge \(0, 0, 0\) has the constant nan; no formula"):
        formula(model)
