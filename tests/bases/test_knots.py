"""Where cells meet: on data, halved, and what finer ones do to coefficients."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.interpolate import BSpline as ScipySpline
from scipy.interpolate import insert

from edgewise.bases.knots import UNIFORM_SHARE, bisect, breaks_at_quantiles, extend, insertion
from edgewise.core import InputError, generator


def drawn(*shape, seed=0):
    return torch.randn(*shape, generator=generator(seed, "x"), dtype=torch.float64)


def counted(x, breaks):
    """How many of x (n,) lie in each cell."""
    return torch.bincount(
        torch.searchsorted(breaks[1:-1].contiguous(), x.contiguous(), right=True),
        minlength=len(breaks) - 1,
    )


@pytest.mark.parametrize("cells", [1, 5, 40])
def test_cells_hold_about_equally_many(cells):
    x = torch.stack([drawn(2000), torch.rand(2000).double(), 100 + drawn(2000, seed=1)], 1)
    breaks = breaks_at_quantiles(x, cells)
    assert breaks.shape == (3, cells + 1)
    for i in range(3):
        counts = counted(x[:, i], breaks[i])
        assert counts.sum() == 2000
        # The evenly spread share moves a knot by as many as lie there.
        assert (counts - 2000 / cells).abs().max() <= 2000 / cells * 0.5
        assert torch.equal(breaks[i, [0, -1]], torch.stack([x[:, i].min(), x[:, i].max()]))


def test_without_the_even_share_they_are_the_quantiles():
    x = drawn(1001, 2)
    breaks = breaks_at_quantiles(x, 10)
    low, high = x.amin(0), x.amax(0)
    even = low + torch.linspace(0, 1, 11, dtype=x.dtype).unsqueeze(-1) * (high - low)
    found = (breaks - UNIFORM_SHARE * even.T) / (1 - UNIFORM_SHARE)
    expected = torch.quantile(x, torch.linspace(0, 1, 11, dtype=x.dtype), dim=0).T
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-12)


def test_equal_numbers_take_one_place():
    """An image's input: mostly zero. What varies is the rest, and that is where the cells are."""
    x = drawn(1000, 1).abs()
    x[:800] = 0
    breaks = breaks_at_quantiles(x, 5)[0]
    counts = counted(x[800:, 0], breaks)
    assert counts.min() >= 25
    assert torch.equal(breaks, breaks_at_quantiles(x[799:], 5)[0])


def test_an_input_that_does_not_vary_keeps_even_cells_around_it():
    x = torch.stack([torch.full((50,), 3.0).double(), drawn(50)], 1)
    breaks = breaks_at_quantiles(x, 4)
    assert torch.equal(breaks[0], torch.linspace(2.5, 3.5, 5, dtype=torch.float64))
    alone = breaks_at_quantiles(x[:, 1:], 4)
    assert torch.equal(breaks[1:], alone)


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.sampled_from([0.0, 0.1, 1.0, -7.5, 1e6, 1e-9]), min_size=1, max_size=40),
    st.integers(1, 30),
)
def test_no_cell_is_empty_of_width(numbers, cells):
    x = torch.tensor(numbers, dtype=torch.float64).unsqueeze(-1)
    breaks = breaks_at_quantiles(x, cells)[0]
    span = breaks[-1] - breaks[0]
    assert breaks.diff().min() >= 0.9 * UNIFORM_SHARE * span / cells
    assert breaks[0] <= x.min()
    assert x.max() <= breaks[-1]


def test_halving_is_of_the_widest_and_keeps_what_is_there():
    breaks = torch.tensor([0.0, 1.0, 3.0, 7.0], dtype=torch.float64)
    assert bisect(breaks, 3).tolist() == [0, 1, 3, 7]
    assert bisect(breaks, 4).tolist() == [0, 1, 3, 5, 7]
    assert bisect(breaks, 7).tolist() == [0, 1, 2, 3, 4, 5, 6, 7]
    even = torch.linspace(-1, 1, 6, dtype=torch.float64)
    torch.testing.assert_close(bisect(even, 10), torch.linspace(-1, 1, 11, dtype=torch.float64))
    # Where all are equal the first goes first, whatever rounding says.
    assert bisect(even, 6)[1] == (even[0] + even[1]) / 2


