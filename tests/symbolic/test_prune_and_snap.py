import pytest
import torch

import edgewise as ew
from edgewise.core import InputError
from edgewise.symbolic import (
    as_symbolic,
    attribute,
    formula,
    from_expression,
    polish,
    prune,
    snap,
    tidy,
    unfix,
)


@pytest.fixture(scope="module")
def trained():
    torch.manual_seed(0)
    source = torch.Generator().manual_seed(0)
    x = torch.rand(600, 2, generator=source, dtype=torch.float64) * 2 - 1
    y = torch.exp(torch.sin(torch.pi * x[:, :1]) + x[:, 1:] ** 2)
    model = as_symbolic(ew.models.KAN([2, 3, 1]).double())
    polish(model, x, y, steps=40)
    return model, x, y


@torch.no_grad()
def loss(model, x, y):
    return float((model(x) - y).square().mean())


def test_pruned_and_snapped_it_is_the_formula(trained):
    model, x, y = trained
    before = loss(model, x, y)
    smaller, report = prune(model, x, y, tolerance=3.0)
    assert report.loss_before == pytest.approx(before)
    assert report.loss_after == pytest.approx(loss(smaller, x, y))
    assert report.loss_after <= 4 * before
    assert sum(report.widths_after) <= sum(report.widths_before)
    assert loss(model, x, y) == before
    found, rows = snap(smaller, x, y)
    assert {row.function for row in rows} <= {"sin", "x^2", "exp", "0"}
    assert loss(found, x, y) < 1e-24
    names = ["x1", "x2"]
    text = str(tidy(formula(found), names, x.numpy(), y[:, 0].numpy()))
    assert text == "exp(x2**2 + sin(pi*x1))"


def test_an_output_is_never_cut_off():
    model = ew.models.KAN([2, 2, 2]).double()
    x = torch.rand(60, 2, dtype=torch.float64)
    smaller, _ = prune(model, x, torch.zeros(60, 2, dtype=torch.float64), tolerance=1e12, refit=0)
    assert torch.isfinite(smaller(x)).all()
    assert (attribute(smaller, x).edges[-1] >= 0).all()
    table = smaller.layers[-1].functions
    assert all(any(name != "0" for name in row) for row in table)


def test_removed_edges_leave_their_mean():
    model = from_expression(["a + 1e-4*(b**2 + 5)", "b"], ["a", "b"])
    x = torch.rand(200, 2, dtype=torch.float64)
    y = model(x).detach()
    smaller, report = prune(model, x, y, refit=0, floor=1e-5)
    assert report.edges
    torch.testing.assert_close(smaller(x).mean(0), y.mean(0))


def test_equal_nodes_become_one():
    torch.manual_seed(1)
    model = ew.models.KAN([1, 2, 1]).double()
    with torch.no_grad():
        first = model.layers[0]
        first.coefficients[:, :, 1] = 2 * first.coefficients[:, :, 0]
        first.base_weight[:, 1] = 2 * first.base_weight[:, 0]
    x = torch.rand(300, 1, dtype=torch.float64) * 2 - 1
    y = model(x).detach()
    smaller, report = prune(model, x, y, tolerance=0, floor=1e-5, refit=3)
    assert smaller.widths == [1, 1, 1]
    assert len(report.merged) + len(report.nodes) == 1
    assert loss(smaller, x, y) < 1e-5


def test_what_no_function_suits_stays_a_spline():
    x = torch.linspace(-1, 1, 300, dtype=torch.float64)[:, None]
    wild = torch.sin(7 * x) + torch.sin(17 * x * x) + x.abs()
    model = unfix(from_expression("exp(a)", ["a"]), (0, 0, 0), x, grid_size=40)
    polish(model, x, wild, steps=20)
    found, rows = snap(model, x, wild, functions=["x", "exp"])
    assert [row.function for row in rows] == ["spline"]
    assert loss(found, x, wild) <= 1.1 * loss(model, x, wild)


def test_attribution_is_the_spread_that_is_lost():
    model = from_expression("3*a + b", ["a", "b"])
    x = torch.rand(4000, 2, dtype=torch.float64)
    scores = attribute(model, x)
    expected = torch.tensor([[3.0, 1.0]], dtype=torch.float64) * x.std(0) / model(x).std()
    torch.testing.assert_close(scores.edges[0], expected.detach(), rtol=1e-3, atol=0)
    torch.testing.assert_close(scores.inputs, scores.edges[0][0])


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (
            lambda m, x, y: prune(m, x, y, tolerance=-1),
            "tolerance must not be negative, got -1",
        ),
        (
            lambda m, x, y: prune(m, x[:, :1], y),
            "x must be a tensor of shape (N, 2), got (600, 1)",
        ),
        (
            lambda m, x, y: snap(m, x, y[:5]),
            "y must be a tensor of shape (600, 1), got (5, 1)",
        ),
        (
            lambda m, x, y: snap(m, x / 0, y),
            "x holds NaN or infinity; drop or fill those rows first",
        ),
        (
            lambda m, x, y: snap(m, x, y, functions=["sine"]),
            "unknown function 'sine': did you mean 'sin'?",
        ),
    ],
)
def test_errors(trained, call, message):
    with pytest.raises(InputError) as error:
        call(*trained)
    assert str(error.value).startswith(message)
