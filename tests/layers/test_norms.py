import pytest
import torch
from torch import nn

from edgewise.bases import BASES, BSpline, Fourier, Wavelet, make_basis
from edgewise.core import InputError, generator, seeded
from edgewise.layers import KANLinear, norms
from edgewise.layers.conv import KANConv1d, KANConv2d, KANConv3d
from edgewise.layers.norms import edge_moments, edge_norms

MAKE = {
    **{name: lambda name=name: make_basis(name) for name in BASES},
    "zero": lambda: BSpline(4, 2, outside="zero"),
    "bins": lambda: BSpline(4, 0),
    "learnable": lambda: Fourier([0.7, 2.0], learnable=True),
    "morlet": lambda: Wavelet(5, mother="morlet"),
}
every_basis = pytest.mark.parametrize("basis", MAKE)
both = pytest.mark.parametrize("centred", [False, True])


def make(basis="bspline", features=(3, 2), **options):
    with seeded(0, "norms"):
        layer = KANLinear(*features, MAKE[basis](), **options).double()
        nn.init.normal_(layer.coefficients)
        if layer.bias is not None:
            nn.init.normal_(layer.bias)
    return layer


def inputs(*shape, seed=0):
    return 1.5 * torch.randn(*shape, generator=generator(seed, "x"), dtype=torch.float64)


def naive(layer, x, centred=False):
    """From every edge's value on every sample; the bias, which curves() spreads, taken off."""
    phi = layer.curves(x).reshape(-1, layer.out_features, layer.in_features)
    if layer.bias is not None:
        phi = phi - layer.bias.unsqueeze(-1) / layer.in_features
    return (phi - phi.mean(0) if centred else phi).square().mean(0).sqrt()


def gradients(read, layer, x):
    """The value, and the gradients of a weighted sum for x and all parameters it depends on."""
    x = x.detach().clone().requires_grad_()
    value = read(layer, x)
    weights = torch.linspace(-1, 2, value.numel(), dtype=value.dtype).view_as(value)
    wanted = [x, *(p for name, p in layer.named_parameters() if name != "bias")]
    return value, *torch.autograd.grad((value * weights).sum(), wanted)


@every_basis
@both
@pytest.mark.parametrize("options", [{}, {"base": "tanh", "bias": True}, {"base": None}])
def test_they_are_the_naive_norms_in_value_and_gradient(basis, centred, options):
    layer, x = make(basis, **options), inputs(63, 3)
    fast = gradients(lambda layer, x: edge_norms(layer, x, centred), layer, x)
    slow = gradients(lambda layer, x: naive(layer, x, centred), layer, x)
    assert slow[0].min() > 1e-3
    torch.testing.assert_close(fast[0], slow[0], rtol=1e-12, atol=1e-12)
    for mine, theirs in zip(fast[1:], slow[1:], strict=True):
        torch.testing.assert_close(mine, theirs, rtol=1e-10, atol=1e-10)


@every_basis
@both
def test_in_float32_they_keep_five_digits(basis, centred):
    layer, x = make(basis), inputs(100, 3)
    exact = naive(layer, x.float().double(), centred)
    found = edge_norms(layer.float(), x.float(), centred)
    assert found.dtype == torch.float32
    torch.testing.assert_close(found.double(), exact, rtol=1e-5, atol=0)


@both
def test_terms_that_cancel_keep_the_digits_that_the_naive_way_keeps(centred):
    """B-splines sum to one: shared parts of 1000 in the coefficients meet in a curve of size 1."""
    layer = make("bspline", base=None)
    with torch.no_grad():
        layer.coefficients[:, 0] = 1000 + layer.coefficients[:, 0] / 100
    x = inputs(100, 3).clamp(-1, 1).float()
    exact = naive(layer, x.double(), centred)
    layer = layer.float()
    error = (edge_norms(layer, x, centred) - exact).abs().max()
    assert error < 1.5e-4
    assert error < 2 * (naive(layer, x, centred) - exact).abs().max() + 1e-6


