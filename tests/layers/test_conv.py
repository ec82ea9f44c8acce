import itertools

import pytest
import torch
from torch.func import functional_call
from torch.nn import functional as F

import edgewise.layers.recomputed_conv as recomputed
from edgewise.bases import BSpline, Chebyshev, Fourier, Gaussian, Rational, Wavelet
from edgewise.core import InputError, build, generator, recipe_of, seeded
from edgewise.kernels import use
from edgewise.layers.conv import KANConv1d, KANConv2d, KANConv3d

CONVS = {1: KANConv1d, 2: KANConv2d, 3: KANConv3d}
ACTIVATIONS = {"silu": F.silu, "tanh": torch.tanh, "identity": lambda x: x}
BASES = {
    "bspline": lambda: BSpline(3, 3),
    "zero": lambda: BSpline(4, 2, outside="zero"),
    "fourier": lambda: Fourier(2),
    "fourier learnable": lambda: Fourier(2, learnable=True),
    "gaussian": lambda: Gaussian(3),
    "wavelet": lambda: Wavelet(3),
    "chebyshev": lambda: Chebyshev(3),
    "rational": lambda: Rational(3, 2),
    "rational groups": lambda: Rational(2, 2, groups=2),
}
GEOMETRIES = {
    "1d": (1, (5,), {"kernel_size": 2}),
    "1d same": (1, (4,), {"kernel_size": 4, "padding": "same", "bias": True}),
    "2d all": (
        2,
        (4, 3),
        {
            "kernel_size": (3, 2),
            "stride": (2, 1),
            "padding": (1, 1),
            "dilation": (1, 2),
            "groups": 2,
            "bias": True,
            "base": "tanh",
        },
    ),
    "2d same": (2, (2, 3), {"kernel_size": (2, 2), "padding": "same", "dilation": (1, 3)}),
    "2d depthwise": (2, (3, 3), {"kernel_size": 2, "groups": 4, "base": None}),
    "2d normalised": (2, (2, 3), {"kernel_size": 2, "padding": 1, "normalize": "batch"}),
    "3d": (3, (2, 2, 2), {"kernel_size": (2, 1, 2), "padding": (1, 0, 0), "base": "identity"}),
}


def make(dims=2, basis="bspline", channels=(4, 8), seed=0, **options):
    with seeded(seed, "conv"):
        layer = CONVS[dims](*channels, basis=BASES[basis](), **options).double()
        if layer.bias is not None:
            torch.nn.init.normal_(layer.bias)
        return layer


def inputs(*shape, seed=0):
    return torch.randn(*shape, generator=generator(seed, "x"), dtype=torch.float64)


