import copy

import pytest
import torch
from torch.nn import functional as F

from edgewise.bases import BSpline, Fourier, Gaussian, Wavelet
from edgewise.core import InputError, build, generator, recipe_of, seeded
from edgewise.layers import KANLinear
from edgewise.layers.linear import BASE_ACTIVATIONS

ACTIVATIONS = {"silu": F.silu, "tanh": torch.tanh, "identity": lambda x: x}
BASES = {
    "bspline": lambda: BSpline(4, 3),
    "zero": lambda: BSpline(4, 2, outside="zero"),
    "fourier": lambda: Fourier(2, learnable=True),
    "gaussian": lambda: Gaussian(3),
    "wavelet": lambda: Wavelet(5),
}


def make(basis="bspline", features=(3, 2), seed=0, **options):
    with seeded(seed, "linear"):
        return KANLinear(*features, BASES[basis](), **options).double()


def inputs(*shape, seed=0):
    return torch.randn(*shape, generator=generator(seed, "x"), dtype=torch.float64)


def slowly(layer, x):
    """Three loops: samples, outputs, inputs; each edge as its formula says."""
    rows = []
    for sample in x:
        row = []
        for o in range(layer.out_features):
            total = torch.zeros((), dtype=x.dtype)
            for i in range(layer.in_features):
                B = layer.basis(sample[i])
                total = total + (layer.coefficients[:, i, o] * B).sum()
                if layer.base:
                    total = total + layer.base_weight[i, o] * ACTIVATIONS[layer.base](sample[i])
            row.append(total if layer.bias is None else total + layer.bias[o])
        rows.append(torch.stack(row))
    return torch.stack(rows)


