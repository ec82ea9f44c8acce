import copy
import pickle

import pytest
import torch
from torch.autograd import forward_ad
from torch.func import functional_call
from torch.nn import functional as F

from edgewise.bases import BSpline, Chebyshev, Fourier, Gaussian, Rational, Wavelet
from edgewise.core import InputError, build, generator, recipe_of, seeded
from edgewise.kernels import use
from edgewise.layers import KANLinear
from edgewise.layers.linear import BASE_ACTIVATIONS

ACTIVATIONS = {"silu": F.silu, "tanh": torch.tanh, "identity": lambda x: x}
BASES = {
    "bspline": lambda: BSpline(4, 3),
    "bins": lambda: BSpline(4, 0),
    "hats": lambda: BSpline(4, 1),
    "degree 6": lambda: BSpline(4, 6),
    "shared cells": lambda: BSpline(degree=3).with_breaks(cells()),
    "own cells": lambda: BSpline(degree=2).with_breaks(torch.stack([cells(k) for k in range(3)])),
    "chebyshev": lambda: Chebyshev(4),
    "rational": lambda: Rational(3, 2),
    "zero": lambda: BSpline(4, 2, outside="zero"),
    "fourier": lambda: Fourier(2, learnable=True),
    "gaussian": lambda: Gaussian(3),
    "wavelet": lambda: Wavelet(5),
}


def cells(seed=0):
    return (0.2 + torch.rand(6, generator=generator(seed), dtype=torch.float64)).cumsum(0) - 2


def make(basis="bspline", features=(3, 2), seed=0, **options):
    with seeded(seed, "linear"):
        return KANLinear(*features, BASES[basis](), **options).double()


def inputs(*shape, seed=0):
    return torch.randn(*shape, generator=generator(seed, "x"), dtype=torch.float64)


every_basis = pytest.mark.parametrize("basis", BASES)
# Splines have more than one; "auto" is the plain one for the others.
every_path = pytest.mark.parametrize(
    ("basis", "path"),
    [
        *((basis, "auto") for basis in BASES),
        *((basis, "plain") for basis in ("bspline", "hats", "shared cells", "own cells")),
    ],
)


def slowly(layer, x):
    """Three loops: samples, outputs, inputs; each edge as its formula says."""
    rows = []
    for sample in x:
        row = []
        own = layer.basis(sample)
        for o in range(layer.out_features):
            total = torch.zeros((), dtype=x.dtype)
            for i, B in enumerate(own):
                total = total + (layer.coefficients[:, i, o] * B).sum()
                if layer.base:
                    total = total + layer.base_weight[i, o] * ACTIVATIONS[layer.base](sample[i])
            row.append(total if layer.bias is None else total + layer.bias[o])
        rows.append(torch.stack(row))
    return torch.stack(rows)


@every_path
@pytest.mark.parametrize("options", [{}, {"base": "tanh", "bias": True}, {"base": None}])
def test_it_is_the_three_loops_in_value_and_gradient(basis, options, path):
    layer = make(basis, **options)
    if layer.bias is not None:
        torch.nn.init.normal_(layer.bias)
    x = (2 * inputs(7, 3)).requires_grad_()
    results = []
    with use(path):
        for read in (layer, lambda x: slowly(layer, x)):
            y = read(x)
            wanted = [x, *layer.parameters()]
            results.append((y, *torch.autograd.grad((y * inputs(7, 2, seed=1)).sum(), wanted)))
    for fast, slow in zip(*results, strict=True):
        torch.testing.assert_close(fast, slow, rtol=1e-12, atol=1e-12)


@every_basis
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


@pytest.mark.parametrize("basis", ["bspline", "fourier", "wavelet", "rational"])
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


# torch's own use of it, in forward-mode differentiation.
scripts = pytest.mark.filterwarnings("ignore:`torch.jit.script` is deprecated")


def near(found, expected, allowed=1e-10):
    torch.testing.assert_close(found, expected, rtol=allowed, atol=allowed)


@every_path
def test_in_float32_it_is_within_1e_5(basis, path):
    wide = make(basis, bias=True)
    layer, x = copy.deepcopy(wide).float(), 2 * inputs(100, 3)
    results = []
    with use(path):
        for each, at in ((layer, x.float()), (wide, x.float().double())):
            at.requires_grad_()
            y = each(at)
            wanted = [at, *each.parameters()]
            results.append((y, *torch.autograd.grad(y.square().sum(), wanted)))
    for found, expected in zip(*results, strict=True):
        assert found.dtype == torch.float32
        assert (found - expected).abs().max() <= 1e-5 * expected.abs().max().clamp(min=1)


