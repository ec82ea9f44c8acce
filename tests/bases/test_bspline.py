import itertools

import numpy as np
import pytest
import torch
from scipy.interpolate import BSpline as ScipySpline

from edgewise.bases import BSpline
from edgewise.core import InputError, build, generator, recipe_of

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


def breaks(kind, cells=5, inputs=3):
    """Where uneven cells meet: for all inputs (cells + 1,), or for each (inputs, cells + 1)."""
    rows = [inputs] if kind == "own" else []
    widths = 0.2 + torch.rand(*rows, cells, generator=generator(0, kind), dtype=torch.float64)
    return torch.nn.functional.pad(widths.cumsum(-1), (1, 0)) - 1.3


def uneven(kind, degree, cells=5, inputs=3):
    return BSpline(degree=degree).with_breaks(breaks(kind, cells, inputs))


def around(basis, inputs=3, count=101):
    """Points inside and outside of each input's cells."""
    low, high = basis.reach().T if basis.breaks.ndim == 2 else basis.reach()
    steps = torch.linspace(-0.4, 1.4, count, dtype=torch.float64).unsqueeze(-1)
    return (low + (high - low) * steps).expand(count, inputs)


KINDS = ["shared", "own"]
every_kind = pytest.mark.parametrize("kind", KINDS)


@every_kind
@pytest.mark.parametrize("degree", DEGREES)
def test_on_cells_of_their_own_they_sum_to_one_and_are_local(kind, degree):
    basis = uneven(kind, degree)
    x = around(basis)
    B = basis(x)
    assert B.shape == (101, 3, 5 + degree)
    torch.testing.assert_close(B.sum(-1), torch.ones(101, 3).double(), rtol=0, atol=1e-12)
    inside = B[(x >= basis.reach()[..., 0]) & (x <= basis.reach()[..., 1])]
    assert (inside >= 0).all()
    assert ((inside > 0).sum(-1) <= degree + 1).all()


@every_kind
@pytest.mark.parametrize("degree", DEGREES)
def test_on_cells_of_their_own_polynomials_are_exact(kind, degree):
    basis = uneven(kind, degree)
    inside = around(basis)[23:78]
    B = basis(inside)
    for i in range(3):
        for power in range(degree + 1):
            target = inside[:, i : i + 1] ** power
            fit = torch.linalg.lstsq(B[:, i], target, driver="gelsd").solution
            assert (B[:, i] @ fit - target).abs().max() < 1e-12


@pytest.mark.parametrize("degree", [1, 2, 3])
def test_on_cells_of_their_own_the_error_falls_at_the_same_rate(degree):
    x = torch.linspace(0, 1, 2001, dtype=torch.float64)
    f = torch.sin(5 * x)[:, None]
    errors = []
    for cells in (8, 16, 32):
        ends = torch.linspace(0, 1, cells + 1, dtype=torch.float64) ** 1.5
        B = BSpline(degree=degree).with_breaks(ends)(x)
        errors.append(float((B @ torch.linalg.lstsq(B, f).solution - f).square().mean().sqrt()))
    orders = np.log2(np.array(errors[:-1]) / np.array(errors[1:]))
    assert abs(orders[-1] - (degree + 1)) < 0.3


@every_kind
def test_cells_that_are_equal_give_the_equal_ones(kind):
    even = BSpline(5, 3, DOMAIN)
    ends = torch.linspace(*DOMAIN, 6, dtype=torch.float64)
    other = BSpline(degree=3).with_breaks(ends if kind == "shared" else ends.repeat(3, 1))
    x = around(other)
    for order in (0, 1, 2):
        found, expected = other.derivative(x, order), even.derivative(x, order)
        torch.testing.assert_close(found, expected, rtol=1e-11, atol=1e-11)


REFINED = {
    "equal to a multiple": (lambda d: BSpline(5, d, DOMAIN), 20),
    "equal to no multiple": (lambda d: BSpline(5, d, DOMAIN), 13),
    "as it is": (lambda d: BSpline(5, d, DOMAIN), 5),
    "shared": (lambda d: uneven("shared", d), 12),
    "own": (lambda d: uneven("own", d), 17),
}


@pytest.mark.parametrize("case", REFINED)
@pytest.mark.parametrize("degree", DEGREES)
def test_a_refinement_is_the_same_function_everywhere(case, degree):
    make, cells = REFINED[case]
    basis = make(degree)
    finer, T = basis.refined(cells)
    assert (finer.grid_size, finer.size, finer.degree) == (cells, cells + degree, degree)
    own = case == "own"
    assert T.shape == ((3,) if own else ()) + (cells + degree, basis.size)
    assert T.dtype == torch.float64
    c = torch.randn(3, basis.size, 1, generator=generator(0, "c"), dtype=torch.float64)
    x = torch.linspace(-3, 4, 301, dtype=torch.float64).unsqueeze(-1).expand(-1, 3)
    # The derivatives of order 2 have other factors where a cell is narrower.
    for order, allowed in ((0, 1e-12), (1, 1e-10)):
        old = basis.derivative(x, order).movedim(1, 0) @ c
        new = finer.derivative(x, order).movedim(1, 0) @ (T @ c)
        torch.testing.assert_close(new, old, rtol=allowed, atol=allowed)