def slowly(layer, x):
    """A loop over outputs, places and taps; each edge as its formula says, padding by index."""
    if layer.norm is not None:
        axes = [0, *range(2, x.ndim)]
        mean, var = x.mean(axes, keepdim=True), x.var(axes, keepdim=True, unbiased=False)
        x = (x - mean) / (var + layer.norm.eps).sqrt()
    kernel, stride, padding, dilation = layer.geometry
    sizes, inside = x.shape[2:], layer.in_channels // layer.groups
    places = [
        range((n + sum(pad) - d * (k - 1) - 1) // s + 1)
        for n, k, s, pad, d in zip(sizes, kernel, stride, padding, dilation, strict=True)
    ]
    rows = []
    for o in range(layer.out_channels):
        first = o // (layer.out_channels // layer.groups) * inside
        for place in itertools.product(*places):
            total = x.new_zeros(len(x)) + (0 if layer.bias is None else layer.bias[o])
            for tap in itertools.product(*map(range, kernel)):
                at = tuple(
                    p * s + r * d - pad[0]
                    for p, s, r, d, pad in zip(place, stride, tap, dilation, padding, strict=True)
                )
                there = all(0 <= i < n for i, n in zip(at, sizes, strict=True))
                pixels = x[(slice(None), slice(None), *at)] if there else 0 * x.flatten(2)[..., 0]
                edges = (slice(first, first + inside), (slice(None), o, slice(None), *tap))
                values = layer.basis(pixels)[:, edges[0]]
                total = total + (values * layer.coefficients[edges[1]].T).sum((1, 2))
                if layer.base:
                    a = ACTIVATIONS[layer.base](pixels[:, edges[0]])
                    total = total + (a * layer.base_weight[edges[1][1:]]).sum(1)
            rows.append(total)
    return torch.stack(rows, 1).reshape(len(x), layer.out_channels, *map(len, places))


def values_and_gradients(layer, x, read):
    x = x.clone().requires_grad_()
    y = read(x)
    wanted = [x, *layer.parameters()]
    return y, *torch.autograd.grad((y * inputs(*y.shape, seed=1)).sum(), wanted)


def assert_same(found, expected, tolerance=1e-11):
    for fast, slow in zip(found, expected, strict=True):
        torch.testing.assert_close(fast, slow, rtol=tolerance, atol=tolerance)


# Torch's own rules for forward mode are TorchScript, which it has deprecated itself.
forward_mode = pytest.mark.filterwarnings("ignore:`torch.jit.script:DeprecationWarning")


@pytest.fixture
def one_sample_at_a_time(monkeypatch):
    monkeypatch.setitem(recomputed.CHUNK_BYTES, "cpu", 1)


@pytest.mark.parametrize("path", ["auto", "plain"])
@pytest.mark.parametrize("case", GEOMETRIES)
def test_it_is_the_loops_in_value_and_gradient(case, path, one_sample_at_a_time):
    dims, size, options = GEOMETRIES[case]
    layer = make(dims, channels=(4, 4) if options.get("groups") else (2, 2), **options)
    x = 1.5 * inputs(3, layer.in_channels, *size)
    slow = values_and_gradients(layer, x, lambda x: slowly(layer, x))
    with use(path):
        assert_same(values_and_gradients(layer, x, layer), slow)


@pytest.mark.parametrize("basis", BASES)
def test_every_basis_is_the_loops(basis, one_sample_at_a_time):
    layer = make(2, basis, (4, 2), kernel_size=2, padding=1, stride=2, groups=2, bias=True)
    x = 1.5 * inputs(3, 4, 3, 2)
    slow = values_and_gradients(layer, x, lambda x: slowly(layer, x))
    assert_same(values_and_gradients(layer, x, layer), slow)


def test_chunks_change_nothing(monkeypatch):
    layer = make(2, "rational", kernel_size=3, bias=True)
    x = inputs(7, 4, 5, 6)
    whole = values_and_gradients(layer, x, layer)
    pixels, maps = 5 * 6, 4 * layer.basis.size
    for samples in (1, 2, 3):
        monkeypatch.setitem(recomputed.CHUNK_BYTES, "cpu", samples * pixels * maps * 8)
        assert_same(values_and_gradients(layer, x, layer), whole, 1e-12)


def test_the_maps_held_at_once_are_no_more_than_promised(monkeypatch):
    # What the native library makes asks no basis; the chunks are the same.
    layer = make(2, "rational", kernel_size=3, padding=1)
    sizes = []
    layer.basis.register_forward_hook(lambda *call: sizes.append(call[-1].nbytes))
    monkeypatch.setitem(recomputed.CHUNK_BYTES, "cpu", 50_000)
    layer(inputs(9, 4, 5, 6).requires_grad_()).sum().backward()
    assert max(sizes) <= 50_000 < 2 * max(sizes)
    assert sum(sizes) == 2 * 9 * 7 * 8 * 4 * layer.basis.size * 8


def saved_bytes(layer, x):
    """What is kept for the backward pass, each storage once, parameters and buffers left out."""
    own = {t.untyped_storage().data_ptr() for t in (*layer.parameters(), *layer.buffers())}
    kept = {}

    def pack(t):
        if t.untyped_storage().data_ptr() not in own:
            kept[t.untyped_storage().data_ptr()] = t.untyped_storage().nbytes()
        return t

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda t: t):
        y = layer(x)
    assert y.requires_grad
    return sum(kept.values())


@pytest.mark.parametrize("grid_size", [3, 100])
def test_only_x_is_saved(grid_size):
    layer = KANConv2d(3, 4, 3, basis=BSpline(grid_size), bias=True)
    x = torch.randn(2, 3, 9, 9)
    for given in (x, x.clone().requires_grad_()):
        assert saved_bytes(layer, given) == x.nbytes


def test_what_needs_no_gradient_gets_none():
    layer = make(1, "fourier learnable", kernel_size=2, bias=True)
    layer.coefficients.requires_grad_(False)
    layer.basis.requires_grad_(False)
    x = inputs(2, 4, 5)
    y = layer(x)
    y.sum().backward()
    assert layer.coefficients.grad is None
    assert layer.basis.omega.grad is None
    assert x.grad is None
    assert layer.bias.grad is not None
    assert layer.base_weight.grad is not None
    with torch.no_grad():
        assert layer(x).grad_fn is None


def test_knots_that_move_before_the_backward_pass_are_noticed():
    layer = make(1, "gaussian", kernel_size=2)
    y = layer(inputs(2, 4, 5))
    layer.basis.place(inputs(50))
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        y.sum().backward()