def test_halving_goes_row_by_row():
    breaks = torch.stack([torch.linspace(0, 1, 5).double() ** p for p in (1, 2, 3)])
    found = bisect(breaks, 13)
    assert found.shape == (3, 14)
    for row, alone in zip(found, breaks, strict=True):
        assert torch.equal(row, bisect(alone, 13))
        assert torch.isin(alone, row).all()


def test_outer_knots_go_on_at_the_distance_of_the_outer_cells():
    breaks = torch.tensor([[0.0, 1.0, 4.0]]).double()
    assert extend(breaks, 2).tolist() == [[-2, -1, 0, 1, 4, 7, 10]]
    assert extend(breaks, 0).tolist() == [[0, 1, 4]]


def grids(kind, cells):
    old = torch.linspace(-1.2, 0.9, 6, dtype=torch.float64).repeat(3, 1)
    if kind == "uneven":
        widths = (0.2 + torch.rand(3, 5, generator=generator(0)).double()).cumsum(1)
        old = torch.cat([torch.zeros(3, 1).double(), widths], 1)
    return old, bisect(old, cells)


@pytest.mark.parametrize("kind", ["equal", "uneven"])
@pytest.mark.parametrize("degree", range(7))
@pytest.mark.parametrize("cells", [5, 6, 10, 13, 63])
def test_finer_coefficients_are_the_same_spline(kind, degree, cells):
    old, new = grids(kind, cells)
    T = insertion(old, new, degree)
    assert T.shape == (3, cells + degree, 5 + degree)
    # An average of what is there: nothing grows.
    assert (T >= -1e-15).all()
    torch.testing.assert_close(T.sum(-1), torch.ones(3, cells + degree).double())
    for row in range(3):
        c = drawn(5 + degree).numpy()
        low, high = old[row, 0].item(), old[row, -1].item()
        x = np.linspace(low + 1e-9, high - 1e-9, 301)
        coarse = ScipySpline(extend(old[row : row + 1], degree)[0].numpy(), c, degree)
        finer = extend(new[row : row + 1], degree)[0].numpy()
        fine = ScipySpline(finer, T[row].numpy() @ c, degree)
        np.testing.assert_allclose(fine(x), coarse(x), rtol=0, atol=1e-12)


def test_of_one_knot_it_is_that_of_boehm():
    """SciPy inserts one knot at a time; away from the ends both are the same."""
    old = torch.linspace(0, 10, 11, dtype=torch.float64).view(1, -1)
    new = torch.cat([old, torch.tensor([[5.5]]).double()], 1).sort().values
    T = insertion(old, new, 3)[0].numpy()
    c = drawn(13).numpy()
    _, expected, _ = insert(5.5, (extend(old, 3)[0].numpy(), np.append(c, [0] * 4), 3))
    np.testing.assert_allclose(T @ c, expected[:14], rtol=0, atol=1e-13)


def test_many_inputs_take_no_loop():
    """784 inputs from 5 to 50 cells: as one would be."""
    old = torch.rand(784, 6, generator=generator(0)).double().cumsum(1)
    T = insertion(old, bisect(old, 50), 3)
    assert T.shape == (784, 53, 8)
    one = insertion(old[700:701], bisect(old[700:701], 50), 3)
    torch.testing.assert_close(T[700:701], one, rtol=0, atol=1e-15)


@pytest.mark.parametrize(
    ("sample", "message"),
    [
        (torch.zeros(0, 3), "knots follow a sample (n, I), got one of shape (0, 3)"),
        (torch.zeros(3), "knots follow a sample (n, I), got one of shape (3,)"),
        (
            torch.tensor([[1.0], [float("nan")]]),
            "knots can't follow a sample with numbers that are not finite",
        ),
    ],
)
def test_a_sample_that_tells_nothing_is_refused(sample, message):
    with pytest.raises(InputError) as caught:
        breaks_at_quantiles(sample, 5)
    assert str(caught.value) == message
