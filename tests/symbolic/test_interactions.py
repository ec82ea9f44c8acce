"""Interactions: the closed form of a known function, what only adds up, splines, bad input."""

import pytest
import torch

import edgewise as ew
from edgewise.core import InputError, seeded
from edgewise.symbolic import from_expression
from edgewise.symbolic.interactions import interactions


def inputs(rows=500, columns=3):
    with seeded(0, "interactions"):
        return torch.rand(rows, columns, dtype=torch.float64) * 2 - 1


def test_of_a_known_function_it_is_the_closed_form():
    names, x = ["a", "b", "c"], inputs()
    found = interactions(from_expression("sin(a*b) + 3*c**2", names), x)[0]
    a, b, c = x.T
    y, size = (a * b).sin() + 3 * c**2, x.std(0, correction=0)
    second = [
        [-(b**2) * (a * b).sin(), (a * b).cos() - a * b * (a * b).sin(), 0 * c],
        [(a * b).cos() - a * b * (a * b).sin(), -(a**2) * (a * b).sin(), 0 * c],
        [0 * c, 0 * c, 6 + 0 * c],
    ]
    for i, row in enumerate(second):
        for j, value in enumerate(row):
            wanted = size[i] * size[j] * (value.square().mean() / y.var(correction=0)).sqrt()
            assert float(found[i, j]) == pytest.approx(float(wanted), rel=1e-9, abs=1e-12)


def test_one_layer_of_splines_only_adds_up_and_two_do_not():
    with seeded(0, "interactions"):
        one, two = ew.models.KAN([3, 2]).double(), ew.models.KAN([3, 2, 2]).double()
    mixed = ~torch.eye(3, dtype=torch.bool)
    assert not interactions(one, inputs())[:, mixed].any()
    found = interactions(two, inputs())
    assert (found[:, mixed] > 1e-3).all()
    torch.testing.assert_close(found, found.mT, rtol=1e-9, atol=1e-12)


def test_it_has_no_units_and_leaves_the_model_alone():
    x = inputs(columns=2)
    model = from_expression("x1*exp(x2)", ["x1", "x2"])
    scaled = from_expression("7*(x1/10)*exp(x2/1000)", ["x1", "x2"])
    units = torch.tensor([10.0, 1000.0], dtype=torch.float64)
    torch.testing.assert_close(interactions(scaled, x * units), interactions(model, x))
    assert all(p.grad is None for p in model.parameters())


def test_a_straight_line_has_none():
    assert not interactions(from_expression("2*x1 - x2", ["x1", "x2"]), inputs(columns=2)).any()


def test_inputs_that_do_not_fit_are_refused():
    model = from_expression("x1*x2", ["x1", "x2"])
    with pytest.raises(InputError, match=r"x must be a tensor of shape \(N, 2\), got \(5, 3\)"):
        interactions(model, inputs(5))