@forward_mode
@pytest.mark.parametrize("basis", ["bspline", "rational"])
def test_gradcheck_and_gradgradcheck(basis, one_sample_at_a_time):
    layer = make(1, basis, (1, 1), kernel_size=2, padding=1, bias=True)
    names = [name for name, _ in layer.named_parameters()]
    values = [p.detach().requires_grad_() for p in layer.parameters()]

    def call(x, *values):
        return functional_call(layer, dict(zip(names, values, strict=True)), x)

    x = 0.7 * inputs(2, 1, 2).requires_grad_()
    assert torch.autograd.gradcheck(
        call, (x, *values), check_forward_ad=True, check_batched_grad=True
    )
    assert torch.autograd.gradgradcheck(call, (x, *values))


def test_a_weight_that_made_x_is_counted_once():
    # Twice differentiated, the derivative by w must not also run through the x that w made.
    layer = make(1, "gaussian", (1, 1), kernel_size=1, base=None)
    w = layer.coefficients

    def slope(read):
        x = w.sum().reshape(1, 1, 1)
        (g,) = torch.autograd.grad(read(x).square().sum(), w, create_graph=True)
        return g, *torch.autograd.grad(g.square().sum(), w)

    direct = lambda x: (layer.basis(x) * w[:, 0, 0, 0]).sum(-1)  # noqa: E731
    assert_same(slope(layer), slope(direct), 1e-12)


@forward_mode
def test_transforms_of_torch_func():
    layer = make(2, "rational", (2, 2), kernel_size=2, padding=1, bias=True)
    parameters = {name: p.detach() for name, p in layer.named_parameters()}
    x = inputs(3, 2, 3, 3)

    def loss(parameters, x):
        return functional_call(layer, parameters, x[None]).square().sum()

    each = torch.func.vmap(torch.func.grad(loss), (None, 0))(parameters, x)
    for i in range(3):
        expected = torch.autograd.grad(layer(x[i : i + 1]).square().sum(), layer.parameters())
        assert_same([g[i] for g in each.values()], expected, 1e-12)
    stacked = {name: torch.stack([p, 2 * p]) for name, p in parameters.items()}
    ensemble = torch.func.vmap(lambda p: functional_call(layer, p, x))(stacked)
    twice = functional_call(layer, {name: 2 * p for name, p in parameters.items()}, x)
    assert_same(ensemble, (layer(x), twice), 1e-12)
    tangent = inputs(*x.shape, seed=2)
    _, forward = torch.func.jvp(layer, (x,), (tangent,))
    y = layer(x.requires_grad_())
    (back,) = torch.autograd.grad((y * forward).sum(), x)
    torch.testing.assert_close((back * tangent).sum(), forward.square().sum())


@pytest.mark.parametrize("basis", ["bspline", "rational"])
@pytest.mark.filterwarnings("ignore")  # of the compiler about itself
def test_compile_and_export(basis):
    layer = make(2, basis, kernel_size=3, padding="same", normalize="batch", bias=True)
    x = inputs(3, 4, 5, 6)
    compiled = torch.compile(layer, fullgraph=True, backend="aot_eager")
    assert_same(values_and_gradients(layer, x, compiled), values_and_gradients(layer, x, layer))
    layer.eval()
    batch = torch.export.Dim("batch")
    program = torch.export.export(layer, (x,), dynamic_shapes=({0: batch},))
    more = inputs(5, 4, 5, 6, seed=3)
    torch.testing.assert_close(program.module()(more), layer(more))


@pytest.mark.parametrize("basis", BASES)
def test_bfloat16_autocast_is_finite_and_near(basis):
    layer = make(2, basis, kernel_size=3, padding=1, bias=True).float()
    x = inputs(2, 4, 5, 5).float()
    exact = values_and_gradients(layer.double(), x.double(), layer)
    layer.float()
    for given in (x, x.bfloat16()):
        inner = given.clone().requires_grad_()
        with torch.autocast("cpu", dtype=torch.bfloat16):
            y = layer(inner)
        assert y.dtype == torch.bfloat16
        wanted = [inner, *layer.parameters()]
        grads = torch.autograd.grad((y.double() * inputs(*y.shape, seed=1)).sum(), wanted)
        for mixed, expected in zip((y, *grads), exact, strict=True):
            assert (mixed.double() - expected).abs().max() < 0.04 * expected.abs().max()
        assert all(g.dtype == t.dtype for g, t in zip(grads, wanted, strict=True))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
