"""The truth of the kernels beside the textbook's recursion, and closed forms beside the truth."""

import pytest
import torch
from slow_splines import functions, spline

from edgewise.kernels.spline import ClosedForm, closed_form, derivative, slopes, values

KINDS = ["equal", "shared", "own"]


def points(inputs=3, count=100, dtype=torch.float64):
    x = torch.randn(count, inputs, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    x[::7] *= 30
    # The ends of the domain and a place in the middle, too.
    x[:3] = torch.tensor([-1.2, 0.9, 0.0], dtype=torch.float64).unsqueeze(-1)
    return x.to(dtype)


def textbook(x, shape):
    return torch.stack([functions(x[:, i], shape, i) for i in range(x.shape[1])], dim=1)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("degree", range(7))
@pytest.mark.parametrize("cells", [1, 5, 100])
def test_values_are_those_of_the_textbook(kind, degree, cells):
    x, shape = points(), spline(kind, degree, cells, 3)
    expected = textbook(x, shape)
    error = (derivative(shape, x) - expected).abs() / expected.abs().clamp(min=1)
    assert error.max() < 1e-12 * cells


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("degree", [0, 1, 2, 3, 5])
def test_derivatives_are_those_of_the_textbook(kind, degree):
    shape = spline(kind, degree, 4, 3)
    x = points(count=13)[3:].requires_grad_()
    expected = textbook(x, shape)
    for order in (1, 2):
        found = derivative(shape, x, order)
        columns = [
            torch.autograd.grad(expected[..., k].sum(), x, create_graph=True)[0]
            if expected.requires_grad
            else torch.zeros_like(x)
            for k in range(shape.size)
        ]
        expected = torch.stack(columns, dim=-1)
        scale = max(1.0, float(expected.detach().abs().max()))
        torch.testing.assert_close(found, expected, rtol=0, atol=1e-12 * scale)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("degree", [1, 3, 6])
def test_at_a_break_the_slope_is_that_of_the_cell_that_begins(kind, degree):
    # Breaks that floating point hits.
    shape = spline(kind, degree, 4)._replace(low=-1.0, per_unit=2.0)
    breaks = torch.arange(-2, 3, dtype=torch.float64) / 2
    if shape.knots is not None:
        breaks = shape.knots[0, degree : degree + 5]
    at = breaks[1:-1].unsqueeze(-1)
    right = derivative(shape, at + 1e-9, 1)
    torch.testing.assert_close(derivative(shape, at, 1), right, rtol=0, atol=1e-5)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("degree", [1, 2, 3, 5])
def test_they_sum_to_one_and_their_derivatives_to_zero(kind, degree):
    shape, x = spline(kind, degree, 5, 3), points()
    for order in (0, 1, 2):
        total = derivative(shape, x, order).sum(-1)
        torch.testing.assert_close(total, torch.full_like(total, order == 0), rtol=0, atol=1e-10)


def test_the_closed_form_is_known_for_equal_cells_of_degree_2_and_3():
    known = {(kind, d) for kind in KINDS for d in range(7) if closed_form(spline(kind, d, 4))}
    assert known == {("equal", 2), ("equal", 3)}


@pytest.mark.parametrize("degree", [2, 3])
@pytest.mark.parametrize("cells", [1, 2, 5, 100])
@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, 1e-12), (torch.float32, 5e-6)])
def test_closed_forms_are_the_truth(degree, cells, dtype, tolerance):
    shape, x = spline("equal", degree, cells), points(dtype=dtype)
    # The place on the grid has the digits of x times the cells.
    allowed = tolerance * max(1, cells / 5)
    for form, order in ((values, 0), (slopes, 1)):
        found = form(shape, x)
        assert found.shape == (100, shape.size, 3)
        assert found.dtype == dtype
        expected = derivative(shape, x.double(), order).transpose(1, 2)
        scale = expected.abs().amax(dim=(1, 2), keepdim=True).clamp(min=1)
        assert ((found.double() - expected).abs() / scale).max() <= allowed


def test_a_closed_form_is_differentiable_where_a_graph_is_wanted():
    form = ClosedForm(spline("equal", 3, 5))
    x = points().requires_grad_()
    with torch.no_grad():
        slope = form(x, 1)
    for k in range(8):
        (expected,) = torch.autograd.grad(form(x, 0)[:, k].sum(), x)
        torch.testing.assert_close(slope[:, k], expected, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("kind", KINDS)
def test_not_a_number_stays_one(kind):
    x = torch.tensor([[0.1], [float("nan")]], dtype=torch.float64)
    B = derivative(spline(kind, 3, 5), x)
    assert B[0].isfinite().all()
    assert B[1].isnan().any()
