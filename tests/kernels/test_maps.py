"""Maps for convolutions beside the textbook, by the native kernel and by the closed form."""

from functools import partial

import pytest
import torch
from slow_splines import (
    IMAGES,
    assert_near,
    draw,
    functions,
    needs_native,
    spline,
    with_gradients,
)
from torch._subclasses.fake_tensor import FakeTensorMode

from edgewise.core import InputError
from edgewise.kernels import native, use
from edgewise.kernels.maps import map_maker
from edgewise.kernels.spline import derivative

pytestmark = pytest.mark.usefixtures("each_library")

WAYS = [pytest.param("native", marks=needs_native), "plain"]


def slowly(shape, x):
    """One channel after the other."""
    values = [functions(x[:, c].flatten(), shape) for c in range(x.shape[1])]
    maps = torch.stack(values, 0).view(x.shape[1], len(x), *x.shape[2:], shape.size)
    return maps.movedim((0, -1), (1, 2)).flatten(1, 2)


def both(way, shape, x, dtype=torch.float64):
    truth_of = with_gradients(lambda x: slowly(shape, x), gradient(shape, x), x)
    with use(way):
        make = maker(shape, x, dtype)
    return with_gradients(make, gradient(shape, x).to(dtype), x.to(dtype)), truth_of


def maker(shape, x, dtype=None):
    return map_maker(x, dtype or x.dtype, shape, partial(derivative, shape))


def gradient(shape, x):
    return draw(len(x), x.shape[1] * shape.size, *x.shape[2:], seed=1)


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("degree", native.DEGREES)
@pytest.mark.parametrize("cells", [1, 5, 40])
def test_values_and_gradients_are_those_of_the_textbook(way, degree, cells):
    shape, x = spline("equal", degree, cells), 1.5 * draw(3, 2, 5, 7)
    if way == "plain" and degree not in (2, 3):
        with use(way):
            assert maker(shape, x) is None
        return
    assert_near(*both(way, shape, x), 1e-12, 1e-10)


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("sizes", IMAGES)
@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, 1e-12), (torch.float32, 1e-5)])
def test_axes_sizes_and_dtypes(way, sizes, dtype, tolerance):
    shape = spline("equal", 3, 4)
    # Away from the knots, where a slope in float32 may be that of the next cell.
    x = (shape.low + (torch.randint(-3, 7, sizes) + 0.3) / shape.per_unit).double()
    found, truth = both(way, shape, x, dtype)
    assert found[0].dtype == dtype
    assert_near(found, truth, tolerance, 10 * tolerance)


@needs_native
def test_strides_and_threads_do_not_matter():
    shape, x = spline("equal", 3, 4), draw(4, 3, 6, 5)
    make, dy = maker(shape, x), gradient(shape, x)
    expected = with_gradients(make, dy, x)
    assert expected[0].is_contiguous(memory_format=torch.channels_last)
    twisted = x.contiguous(memory_format=torch.channels_last)
    before = torch.get_num_threads()
    try:
        torch.set_num_threads(3)
        found = with_gradients(make, dy.contiguous(memory_format=torch.channels_last), twisted)
    finally:
        torch.set_num_threads(before)
    assert all(torch.equal(a, b) for a, b in zip(found, expected, strict=True))


@pytest.mark.parametrize("way", WAYS)
def test_what_is_no_number_stays_where_it_is(way):
    shape, x = spline("equal", 3, 4), draw(2, 2, 3, 4)
    for place, value in enumerate((float("nan"), float("inf"), -float("inf"))):
        x[0, 1, 0, place] = value
    with use(way):
        maps = maker(shape, x)(x).view(2, 2, shape.size, 3, 4)
    bad = ~maps.isfinite().all(2)
    assert torch.equal(bad, ~x.isfinite())


@pytest.mark.parametrize("way", WAYS)
def test_many_gradients_at_once(way):
    shape, x = spline("equal", 3, 4), draw(2, 2, 3).requires_grad_()
    with use(way):
        maps = maker(shape, x)(x)
    each = torch.stack([gradient(shape, x), -3 * gradient(shape, x)])
    (many,) = torch.autograd.grad(maps, x, each, is_grads_batched=True, retain_graph=True)
    for dy, found in zip(each, many, strict=True):
        (expected,) = torch.autograd.grad(maps, x, dy, retain_graph=True)
        torch.testing.assert_close(found, expected)


def test_numbers_that_are_not_there():
    shape = spline("equal", 3, 4)
    with FakeTensorMode():
        x = torch.empty(2, 3, 5, 4)
        assert maker(shape, x)(x).shape == (2, 3 * shape.size, 5, 4)


def test_what_has_no_fast_way():
    x = draw(2, 2, 3)
    assert maker(spline("equal", 3, 4), x, torch.bfloat16) is None
    assert maker(spline("own", 3, 4, 2), x) is None
    assert maker(spline("equal", 6, 4), x) is None
    assert map_maker(x, x.dtype, None, torch.sin) is None
    with use("triton"), pytest.raises(InputError, match="'triton' can't be used"):
        maker(spline("equal", 3, 4), x)