@every_path
def test_gradients_and_their_gradients_pass_the_finite_differences(basis, path):
    layer = make(basis, bias=True)
    # In the middle of a cell: no difference straddles a break.
    x = torch.tensor([[-0.81, 0.33, -1.4]], dtype=torch.float64).requires_grad_()
    names = [name for name, _ in layer.named_parameters()]

    def call(x, *parameters):
        return functional_call(layer, dict(zip(names, parameters, strict=True)), (x,))

    with use(path):
        assert torch.autograd.gradcheck(call, (x, *layer.parameters()))
        if basis != "hats":  # their second derivative is nothing, but for the breaks
            assert torch.autograd.gradgradcheck(call, (x, *layer.parameters()), atol=1e-4)


@every_basis
@scripts
def test_it_stands_all_transforms(basis):
    layer, x = make(basis, bias=True), inputs(4, 3)
    near(torch.func.vmap(layer)(x), layer(x), 1e-13)
    jacobian = torch.autograd.functional.jacobian(layer, x[0])
    near(torch.func.jacrev(layer)(x[0]), jacobian)
    near(torch.func.jacfwd(layer)(x[0]), jacobian)
    near(torch.func.vmap(torch.func.jacrev(layer))(x)[0], jacobian)
    many = torch.autograd.functional.jacobian(layer, x, vectorize=True)
    near(many, torch.autograd.functional.jacobian(layer, x))
    if basis != "hats":
        hessian = torch.func.hessian(lambda x: layer(x).square().sum())(x[0])
        near(hessian, torch.autograd.functional.hessian(lambda x: layer(x).square().sum(), x[0]))
    tangent = inputs(4, 3, seed=1)
    with forward_ad.dual_level():
        y = forward_ad.unpack_dual(layer(forward_ad.make_dual(x, tangent)))
    near(y.primal, layer(x), 1e-13)
    near(y.tangent[0], jacobian @ tangent[0])


@every_basis
def test_sets_of_parameters_are_taken_at_once(basis):
    layer, x = make(basis, bias=True), inputs(4, 3)
    sets = {k: torch.stack([p, 0.5 * p]) for k, p in layer.named_parameters()}
    found = torch.func.vmap(lambda p: functional_call(layer, p, (x,)))(sets)
    for k in (0, 1):
        near(found[k], functional_call(layer, {n: p[k] for n, p in sets.items()}, (x,)), 1e-13)


@pytest.mark.parametrize("basis", ["bspline", "fourier", "rational", "gaussian"])
def test_the_way_back_is_that_of_the_parameters_it_was_called_with(basis):
    layer, other = make(basis, bias=True), make(basis, bias=True)
    with torch.no_grad():
        for p in other.parameters():
            p.mul_(1.4).add_(0.05)
    x = inputs(9, 3).requires_grad_()
    held = {k: p.detach().clone().requires_grad_() for k, p in other.named_parameters()}
    y = functional_call(layer, held, (x,)).sin().sum()
    found = torch.autograd.grad(y, [x, *held.values()])
    expected = torch.autograd.grad(other(x).sin().sum(), [x, *other.parameters()])
    for a, b in zip(found, expected, strict=True):
        assert torch.equal(a, b)


@scripts
@pytest.mark.parametrize("basis", ["bspline", "own cells", "rational"])
def test_it_compiles_in_one_graph_and_is_exported(basis):
    torch._dynamo.reset()
    layer, x = make(basis, bias=True), inputs(4, 3)
    compiled = torch.compile(layer, fullgraph=True, backend="aot_eager")
    results = []
    for each in (layer, compiled):
        at = x.clone().requires_grad_()
        y = each(at)
        results.append((y, *torch.autograd.grad(y.square().sum(), [at, *layer.parameters()])))
    for found, expected in zip(*results, strict=True):
        near(found, expected, 1e-12)
    batch = torch.export.Dim("batch")
    program = torch.export.export(layer, (x,), dynamic_shapes=({0: batch},))
    near(program.module()(inputs(7, 3)), layer(inputs(7, 3)), 1e-12)


