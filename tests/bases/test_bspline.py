import itertools

import numpy as np
import pytest
import torch
from scipy.interpolate import BSpline as ScipySpline

from edgewise.bases import BSpline

GRIDS = [1, 5, 63]
DEGREES = range(6)
DOMAIN = (-1.5, 2.0)


def knots(grid_size, degree, more=0):
    """Uniform knots that go on for ``degree + more`` cells on either side."""
    low, high = DOMAIN
    step = (high - low) / grid_size
    return low + step * np.arange(-degree - more, grid_size + degree + more + 1)


def cox_de_boor(x, t, j, degree):
    """de Boor 1978, ch. X: B_{j,k} from its two parents; slow and obvious."""
    if degree == 0:
        return ((t[j] <= x) & (x < t[j + 1])).astype(float)
    left = (x - t[j]) / (t[j + degree] - t[j])
    right = (t[j + degree + 1] - x) / (t[j + degree + 1] - t[j + 1])
    below = degree - 1
    return left * cox_de_boor(x, t, j, below) + right * cox_de_boor(x, t, j + 1, below)


def interior(count=400, margin=1e-6):
    return np.linspace(DOMAIN[0] + margin, DOMAIN[1] - margin, count)


def scipy_values(x, t, size, degree, order=0):
    columns = [ScipySpline(t, row, degree, extrapolate=False) for row in np.eye(size)]
    columns = [c.derivative(order) if order else c for c in columns]
    return np.nan_to_num(np.stack([c(x) for c in columns], axis=-1))


@pytest.mark.parametrize(("grid_size", "degree"), [*itertools.product(GRIDS, DEGREES)])
def test_values_are_those_of_scipy(grid_size, degree):
    x = interior()
    for outside in ("linear", "zero"):
        basis = BSpline(grid_size, degree, DOMAIN, outside)
        expected = scipy_values(x, knots(grid_size, degree), basis.size, degree)
        found = basis(torch.from_numpy(x)).numpy()
        np.testing.assert_allclose(found, expected, rtol=0, atol=1e-12)


@pytest.mark.parametrize(("grid_size", "degree"), [*itertools.product([1, 5], [2, 3, 5])])
def test_derivatives_are_those_of_scipy(grid_size, degree):
    x = interior(101)
    basis = BSpline(grid_size, degree, DOMAIN)
    for order in (1, 2):
        # Beyond the domain, where scipy loses the ends, lie the outer half of the knots.
        expected = scipy_values(x, knots(grid_size, degree), basis.size, degree, order)
        found = basis.derivative(torch.from_numpy(x), order).numpy()
        np.testing.assert_allclose(found, expected, rtol=1e-10, atol=1e-10 * grid_size**order)


@pytest.mark.parametrize(("grid_size", "degree"), [*itertools.product([1, 4], [0, 1, 2, 3, 4])])
def test_values_are_those_of_the_recursion(grid_size, degree):
    x = interior(200)
    t = knots(grid_size, degree)
    basis = BSpline(grid_size, degree, DOMAIN)
    expected = [cox_de_boor(x, t, j, degree) for j in range(basis.size)]
    found = basis(torch.from_numpy(x)).numpy()
    np.testing.assert_allclose(found, np.stack(expected, -1), rtol=0, atol=1e-13)


@pytest.mark.parametrize(("grid_size", "degree"), [*itertools.product([1, 5], DEGREES)])
def test_with_decay_the_grid_goes_on(grid_size, degree):
    """Each function keeps its own k + 1 cells, also those outside the domain."""
    low, high = DOMAIN
    step = (high - low) / grid_size
    steps = (np.arange(2000) + 0.5) / 2000
    x = low - (degree + 2) * step + (high - low + 2 * (degree + 2) * step) * steps
    basis = BSpline(grid_size, degree, DOMAIN, outside="zero")
    t = knots(grid_size, degree, more=degree + 3)
    shift = degree + 3
    expected = [cox_de_boor(x, t, j + shift, degree) for j in range(basis.size)]
    found = basis(torch.from_numpy(x))
    np.testing.assert_allclose(found.numpy(), np.stack(expected, -1), rtol=0, atol=1e-12)
    far = torch.tensor([low - degree * step - 1e-6, high + degree * step + 1e-6, -1e9, 1e9])
    far = far.double()
    for order in (0, 1, 2):
        assert (basis.derivative(far[2:], order) == 0).all(), "exactly zero, not nearly"
    assert basis(far).abs().max() < 1e-12


@pytest.mark.parametrize(("grid_size", "degree"), [*itertools.product(GRIDS, DEGREES)])
def test_inside_they_are_not_negative_and_local(grid_size, degree):
    B = BSpline(grid_size, degree, DOMAIN)(torch.linspace(*DOMAIN, 777, dtype=torch.float64))
    assert (B >= 0).all()
    assert ((B > 0).sum(-1) <= degree + 1).all()
    torch.testing.assert_close(B.sum(-1), torch.ones(777).double(), rtol=0, atol=1e-13)


def test_degree_0_are_bins():
    basis = BSpline(grid_size=4, degree=0, domain=(0.0, 4.0))
    x = torch.tensor([0.0, 0.5, 1.0, 2.999, 3.0, 4.0, -7.0, 9.0])
    cell = torch.tensor([0, 0, 1, 2, 3, 3, 0, 3])
    assert torch.equal(basis(x), torch.nn.functional.one_hot(cell, 4).float())
    zero = BSpline(grid_size=4, degree=0, domain=(0.0, 4.0), outside="zero")
    assert torch.equal(zero(x)[:5], basis(x)[:5])
    assert (zero(x[-2:]) == 0).all()


@pytest.mark.parametrize("degree", [0, 1, 2, 3])
def test_the_error_falls_with_the_cell_to_the_power_degree_plus_1(degree):
    x = torch.linspace(-1, 1, 3001, dtype=torch.float64)
    f = torch.sin(3 * x)[:, None]
    errors = []
    for grid_size in (8, 16, 32):
        B = BSpline(grid_size, degree)(x)
        errors.append(float((B @ torch.linalg.lstsq(B, f).solution - f).square().mean().sqrt()))
    orders = np.log2(np.array(errors[:-1]) / np.array(errors[1:]))
    assert abs(orders[-1] - (degree + 1)) < 0.15


@pytest.mark.parametrize("degree", [1, 2, 3, 5])
def test_straight_lines_go_on_where_the_domain_ends(degree):
    basis = BSpline(5, degree, DOMAIN)
    for end, out in ((DOMAIN[0], -1.0), (DOMAIN[1], 1.0)):
        at = torch.tensor(end, dtype=torch.float64)
        value, slope = basis(at), basis.derivative(at, 1)
        for distance in (1e-9, 0.3, 50.0):
            x = at + out * distance
            expected = value + out * distance * slope
            torch.testing.assert_close(basis(x), expected, rtol=1e-12, atol=1e-12)
            torch.testing.assert_close(basis.derivative(x, 1), slope, rtol=1e-12, atol=1e-12)
            assert (basis.derivative(x, 2) == 0).all()


def test_in_float32_the_first_function_is_not_lost_at_a_large_offset():
    domain = (1000.0, 1001.0)
    x = torch.linspace(*domain, 50, dtype=torch.float64)
    basis = BSpline(8, 3, domain)
    # One rounding of x is 6e-5 here, half a thousandth of a cell.
    assert (basis(x.float()).double() - basis(x)).abs().max() < 1e-3


def test_not_a_number_stays_where_it_is():
    B = BSpline()(torch.tensor([0.3, float("nan")]))
    assert B[0].isfinite().all()
    assert B[1].isnan().any()
