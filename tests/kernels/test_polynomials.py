"""Chebyshev's polynomials by the native library beside cos(n arccos tanh u)."""

from functools import partial

import pytest
import torch
from slow_splines import IMAGES, assert_near, draw, needs_native, with_gradients

from edgewise.bases import Chebyshev
from edgewise.core import InputError
from edgewise.kernels import basis_linear, chosen, use
from edgewise.kernels.maps import map_maker
from edgewise.layers import KANConv2d, KANLinear

pytestmark = [needs_native, pytest.mark.usefixtures("each_library")]

BASES = [
    Chebyshev(3, constant=False),
    Chebyshev(6, (-2.0, 1.0)),
    Chebyshev(1),
    Chebyshev(1, constant=False),
    Chebyshev(9),
]


def textbook(basis, x):
    """T_n(tanh u), K on the last axis."""
    low, high = basis.domain
    angle = torch.tanh((2 * x - low - high) / (high - low)).arccos().unsqueeze(-1)
    return torch.cos(torch.arange(0 if basis.constant else 1, basis.degree + 1) * angle)


def slow_maps(basis, x):
    return textbook(basis, x).movedim(-1, 2).flatten(1, 2)


def slow_layer(basis, x, C, W):
    return torch.nn.functional.silu(x) @ W + torch.einsum("nik,kio->no", textbook(basis, x), C)


@pytest.mark.parametrize("basis", BASES, ids=repr)
@pytest.mark.parametrize("shape", IMAGES)
@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, 1e-12), (torch.float32, 1e-5)])
def test_maps_are_those_of_the_textbook(basis, shape, dtype, tolerance):
    x, dy = draw(*shape), draw(shape[0], shape[1] * basis.size, *shape[2:], seed=1)
    truth = with_gradients(lambda x: slow_maps(basis, x), dy, x)
    make = map_maker(x, dtype, basis.known, basis)
    found = with_gradients(make, dy.to(dtype), x.to(dtype))
    assert found[0].dtype == dtype
    assert_near(found, truth, tolerance, 100 * tolerance)


@pytest.mark.parametrize("basis", BASES, ids=repr)
@pytest.mark.parametrize("sizes", [(5, 3, 2), (1, 1, 1), (0, 3, 2), (700, 41, 9)])
@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, 1e-12), (torch.float32, 1e-5)])
def test_a_dense_layer_is_that_of_the_textbook(basis, sizes, dtype, tolerance):
    rows, inputs, outputs = sizes
    x, dy = draw(rows, inputs), draw(rows, outputs, seed=1)
    C, W = draw(basis.size, inputs, outputs, seed=2), draw(inputs, outputs, seed=3)
    truth = with_gradients(partial(slow_layer, basis), dy, x, C, W)
    x, C, W, dy = (t.to(dtype) for t in (x, C, W, dy))
    assert chosen(x, C, basis.known)[0] == "native"
    call = partial(basis_linear, functions=basis.known, base="silu")
    found = with_gradients(lambda x, C, W: call(x, C, basis, W=W), dy, x, C, W)
    assert_near(found, truth, tolerance, 100 * tolerance)


def test_threads_and_strides_do_not_matter():
    layer = KANConv2d(3, 4, 3, padding=1, basis=BASES[0], base=None).double()
    x, dy = draw(6, 3, 7, 5), draw(6, 4, 7, 5, seed=1)
    expected = with_gradients(layer, dy, x)
    before = torch.get_num_threads()
    try:
        torch.set_num_threads(3)
        found = with_gradients(layer, dy, x.contiguous(memory_format=torch.channels_last))
    finally:
        torch.set_num_threads(before)
    assert_near(found, expected, 1e-13, 1e-13)


def test_what_is_no_number_stays_where_it_is_and_the_ends_are_ends():
    basis, x = BASES[1], torch.tensor([float("nan"), float("inf"), -float("inf"), 300.0])
    maps = map_maker(x, x.dtype, basis.known, basis)(x.view(1, 1, 4))
    assert maps[0, :, 0].isnan().all()
    torch.testing.assert_close(maps[..., 1:], basis(x.view(1, 1, 4)).movedim(-1, 2)[0, ..., 1:])


def test_a_dense_layer_refuses_what_is_no_number():
    layer, x = KANLinear(3, 2, BASES[0]), torch.ones(4, 3)
    x[2, 1] = float("nan")
    with pytest.raises(InputError, match="nan in row 2, feature 1"):
        layer(x)


@pytest.mark.parametrize("make", [KANLinear, lambda i, o, b: KANConv2d(i, o, 1, basis=b)])
def test_gradients_of_gradients_and_many_at_once(make):
    layer = make(3, 2, BASES[0]).double()
    x = draw(*((4, 3) if isinstance(layer, KANLinear) else (2, 3, 2, 2))).requires_grad_()
    assert torch.autograd.gradgradcheck(layer, x)
    y = layer(x)
    each = torch.stack([draw(*y.shape, seed=2), draw(*y.shape, seed=3)])
    (many,) = torch.autograd.grad(y, x, each, is_grads_batched=True, retain_graph=True)
    for dy, found in zip(each, many, strict=True):
        (expected,) = torch.autograd.grad(y, x, dy, retain_graph=True)
        torch.testing.assert_close(found, expected)


def test_the_switch_and_what_has_no_fast_way():
    x, C = torch.zeros(2, 3), torch.zeros(3, 3, 2)
    with use("plain"):
        assert chosen(x, C, BASES[0].known) == ("plain", "it was asked for")
        assert map_maker(x, x.dtype, BASES[0].known, BASES[0]) is None
    with use("triton"), pytest.raises(InputError, match="the Triton kernel is for B-splines"):
        chosen(x, C, BASES[0].known)
    assert Chebyshev(3, outside="linear").known is None
    assert map_maker(x, torch.bfloat16, BASES[0].known, BASES[0]) is None
