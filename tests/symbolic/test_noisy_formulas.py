import math

import numpy as np
import pytest
import sympy
import torch

from edgewise.symbolic.deadline import Deadline
from edgewise.symbolic.formula import to_function
from edgewise.symbolic.significant import significant_terms
from edgewise.symbolic.spare import spare
from edgewise.symbolic.surrogate import is_noisy, is_structureless

A, B = sympy.symbols("a b", real=True)


def table(expression, noise=0.01, count=4000):
    source = np.random.default_rng(0)
    x = source.uniform(1, 3, (count, 2))
    y = to_function(expression, "ab")(x)
    return x, y + noise * y.std() * source.normal(size=count)


@pytest.mark.parametrize("text", ["a*b", "sin(2*a) + b**2", "1/(1 + a*b)"])
def test_noise_is_told_from_a_rough_polynomial(text):
    expression = sympy.sympify(text, locals={"a": A, "b": B})
    for noise in (0.0, 0.01, 0.1):
        x, y = map(torch.from_numpy, table(expression, noise))
        assert is_noisy(x, y) == (noise > 0)


def test_a_residual_with_structure_is_seen_within_noise():
    x, y = map(torch.from_numpy, table(A * B))
    noise = y - x[:, 0] * x[:, 1]
    assert is_structureless(x, noise)
    assert not is_structureless(x, noise + 0.3 * noise.std() * torch.sin(2 * x[:, 0]))
    # Too few rows tell nothing.
    assert not is_structureless(x[:999], noise[:999])


@pytest.mark.parametrize("text", ["a*b + a", "1/(a/b + 1/a)", "sqrt(a**2 + b**2)"])
def test_the_telling_terms(text):
    truth = sympy.sympify(text, locals={"a": A, "b": B})
    x, y = table(truth)
    found = significant_terms(*map(torch.from_numpy, (x, y)), [A, B], Deadline.after(math.inf))
    clean = to_function(truth, "ab")(x)
    assert any(
        np.abs(to_function(f.expression, "ab")(x) - clean).max() < 0.005 * clean.std()
        and f.terms == 2
        for f in found
    )


def test_constants_that_may_be_simple_are():
    x, y = table(A * B / 2 + 3)
    rough = sympy.Float(0.49) * A * B + sympy.Float(3.1) + sympy.Float(1e-3) * A
    assert spare(rough, ["a", "b"], x, y) == A * B / 2 + 3


def test_a_constant_that_is_not_simple_is_kept():
    x, y = table(sympy.Float(0.7123) * A * B)
    found = spare(sympy.Float(0.7) * A * B, ["a", "b"], x, y)
    (constant,) = found.atoms(sympy.Float)
    assert abs(float(constant) - 0.7123) < 3e-4