@pytest.mark.parametrize("shape", [(3,), (1, 3), (64, 3), (2, 1, 5, 3)])
def test_all_leading_axes_are_batch(shape):
    layer, x = make(bias=True), inputs(*shape)
    found = edge_norms(layer, x)
    assert found.shape == (2, 3)
    torch.testing.assert_close(found, naive(layer, x), rtol=1e-12, atol=0)


@both
def test_several_inputs_count_as_one_batch(centred):
    layer = make()
    parts = [inputs(4, 5, 3), inputs(3, seed=1), inputs(0, 3), inputs(2, 3, seed=2)]
    whole = torch.cat([x.reshape(-1, 3) for x in parts])
    expected = naive(layer, whole, centred)
    torch.testing.assert_close(edge_norms(layer, parts, centred), expected, rtol=1e-12, atol=0)


@both
@pytest.mark.parametrize("samples", [1, 7, 50, 99])
def test_chunks_do_not_show(monkeypatch, centred, samples):
    layer, x = make("learnable"), inputs(100, 3) + 5

    def read(layer, x):
        return edge_norms(layer, x, centred)

    whole = gradients(read, layer, x)
    monkeypatch.setattr(norms, "CHUNK", samples * 3 * (layer.basis.size + 1))
    assert len(list(norms._chunks(layer, [x]))) == -(-100 // max(samples, 6))
    for cut, full in zip(gradients(read, layer, x), whole, strict=True):
        torch.testing.assert_close(cut, full, rtol=1e-10, atol=1e-12)


def test_what_is_saved_grows_with_the_input_only(monkeypatch):
    """Not with K nor with O: the features are made again in the backward pass."""
    monkeypatch.setattr(norms, "CHUNK", 3 * 9 * 50)
    layer = KANLinear(3, 100)
    saved = []
    for samples in (100, 1100):
        x, kept = torch.rand(samples, 3, requires_grad=True), {}

        def pack(tensor, kept=kept):
            kept[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes()
            return tensor

        with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
            result = edge_norms(layer, x)
        saved.append(sum(kept.values()))
        result.sum().backward()
        assert x.grad.abs().max() > 0
    # Each chunk of 50 leaves its moments, (1 + 9) · 9 numbers for an input, a few times over.
    assert saved[1] - saved[0] < 1000 / 50 * 3 * 90 * 8 * 4 + 1000 * 3 * 4


def check_twice(layer, x, **options):
    wanted = [x.requires_grad_(), layer.coefficients, layer.base_weight]
    for centred in (False, True):

        def read(*_, centred=centred):
            return edge_norms(layer, x, centred)

        assert torch.autograd.gradcheck(read, wanted, **options)
        assert torch.autograd.gradgradcheck(read, wanted, **options)


def test_second_derivatives_of_a_tiny_layer():
    check_twice(make("learnable", features=(2, 1)), inputs(4, 2))


@pytest.mark.parametrize("basis", sorted(set(MAKE) - {"bins"}))
def test_second_derivatives(basis):
    check_twice(make(basis, features=(2, 1)), inputs(4, 2), fast_mode=True)


def test_transforms_of_torch_func():
    layer, x = make("learnable"), inputs(20, 3)

    def total(x):
        return edge_norms(layer, x).sum()

    x.requires_grad_()
    (expected,) = torch.autograd.grad(total(x), x)
    found = torch.func.grad(total)(x.detach())
    torch.testing.assert_close(found, expected, rtol=1e-12, atol=1e-14)
    many = torch.stack([x.detach(), 2 * x.detach()])
    batched = torch.func.vmap(lambda x: edge_norms(layer, x))(many)
    torch.testing.assert_close(batched[1], edge_norms(layer, many[1]), rtol=1e-12, atol=0)


@both
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize(
    "x",
    [torch.zeros(1, 3), torch.full((50, 3), 0.3), torch.full((2, 3), 1e4), torch.rand(5, 3)],
    ids=["one sample", "constant", "far outside", "plain"],
)
def test_degenerate_inputs_and_zero_edges_are_finite(dtype, centred, x):
    layer = make(bias=True).to(dtype)
    with torch.no_grad():
        layer.coefficients[:, 0] = 0
        layer.base_weight[0] = 0
    found = gradients(lambda layer, x: edge_norms(layer, x, centred), layer, x.to(dtype))
    assert all(value.isfinite().all() for value in found)
    assert (found[0][:, 0] == 0).all()
    assert (found[2][:, 0] == 0).all(), "the root's gradient at zero is zero"
    torch.testing.assert_close(found[0], naive(layer, x.to(dtype), centred), rtol=1e-4, atol=1e-6)


def test_all_edges_zero():
    layer = make()
    nn.init.zeros_(layer.coefficients)
    nn.init.zeros_(layer.base_weight)
    for value in gradients(edge_norms, layer, inputs(10, 3)):
        assert (value == 0).all()


def test_constant_edges_have_a_norm_and_no_spread():
    layer = make("bspline", base=None)
    nn.init.constant_(layer.coefficients, -3.0)
    x = inputs(100, 3)
    torch.testing.assert_close(edge_norms(layer, x), torch.full((2, 3), 3.0).double())
    # Its gradient is that of rounding errors, but bounded by the root's: |∂σ/∂c| is at most 1.
    spread, *slopes = gradients(lambda layer, x: edge_norms(layer, x, True), layer, x)
    assert spread.max() < 1e-7
    assert all(slope.isfinite().all() and slope.abs().max() < 10 for slope in slopes)


def test_what_is_not_a_number_is_not_hidden():
    x = inputs(10, 3)
    x[4, 1] = torch.nan
    for centred in (False, True):
        found = edge_norms(make("gaussian"), x, centred)
        assert found[:, 1].isnan().all()
        assert found[:, [0, 2]].isfinite().all()


def test_half_precision_gives_float32_also_under_autocast():
    layer, x = make().float(), inputs(50, 3).float()
    expected = edge_norms(layer, x)
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(edge_norms(layer, x), expected)
    half = edge_norms(layer.bfloat16(), x)
    assert half.dtype == torch.float32
    torch.testing.assert_close(half, expected, rtol=0.02, atol=0.01)


def test_moments_are_those_of_the_curves():
    layer, x = make(), inputs(40, 3)
    mean, variance = edge_moments(layer, x)
    curves = layer.curves(x)
    torch.testing.assert_close(mean, curves.mean(0), rtol=1e-12, atol=1e-13)
    torch.testing.assert_close(variance, curves.var(0, correction=0), rtol=1e-12, atol=0)


def test_it_leaves_the_layer_and_its_input_alone():
    layer, x = make("learnable"), inputs(10, 3)
    before, given = {k: v.clone() for k, v in layer.state_dict().items()}, x.clone()
    edge_norms(layer, x).sum().backward()
    assert all(torch.equal(before[k], v) for k, v in layer.state_dict().items())
    assert torch.equal(x, given)
    assert layer.basis.omega.grad.abs().max() > 0


CONV = {
    "1d": lambda **o: (KANConv1d(3, 2, 4, **o), (5, 3, 9)),
    "2d": lambda **o: (KANConv2d(4, 6, (2, 3), groups=2, padding=1, **o), (3, 4, 5, 6)),
    "3d": lambda **o: (KANConv3d(2, 2, 2, stride=2, groups=2, **o), (2, 2, 4, 3, 5)),
}


def naive_conv(layer, x, centred=False):
    """Tap by tap, each on all pixels of its channel."""
    if layer.norm is not None:
        x = layer.norm(x)
    found = torch.zeros(layer.coefficients.shape[1:], dtype=x.dtype)
    per_group = layer.out_channels // layer.groups
    for o in range(found.shape[0]):
        for c in range(found.shape[1]):
            pixels = x[:, o // per_group * found.shape[1] + c].flatten()
            phi = layer.curves(pixels)[:, o, c]
            phi = phi - phi.mean(0) if centred else phi
            found[o, c] = phi.square().mean(0).sqrt()
    return found


@both
@pytest.mark.parametrize("dims", CONV)
@pytest.mark.parametrize(
    "options", [{}, {"base": None, "basis": "chebyshev"}, {"normalize": "batch", "bias": True}]
)
def test_taps_of_a_convolution_share_their_channel(dims, centred, options):
    with seeded(0, "conv"):
        layer, shape = CONV[dims](**options)
    layer = layer.double()
    x = inputs(*shape) + 0.5
    if layer.norm is not None:
        layer(x)
        layer.eval()
    fast = gradients(lambda layer, x: edge_norms(layer, x, centred), layer, x)
    slow = gradients(lambda layer, x: naive_conv(layer, x, centred), layer, x)
    torch.testing.assert_close(fast[0], slow[0], rtol=1e-12, atol=1e-12)
    for mine, theirs in zip(fast[1:], slow[1:], strict=True):
        torch.testing.assert_close(mine, theirs, rtol=1e-10, atol=1e-10)


@both
def test_a_dense_layer_sees_what_its_curves_see(centred):
    layer = make(normalize="batch")
    layer(3 + 2 * inputs(50, 3))
    layer.eval()
    x = inputs(30, 3, seed=1)
    assert not torch.allclose(naive(layer, x), naive(make(), x))
    expected = naive(layer, x, centred)
    torch.testing.assert_close(edge_norms(layer, x, centred), expected, rtol=1e-12, atol=0)


def test_a_dense_layer_takes_all_leading_axes_as_batch_when_it_normalises():
    layer, x = make(normalize="batch"), 3 + 2 * inputs(12, 3)
    expected = edge_norms(layer, x)
    torch.testing.assert_close(edge_norms(layer, x.view(3, 4, 3)), expected, rtol=1e-12, atol=0)


def test_a_batch_norm_in_training_goes_by_the_batch_and_keeps_its_statistics(monkeypatch):
    layer = KANConv1d(3, 2, 4, normalize="batch").double()
    x = 3 + 2 * inputs(20, 3, 30)
    kept = {name: value.clone() for name, value in layer.state_dict().items()}
    monkeypatch.setattr(norms, "CHUNK", 1)
    found = edge_norms(layer, x)
    assert all(torch.equal(kept[name], value) for name, value in layer.state_dict().items())
    torch.testing.assert_close(found, naive_conv(layer, x), rtol=1e-12, atol=0)
    assert not torch.equal(kept["norm.running_mean"], layer.norm.running_mean)
    layer.eval()
    assert not torch.allclose(edge_norms(layer, x), found)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (
            lambda: edge_norms(nn.Linear(2, 2), torch.zeros(1, 2)),
            "edge norms are of a KAN layer, got Linear",
        ),
        (
            lambda: edge_norms(KANLinear(3, 2), torch.zeros(5, 2)),
            "the layer takes x of shape (..., 3), got (5, 2)",
        ),
        (
            lambda: edge_norms(KANLinear(1, 2), torch.tensor(1.0)),
            "the layer takes x of shape (..., 1), got ()",
        ),
        (
            lambda: edge_norms(KANConv2d(3, 2, 1), torch.zeros(3, 5, 5)),
            "the layer takes x of shape (N, 3, *S), got (3, 5, 5)",
        ),
        (
            lambda: edge_norms(KANConv1d(3, 2, 1), torch.zeros(2, 5, 3)),
            "the layer takes x of shape (N, 3, *S), got (2, 5, 3)",
        ),
        (
            lambda: edge_norms(KANLinear(3, 2), torch.zeros(0, 3)),
            "edge norms are means over samples, got x without one: (0, 3)",
        ),
        (
            lambda: edge_norms(KANLinear(3, 2), []),
            "edge norms are means over samples, got x without one: none at all",
        ),
    ],
)
def test_bad_input_is_refused_word_by_word(call, message):
    with pytest.raises(InputError) as caught:
        call()
    assert str(caught.value) == message