@every_basis
def test_under_autocast_and_in_bfloat16(basis):
    wide = make(basis, bias=True)
    layer, x = copy.deepcopy(wide).float(), 0.8 * inputs(40, 3).clamp(-1.2, 1.2).bfloat16()
    expected = wide(x.double())
    with torch.autocast("cpu", torch.bfloat16):
        y = layer(F.linear(x, torch.eye(3)))  # in bfloat16, as other layers give it
    y.square().sum().backward()
    near(y.double(), expected, 1e-4)
    half = copy.deepcopy(wide).bfloat16()
    y = half(x)
    assert y.dtype == torch.bfloat16
    y.sum().backward()
    assert all(p.grad.isfinite().all() for p in half.parameters())
    if basis != "bins":  # a place at a break may be on its other side
        scale = sum(float(t.detach().abs().max()) for t in (wide.coefficients, wide.base_weight))
        assert (y.double() - expected).abs().max() < 0.03 * scale * 3
    near(half.curves(x).sum(-1), y, 0.1)


def test_columns_and_steps_through_memory_do_not_matter():
    layer, x = make(bias=True), inputs(20, 6)
    for strange in (x[:, ::2], x[::2, :3], x.T.contiguous().T[:, 1:4], x[:, :1].expand(20, 3)):
        near(layer(strange), layer(strange.contiguous()), 1e-13)


def test_what_is_kept_for_the_way_back_does_not_grow_with_the_grid():
    for path in ("auto", "plain"):
        kept = []
        for grid_size in (5, 100):
            layer, x = (
                KANLinear(16, 8, BSpline(grid_size)),
                torch.randn(500, 16, requires_grad=True),
            )
            sizes = {}
            with (
                use(path),
                torch.autograd.graph.saved_tensors_hooks(
                    lambda t, sizes=sizes: sizes.update({t.data_ptr(): t.nbytes}) or t, lambda t: t
                ),
            ):
                layer(x)
            kept.append(sum(sizes.values()) - layer.coefficients.nbytes - layer.base_weight.nbytes)
        assert kept == [x.nbytes] * 2


def test_normalised_inputs_have_mean_zero_and_variance_one():
    layer = make(normalize="batch", bias=True)
    plain = make(bias=True)
    x = 5 + 3 * inputs(64, 3)
    z = (x - x.mean(0)) / (x.var(0, unbiased=False) + layer.norm.eps).sqrt()
    near(layer(x), plain(z), 1e-12)
    statistics = layer.norm.running_mean.clone()
    assert not torch.equal(statistics, torch.zeros(3).double())
    near(layer.curves(x), plain.curves(z), 1e-12)
    assert torch.equal(layer.norm.running_mean, statistics), "looking leaves no trace"
    layer.eval()
    near(layer.curves(x).sum(-1), layer(x), 1e-12)


@pytest.mark.parametrize("given", [torch.float64, torch.bfloat16])
def test_normalised_inputs_may_be_of_another_precision(given):
    layer = KANLinear(3, 2, normalize="batch")
    assert layer(inputs(8, 3).to(given)).dtype == torch.float32


@every_basis
def test_it_is_pickled(basis):
    layer, x = make(basis, bias=True), inputs(5, 3)
    assert torch.equal(pickle.loads(pickle.dumps(layer))(x), layer(x))


def test_without_memory_it_knows_its_shapes():
    with torch.device("meta"):
        layer = KANLinear(3, 2, bias=True)
    assert layer(torch.empty(4, 3, device="meta")).shape == (4, 2)
    layer = layer.to_empty(device="cpu")
    layer.reset_parameters()
    assert layer(torch.zeros(4, 3)).isfinite().all()


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
            lambda: KANLinear(2, 2)(torch.zeros(3, 2, dtype=torch.int64)),
            "KANLinear takes floating-point numbers, got torch.int64; use x.float()",
        ),
        (
            lambda: KANLinear(2, 2)(torch.zeros(3, 2, device="meta")),
            "KANLinear is on cpu but x is on meta; use x.to('cpu')",
        ),
        (
            lambda: KANLinear(2, 2, normalize="layer"),
            "normalize must be None or 'batch', got 'layer'",
        ),
        (
            lambda: KANLinear(2, 2, BSpline(grid_size=0)),
            "grid_size must be a whole number of at least 1, got 0",
        ),
        (
            lambda: KANLinear(2, 2)(torch.tensor([[[0.0, 0.0]], [[0.0, float("nan")]]])),
            "x holds nan in row 1, feature 1; a layer takes finite numbers",
        ),
        (
            lambda: KANLinear(2, 2, "fourier")(torch.tensor([[0.0, 0.0], [float("inf"), 0.0]])),
            "x holds inf in row 1, feature 0; a layer takes finite numbers",
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