@pytest.mark.parametrize("basis", BASES)
@pytest.mark.parametrize("options", [{}, {"base": "tanh", "bias": True}, {"base": None}])
def test_it_is_the_three_loops_in_value_and_gradient(basis, options):
    layer = make(basis, **options)
    if layer.bias is not None:
        torch.nn.init.normal_(layer.bias)
    x = (2 * inputs(7, 3)).requires_grad_()
    results = []
    for read in (layer, lambda x: slowly(layer, x)):
        y = read(x)
        wanted = [x, *layer.parameters()]
        results.append((y, *torch.autograd.grad((y * inputs(7, 2, seed=1)).sum(), wanted)))
    for fast, slow in zip(*results, strict=True):
        torch.testing.assert_close(fast, slow, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("basis", BASES)
@pytest.mark.parametrize("base", [None, *BASE_ACTIVATIONS])
@pytest.mark.parametrize("bias", [False, True])
def test_curves_sum_to_the_layer(basis, base, bias):
    layer = make(basis, base=base, bias=bias)
    if bias:
        torch.nn.init.normal_(layer.bias)
    x = 2 * inputs(2, 5, 3)
    curves = layer.curves(x)
    assert curves.shape == (2, 5, 2, 3)
    torch.testing.assert_close(curves.sum(-1), layer(x), rtol=1e-12, atol=1e-12)
    # Each curve knows its own input only.
    moved = layer.curves(torch.cat([x[..., :2], x[..., 2:] + 0.3], -1))
    assert torch.equal(moved[..., :2], curves[..., :2])
    assert (moved[..., 2] != curves[..., 2]).any()


@pytest.mark.parametrize("basis", ["bspline", "fourier", "wavelet"])
@pytest.mark.parametrize("base", [None, *BASE_ACTIVATIONS])
def test_curves_of_higher_order_are_those_of_autograd(basis, base):
    layer = make(basis, features=(1, 4), base=base, bias=True)
    x = (1.7 * inputs(23, 1)).requires_grad_()
    for order in (1, 2):
        lower = layer.curves(x, order - 1)
        for o in range(4):
            (expected,) = torch.autograd.grad(lower[:, o].sum(), x, retain_graph=True)
            found = layer.curves(x, order)[:, o]
            torch.testing.assert_close(found, expected, rtol=1e-10, atol=1e-10)


def test_with_straight_curves_it_is_a_dense_layer():
    layer = make("bspline", features=(4, 6), base="identity", bias=True)
    dense = torch.nn.Linear(4, 6).double()
    # The Greville points: on equal cells the mean of k neighbouring knots makes B · c = x.
    basis = layer.basis
    knots = -1 + basis.step * torch.arange(-3, basis.grid_size + 4, dtype=torch.float64)
    line = knots[1:-1].unfold(0, 3, 1).mean(-1)
    share = inputs(4, 6)
    with torch.no_grad():
        layer.coefficients.copy_(line[:, None, None] * share)
        layer.base_weight.copy_(dense.weight.T - share)
        layer.bias.copy_(dense.bias)
    x = 3 * inputs(50, 4)
    torch.testing.assert_close(layer(x), dense(x), rtol=1e-12, atol=1e-12)


def test_a_two_layer_network_of_straight_curves_is_an_mlp():
    mlp = torch.nn.Sequential(torch.nn.Linear(3, 5), torch.nn.Linear(5, 2)).double()
    layers = [make(features=(3, 5), base="identity", bias=True), make(features=(5, 2), bias=True)]
    with torch.no_grad():
        for layer, dense in zip(layers, (mlp[0], mlp[1]), strict=True):
            layer.coefficients.zero_()
            layer.base_weight.copy_(dense.weight.T)
            layer.bias.copy_(dense.bias)
    x = inputs(9, 3)
    expected = mlp[1](F.silu(mlp[0](x)))
    torch.testing.assert_close(layers[1](layers[0](x)), expected, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("shape", [(3,), (0, 3), (63, 3), (2, 1, 4, 3)])
def test_any_leading_shape_will_do(shape):
    layer = make(bias=True)
    x = inputs(*shape)
    y = layer(x)
    assert y.shape == (*shape[:-1], 2)
    assert layer.curves(x).shape == (*shape[:-1], 2, 3)
    torch.testing.assert_close(y.reshape(-1, 2), layer(x.reshape(-1, 3)), rtol=1e-13, atol=1e-13)


def test_the_basis_sees_every_digit_of_its_input():
    """Unix seconds on a clock of years: neighbours are 3e-8 apart, below the digits of float32."""
    layer = KANLinear(1, 1, BSpline(1000, 1), base=None)
    x = torch.tensor([[0.5011], [0.5011 + 2e-8]], dtype=torch.float64)
    assert x[0].float() == x[1].float()
    y = layer(x)
    assert y.dtype == torch.float32
    slope = layer.curves(x, 1)[0, 0]
    torch.testing.assert_close((y[1] - y[0]) / 2e-8, slope, rtol=0.05, atol=0)


def test_the_dtype_is_that_of_the_layer():
    for dtype in (torch.float32, torch.float64, torch.bfloat16):
        layer = KANLinear(3, 2, bias=True).to(dtype)
        for given in (torch.float32, torch.float64):
            assert layer(torch.zeros(4, 3, dtype=given)).dtype == dtype
            assert layer.curves(torch.zeros(4, 3, dtype=given)).dtype == dtype


def test_at_the_start_the_signal_keeps_its_size():
    x = inputs(2000, 64).float()
    for features in ((64, 64), (64, 8)):
        with seeded(0):
            y = KANLinear(*features)(x)
        assert 0.6 < y.std() < 1.7


def test_construction_follows_the_default_generator():
    with seeded(1):
        first = KANLinear(3, 2)
    with seeded(1):
        again = KANLinear(3, 2)
    with seeded(2):
        other = KANLinear(3, 2)
    assert torch.equal(first.coefficients, again.coefficients)
    assert not torch.equal(first.coefficients, other.coefficients)


def test_state_copy_and_recipe():
    layer = make("fourier", bias=True)
    x = inputs(5, 3)
    again = build(recipe_of(layer)).double()
    again.load_state_dict(layer.state_dict())
    assert torch.equal(again(x), layer(x))
    assert torch.equal(copy.deepcopy(layer)(x), layer(x))


def test_a_few_steps_learn_a_product_of_curves():
    with seeded(0):
        layers = torch.nn.Sequential(KANLinear(2, 4), KANLinear(4, 1, bias=True))
    x = torch.rand(256, 2, generator=generator(0)) * 2 - 1
    y = torch.exp(torch.sin(3 * x[:, :1]) * x[:, 1:])
    optimiser = torch.optim.Adam(layers.parameters(), lr=0.05)
    for _ in range(150):
        optimiser.zero_grad()
        loss = (layers(x) - y).square().mean()
        loss.backward()
        optimiser.step()
    assert loss.item() < 0.02 * y.var()


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: KANLinear(0, 2), "in_features must be a whole number of at least 1, got 0"),
        (lambda: KANLinear(2, 1.5), "out_features must be a whole number of at least 1, got 1.5"),
        (
            lambda: KANLinear(2, 2, base="silo"),
            "unknown base activation 'silo': did you mean 'silu'? (known: silu, tanh, identity)",
        ),
        (
            lambda: KANLinear(2, 2, "splin"),
            "unknown basis 'splin': did you mean 'bspline'? "
            "(known: bspline, chebyshev, fourier, gaussian, rational, wavelet)",
        ),
        (
            lambda: KANLinear(2, 2)(torch.zeros(3, 4)),
            "KANLinear takes 2 features on the last axis, got x of shape (3, 4)",
        ),
        (
            lambda: KANLinear(2, 2).curves(torch.tensor(1.0)),
            "KANLinear takes 2 features on the last axis, got x of shape ()",
        ),
        (
            lambda: KANLinear(2, 2).curves(torch.zeros(2), order=3),
            "derivatives are known up to order 2, got order=3",
        ),
    ],
)
def test_bad_input_is_refused_word_by_word(call, message):
    with pytest.raises(InputError) as caught:
        call()
    assert str(caught.value) == message
