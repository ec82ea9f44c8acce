import numpy as np
import pytest
import sympy

from edgewise.jobs.formula.errors import constants, refit
from edgewise.symbolic import to_function

t, u = sympy.symbols("t u", real=True)


def rows(seed: int, count: int = 200, noise: float = 0.1):
    source = np.random.default_rng(seed)
    x = source.uniform(0.5, 2, (count, 2))
    truth = 2.5 * np.exp(-1.3 * x[:, 0]) + 0.7 * x[:, 1]
    return x, truth + noise * source.standard_normal(count)


def guess(a, b, c):
    a, b, c = (sympy.Float(v, 17) for v in (a, b, c))
    return a * sympy.exp(-b * t) + c * u


def test_a_refit_finds_the_least_squares():
    x, y = rows(0)
    found = refit(guess(2.3, 1.2, 0.75), ["t", "u"], x, y)
    r = to_function(found, ["t", "u"])(x) - y
    # At the optimum the residual is orthogonal to the derivative with respect to each constant.
    assert abs(r @ x[:, 1]) < 1e-5 * np.linalg.norm(r) * np.linalg.norm(x[:, 1])
    assert r @ r < np.sum((to_function(guess(2.5, 1.3, 0.7), ["t", "u"])(x) - y) ** 2)


def test_a_refit_leaves_simple_numbers_and_what_it_can_not_better():
    x = np.linspace(1, 2, 30)[:, None]
    assert refit(3 * t**2 / 2, ["t"], x, 1.4 * x[:, 0] ** 2) == 3 * t**2 / 2
    exact = sympy.Float(1.5, 17) * t
    assert refit(exact, ["t"], x, 1.5 * x[:, 0]) == exact


def test_errors_of_a_line_are_those_of_linear_regression():
    source = np.random.default_rng(1)
    x = source.uniform(-1, 3, (40, 1))
    y = 0.3 + 1.7 * x[:, 0] + 0.2 * source.standard_normal(40)
    A = np.stack([np.ones(40), x[:, 0]], 1)
    (b, a), (ss,) = np.linalg.lstsq(A, y)[:2]
    known = np.sqrt(ss / 38 * np.diag(np.linalg.inv(A.T @ A)))
    line = sympy.Float(a, 17) * t + sympy.Float(b, 17)
    found = constants(line, ["t"], x, y)
    assert [c.value for c in found] == pytest.approx([a, b], rel=1e-14)
    assert [c.error for c in found] == pytest.approx([known[1], known[0]], rel=1e-6)


def test_intervals_of_two_standard_errors_hold_the_truth_as_often_as_they_should():
    hits = []
    for seed in range(40):
        x, y = rows(seed)
        fitted = refit(guess(2.4, 1.25, 0.72), ["t", "u"], x, y)
        by_size = constants(fitted, ["t", "u"], x, y)
        truth = [2.5, -1.3, 0.7]
        hits += [abs(c.value - v) < 1.96 * c.error for c, v in zip(by_size, truth, strict=True)]
    # 120 trials of 95 %, of which three in a row hang together.
    assert 0.88 < np.mean(hits) <= 1.0


def test_constants_that_stand_in_for_each_other_are_open():
    x, y = rows(2)
    a, b, c = sympy.Float(1.2, 17), sympy.Float(0.4, 17), sympy.Float(0.7, 17)
    # log(a t) = log a + log t, so a and b stand in for each other.
    found = constants(b + sympy.log(a * t, evaluate=False) + c * u, ["t", "u"], x, y)
    assert {c.value: np.isinf(c.error) for c in found} == {1.2: True, 0.4: True, 0.7: False}


def test_simple_numbers_are_listed_and_taken_as_known():
    x, y = rows(3)
    formula = 3 * t / 2 + 2 * sympy.pi * u**2 - sympy.Float(0.4, 17) + sympy.exp(-(t**2) / 2)
    found = constants(formula, ["t", "u"], x, y)
    assert [(c.text, c.simple) for c in found[1:]] == [
        ("2*pi", True),
        ("3/2", True),
        ("-1/2", True),
    ]
    assert found[0].error > 0


def test_too_few_rows_tell_nothing():
    x, y = rows(4, count=3)
    assert all(np.isnan(c.error) for c in constants(guess(2.5, 1.3, 0.7), ["t", "u"], x, y))


def test_exponents_and_signs_are_no_constants():
    x, y = rows(5)
    assert constants(-(t**3) + u ** sympy.Rational(1, 2), ["t", "u"], x, y) == []