def test_equal_cells_stay_equal_where_they_can():
    basis = BSpline(4, 3)
    assert basis.refined(12)[0].breaks is None
    assert basis.refined(12)[0].step == basis.step / 3
    finer = basis.refined(6)[0]
    assert finer.current_breaks().tolist() == [-1, -0.75, -0.5, -0.25, 0, 0.5, 1]
    assert finer.refined(7)[0].current_breaks().tolist() == [
        -1,
        -0.75,
        -0.5,
        -0.25,
        0,
        0.25,
        0.5,
        1,
    ]


def test_adapted_cells_follow_each_input():
    x = torch.stack([torch.randn(999), 50 + 3 * torch.rand(999)], dim=1)
    basis = BSpline(8, 2)
    other = basis.adapted(x)
    assert (other.grid_size, other.degree, other.breaks.shape) == (8, 2, (2, 9))
    counts = torch.stack([torch.histogram(x[:, i].double(), other.breaks[i]).hist for i in (0, 1)])
    assert (counts - 999 / 8).abs().max() < 40
    torch.testing.assert_close(
        other.reach()[1].float(), torch.stack([x[:, 1].min(), x[:, 1].max()])
    )
    assert basis.breaks is None


def test_knots_keep_their_digits_in_every_precision():
    basis = uneven("own", 3)
    knots = basis.breaks.clone()
    for move in (
        lambda b: b.float(),
        lambda b: b.bfloat16(),
        lambda b: b.half(),
        lambda b: b.double(),
    ):
        basis = move(basis)
        assert torch.equal(basis.breaks, knots)
        assert basis._knots.dtype == torch.float64
    x = around(basis).float()
    assert basis(x).dtype == torch.float32


@every_kind
def test_knots_come_with_the_state(kind):
    basis = uneven(kind, 3, cells=7)
    other = BSpline(5, 3)
    other.load_state_dict(basis.state_dict())
    assert (other.grid_size, other.size, other.domain) == (7, 10, basis.domain)
    x = around(basis)
    assert torch.equal(other(x), basis(x))
    again = build(recipe_of(basis))
    again.load_state_dict(basis.state_dict(), assign=True)
    assert torch.equal(again(x), basis(x))
    with pytest.raises(RuntimeError, match="breaks"):
        basis.load_state_dict(BSpline(5, 3).state_dict())


def test_on_another_device_knots_come_along():
    basis = uneven("own", 3).to("meta")
    assert (basis.breaks.device.type, basis._knots.device.type) == ("meta", "meta")
    assert basis(torch.zeros(4, 3, device="meta")).shape == (4, 3, 8)


RISING = "breaks must be at least two finite numbers that rise"
ZERO = BSpline(5, 3, outside="zero")


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: BSpline().with_breaks(torch.tensor([1.0])), RISING),
        (lambda: BSpline().with_breaks(torch.tensor([1.0, 1.0])), RISING),
        (lambda: BSpline().with_breaks(torch.tensor([0.0, float("inf")])), RISING),
        (
            lambda: ZERO.with_breaks(torch.tensor([0.0, 1.0])),
            "cells of their own need outside='linear', these have 'zero'",
        ),
        (
            lambda: ZERO.adapted(torch.rand(5, 2)),
            "cells of their own need outside='linear', these have 'zero'",
        ),
        (
            lambda: ZERO.refined(10),
            "B-splines with outside='zero' can't be refined: how far they reach beyond the domain "
            "is a matter of their cells; make them with outside='linear'",
        ),
        (lambda: BSpline().refined(4), "a finer grid has at least the 5 cells of now, got 4"),
        (lambda: BSpline().refined(0), "grid_size must be a whole number of at least 1, got 0"),
        (
            lambda: uneven("own", 3)(torch.zeros(5, 2)),
            "these B-splines have knots for each of 3 inputs, on the last axis; "
            "got x of shape (5, 2)",
        ),
        (
            lambda: uneven("own", 3)(torch.zeros(())),
            "these B-splines have knots for each of 3 inputs, on the last axis; got x of shape ()",
        ),
    ],
)
def test_what_cells_can_not_be_is_refused_word_by_word(call, message):
    with pytest.raises(InputError) as caught:
        call()
    assert str(caught.value) == message
