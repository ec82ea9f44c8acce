"""On a narrow range long quotients follow anything to nine digits: the short formula must win."""

import numpy as np
import pytest
import sympy

from edgewise.symbolic import discover

a, b = sympy.symbols("x1 x2", real=True)
FORMULAS = {
    "product with exp": a * sympy.exp(-b),
    "sine of a product": sympy.sin(a * b),
    "logarithm of a sum": sympy.log(a + b),
    "logistic": a / (1 + sympy.exp(-b)),
    "cosine that falls": sympy.cos(sympy.Rational(5, 2) * a)
    * sympy.exp(-sympy.Rational(7, 10) * b),
}


@pytest.mark.parametrize("name", FORMULAS)
def test_everyday_formulas_come_back_as_they_are(name):
    truth = sympy.lambdify((a, b), FORMULAS[name], "numpy")
    x = np.random.default_rng(0).uniform(0.5, 2, (300, 2))
    found = discover(x, truth(*x.T), budget=20).expression
    wide = np.random.default_rng(1).uniform(0.3, 3, (100, 2))
    again = sympy.lambdify(sorted(found.free_symbols, key=str), found, "numpy")
    assert again(*wide.T) == pytest.approx(truth(*wide.T), rel=1e-9, abs=1e-12)
    assert sympy.count_ops(found) <= sympy.count_ops(FORMULAS[name]) + 3