def test_the_dtype_is_that_of_the_layer(dtype):
    layer = KANConv1d(2, 3, 2, bias=True).to(dtype)
    for given in (torch.float32, torch.float64):
        x = torch.zeros(2, 2, 5, dtype=given, requires_grad=True)
        y = layer(x)
        assert y.dtype == dtype
        y.sum().backward()
        assert x.grad.dtype == given
    with torch.autocast("cpu", dtype=torch.bfloat16):
        mixed = layer(torch.zeros(2, 2, 5))
    assert mixed.dtype == (torch.float64 if dtype == torch.float64 else torch.bfloat16)


@pytest.mark.parametrize("shape", [(0, 4, 5, 6), (1, 4, 2, 2), (63, 4, 3, 2)])
def test_awkward_batches(shape):
    layer = make(2, kernel_size=2, bias=True)
    x = inputs(*shape).requires_grad_()
    y = layer(x)
    assert y.shape == (shape[0], 8, shape[2] - 1, shape[3] - 1)
    y.sum().backward()
    assert x.grad.shape == shape
    if shape[0]:
        torch.testing.assert_close(layer(x[:1]), y[:1])


def test_the_memory_format_of_x_makes_no_difference():
    layer = make(2, kernel_size=3)
    x = inputs(2, 4, 5, 6)
    assert_same([layer(x.to(memory_format=torch.channels_last))], [layer(x)], 1e-13)


@pytest.mark.parametrize("basis", BASES)
@pytest.mark.parametrize("base", [None, "silu"])
def test_curves_are_the_edges(basis, base):
    layer = make(2, basis, (4, 6), kernel_size=(2, 1), groups=2, base=base, bias=True)
    x = 1.5 * inputs(3, 2)
    curves = layer.curves(x)
    assert curves.shape == (3, 2, 6, 2, 2, 1)
    # An image of one number meets every edge of an output once.
    images = x.reshape(6, 1, 1, 1).expand(6, 4, 2, 1)
    sums = curves.flatten(3).sum(-1).reshape(6, 6) + layer.bias
    torch.testing.assert_close(layer(images)[..., 0, 0], sums, rtol=1e-12, atol=1e-12)
    # And one edge alone is met where only its coefficients are left.
    with torch.no_grad():
        for p in (layer.coefficients, layer.base_weight):
            if p is not None:
                edge = p[..., 5, 1, 1, 0].clone()
                p.zero_()[..., 5, 1, 1, 0] = edge
    alone = layer(images)[..., 0, 0] - layer.bias
    torch.testing.assert_close(alone[:, 5], curves[..., 5, 1, 1, 0].flatten())
    assert (alone[:, :5] == 0).all()


@pytest.mark.parametrize("basis", ["bspline", "rational groups"])
def test_curves_of_higher_order_are_those_of_autograd(basis):
    layer = make(1, basis, (2, 2), kernel_size=2)
    x = (0.9 * inputs(11)).requires_grad_()
    for order in (1, 2):
        lower = layer.curves(x, order - 1).flatten(1)
        for edge in range(lower.shape[1]):
            (expected,) = torch.autograd.grad(lower[:, edge].sum(), x, retain_graph=True)
            found = layer.curves(x, order).flatten(1)[:, edge]
            torch.testing.assert_close(found, expected, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("base", [None, "silu", "tanh", "identity"])
@pytest.mark.parametrize("basis", BASES)
def test_at_the_start_the_signal_keeps_its_size(basis, base):
    with seeded(3):
        layer = KANConv2d(8, 32, 3, basis=BASES[basis](), base=base, groups=2)
    y = layer(torch.randn(8, 8, 8, 8, generator=generator(0)))
    assert 0.7 < y.square().mean().sqrt() < 1.4
    if base is not None:
        with torch.no_grad():
            layer.base_weight.zero_()
        small = layer(torch.randn(8, 8, 8, 8, generator=generator(0))).square().mean().sqrt()
        assert 0.07 < small < 0.14


def test_batch_normalisation_learns_the_units():
    layer = make(1, kernel_size=2, padding=1, normalize="batch")
    x = 50 + 20 * inputs(100, 4, 9)
    for _ in range(60):
        y = layer(x)
    layer.eval()
    torch.testing.assert_close(layer(x), y, rtol=0.02, atol=0.02)
    assert not list(layer.norm.parameters())


def test_construction_follows_the_default_generator_and_meta_is_a_place():
    first, again, other = make(kernel_size=2), make(kernel_size=2), make(kernel_size=2, seed=1)
    assert torch.equal(first.coefficients, again.coefficients)
    assert not torch.equal(first.coefficients, other.coefficients)
    with torch.device("meta"):
        assert KANConv2d(2, 3, 3)(torch.zeros(1, 2, 4, 4)).shape == (1, 3, 2, 2)


@pytest.mark.parametrize("dims", CONVS)
def test_recipe_and_state(dims):
    layer = make(dims, "gaussian", kernel_size=(2,) * dims, padding=1, bias=True, normalize="batch")
    again = build(recipe_of(layer)).double()
    again.load_state_dict(layer.state_dict())
    x = inputs(2, 4, *(3,) * dims)
    assert type(again) is CONVS[dims]
    assert torch.equal(again(x), layer(x))


def test_it_learns_a_product_of_neighbours():
    with seeded(0):
        model = torch.nn.Sequential(KANConv1d(1, 4, 2), KANConv1d(4, 1, 1, bias=True))
    x = torch.rand(32, 1, 17, generator=generator(0)) * 2 - 1
    y = x[..., 1:] * x[..., :-1]
    optimizer = torch.optim.Adam(model.parameters(), lr=0.05)
    for _ in range(40):
        optimizer.zero_grad()
        loss = (model(x) - y).square().mean()
        loss.backward()
        optimizer.step()
    assert loss.item() < 0.1 * y.var()


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (
            lambda: KANConv1d(0, 2, 3),
            "in_channels must be a whole number of at least 1, got 0",
        ),
        (
            lambda: KANConv1d(2, 2, 3, groups=0),
            "groups must be a whole number of at least 1, got 0",
        ),
        (
            lambda: KANConv1d(4, 3, 3, groups=2),
            "out_channels is 3: it must be a multiple of groups=2",
        ),
        (
            lambda: KANConv1d(2, 2, 2.5),
            "kernel_size must be a whole number of at least 1 or a tuple of it, got 2.5",
        ),
        (
            lambda: KANConv2d(2, 2, (3, 3, 3)),
            "kernel_size must be a whole number of at least 1 or 2 of them, got (3, 3, 3)",
        ),
        (
            lambda: KANConv2d(2, 2, 3, stride=(1, 0)),
            "stride must be a whole number of at least 1 or 2 of them, got (1, 0)",
        ),
        (
            lambda: KANConv3d(2, 2, 3, padding=-1),
            "padding must be a whole number of at least 0 or 3 of them, got -1",
        ),
        (
            lambda: KANConv3d(2, 2, 3, dilation=True),
            "dilation must be a whole number of at least 1 or 3 of them, got True",
        ),
        (
            lambda: KANConv2d(2, 2, 3, padding="sane"),
            "padding must be 'same' or whole numbers of at least 0, got 'sane'",
        ),
        (
            lambda: KANConv2d(2, 2, 3, padding="same", stride=2),
            "padding='same' needs stride=1, got stride=2",
        ),
        (
            lambda: KANConv2d(2, 2, 3, base="silo"),
            "unknown base activation 'silo': did you mean 'silu'? (known: silu, tanh, identity)",
        ),
        (
            lambda: KANConv2d(2, 2, 3, normalize="layer"),
            "normalize must be None or 'batch', got 'layer'",
        ),
        (
            lambda: KANConv2d(2, 2, 3)(torch.zeros(3, 4, 5, 5)),
            "KANConv2d takes x of shape (N, 2, H, W), got (3, 4, 5, 5)",
        ),
        (
            lambda: KANConv1d(2, 2, 3)(torch.zeros(2, 5)),
            "KANConv1d takes x of shape (N, 2, L), got (2, 5)",
        ),
        (
            lambda: KANConv3d(2, 2, 3)(torch.zeros(1, 2, 5, 5)),
            "KANConv3d takes x of shape (N, 2, D, H, W), got (1, 2, 5, 5)",
        ),
        (
            lambda: KANConv1d(2, 2, 3)(torch.zeros(1, 2, 5, dtype=torch.int64)),
            "KANConv1d takes floating-point numbers, got torch.int64; use x.float()",
        ),
        (
            lambda: KANConv1d(2, 2, 3)(torch.zeros(1, 2, 5, device="meta")),
            "KANConv1d is on cpu and x on meta: move one with .to()",
        ),
        (
            lambda: KANConv2d(2, 2, 3, dilation=(1, 2), padding=1)(torch.zeros(1, 2, 4, 2)),
            "the kernel of KANConv2d reaches over (3, 5) pixels, and x with its padding has "
            "(6, 4): use a smaller kernel or more padding",
        ),
        (
            lambda: KANConv1d(2, 2, 3).curves(torch.zeros(2), order=3),
            "derivatives are known up to order 2, got order=3",
        ),
    ],
)
def test_bad_input_is_refused_word_by_word(call, message):
    with pytest.raises(InputError) as caught:
        call()
    assert str(caught.value) == message
