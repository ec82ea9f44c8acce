import pytest
import torch
from torch.nn import functional as F

from edgewise.bases import BASES, Gaussian
from edgewise.core import InputError, build, generator, recipe_of, seeded
from edgewise.layers.bottleneck import KANBottleneck
from edgewise.layers.conv import KANConv2d

_CONVS = {1: F.conv1d, 2: F.conv2d, 3: F.conv3d}


def make(dims=2, channels=(4, 6), seed=0, **options):
    with seeded(seed, "bottleneck"):
        options = {"basis": Gaussian(3), "kernel_size": 2, **options}
        return KANBottleneck(*channels, dims=dims, **options).double()


def inputs(*shape, seed=0):
    return torch.randn(*shape, generator=generator(seed, "x"), dtype=torch.float64)


def slowly(layer, x, *, pads, **move):
    """The sum of the formula, each tap's functions evaluated on shifted and padded maps."""
    conv = _CONVS[x.ndim - 2]
    z = F.pad(conv(x, layer.squeeze.weight), pads)
    c = layer.functions.coefficients
    maps = layer.functions.basis(z)
    y = sum(conv(maps[..., k], c[k], **move) for k in range(len(c)))
    y = conv(y, layer.unsqueeze.weight, layer.unsqueeze.bias)
    return y + conv(F.pad(F.silu(x), pads), layer.plain.weight, **move)


@pytest.mark.parametrize(
    ("dims", "options", "move"),
    [
        (1, {"padding": "same"}, {"pads": (0, 1)}),
        (2, {"padding": (1, 0), "stride": 2}, {"pads": (0, 0, 1, 1), "stride": 2}),
        (2, {"dilation": (1, 2), "bias": True}, {"pads": (0,) * 4, "dilation": (1, 2)}),
        (3, {"padding": 1, "squeeze": 3}, {"pads": (1,) * 6}),
    ],
)
def test_it_is_its_formula_in_value_and_gradient(dims, options, move):
    layer = make(dims, **options)
    x = inputs(3, 4, *(4, 5, 3)[:dims]).requires_grad_()
    results = []
    for read in (layer, lambda x: slowly(layer, x, **move)):
        y = read(x)
        loss = (y * inputs(*y.shape, seed=1)).sum()
        results.append((y, *torch.autograd.grad(loss, [x, *layer.parameters()])))
    for fast, slow in zip(*results, strict=True):
        torch.testing.assert_close(fast, slow, rtol=1e-11, atol=1e-11)


def test_without_a_squeeze_it_is_a_convolution():
    layer = make(2, (3, 3), squeeze=3, base=None)
    with torch.no_grad():
        for mix in (layer.squeeze, layer.unsqueeze):
            mix.weight.copy_(torch.eye(3)[..., None, None])
    full = KANConv2d(3, 3, 2, basis=Gaussian(3), base=None).double()
    full.load_state_dict(layer.functions.state_dict())
    x = inputs(2, 3, 4, 4)
    torch.testing.assert_close(layer(x), full(x), rtol=1e-13, atol=1e-13)


@pytest.mark.parametrize(("channels", "expected"), [((4, 6), 2), ((1, 16), 2), ((64, 32), 8)])
def test_the_default_squeeze_is_an_eighth_of_the_larger_side_and_at_least_two(channels, expected):
    assert make(channels=channels).squeeze.out_channels == expected


@pytest.mark.parametrize("base", [None, "silu", "tanh", "identity"])
@pytest.mark.parametrize("basis", BASES)
def test_at_the_start_the_signal_keeps_its_size(basis, base):
    layer = make(channels=(32, 48), squeeze=32, basis=basis, base=base, kernel_size=3).float()
    x = inputs(4, 32, 8, 8).float()
    assert 0.7 < layer(x).square().mean().sqrt() < 1.4
    if base is not None:
        with torch.no_grad():
            layer.plain.weight.zero_()
        assert 0.06 < layer(x).square().mean().sqrt() < 0.16


def test_normalisation_is_between():
    layer = make(1, (2, 3), squeeze=2, normalize="batch", base=None)
    x = inputs(50, 2, 9)
    with torch.no_grad():
        y = layer(x)
        layer.squeeze.weight.mul_(100)
    torch.testing.assert_close(layer(x), y, rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
def test_the_dtype_is_that_of_the_layer(dtype):
    layer = make(bias=True).to(dtype)
    for given in (torch.float32, torch.float64):
        assert layer(torch.zeros(1, 4, 3, 3, dtype=given)).dtype == dtype


@pytest.mark.parametrize("dims", [1, 2, 3])
def test_recipe_state_and_autocast(dims):
    layer = make(dims, kernel_size=(2,) * dims, padding=1, bias=True, normalize="batch")
    again = build(recipe_of(layer)).double()
    again.load_state_dict(layer.state_dict())
    x = inputs(2, 4, *(3,) * dims)
    assert torch.equal(again(x), layer(x))
    with torch.autocast("cpu", dtype=torch.bfloat16):
        mixed = again.float()(x.float())
    assert mixed.dtype == torch.bfloat16
    torch.testing.assert_close(mixed.double(), layer(x), rtol=0.05, atol=0.05)


@pytest.mark.filterwarnings("ignore")  # of the compiler about itself
def test_it_compiles_as_one_graph():
    layer = make(padding="same", bias=True)
    x = inputs(3, 4, 5, 6)
    compiled = torch.compile(layer, fullgraph=True, backend="aot_eager")
    torch.testing.assert_close(compiled(x), layer(x), rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: make(dims=4), "dims must be 1, 2 or 3, got 4"),
        (
            lambda: make(channels=(0, 2)),
            "in_channels must be a whole number of at least 1, got 0",
        ),
        (lambda: make(squeeze=0), "squeeze must be a whole number of at least 1, got 0"),
        (
            lambda: make(base="relu"),
            "unknown base activation 'relu': known: silu, tanh, identity",
        ),
        (
            lambda: make(kernel_size=(2, 0)),
            "kernel_size must be a whole number of at least 1 or 2 of them, got (2, 0)",
        ),
        (
            lambda: make()(torch.zeros(1, 3, 5, 5)),
            "KANBottleneck takes x of shape (N, 4, H, W), got (1, 3, 5, 5)",
        ),
        (
            lambda: make()(torch.zeros(1, 4, 5, 5, dtype=torch.uint8)),
            "KANBottleneck takes floating-point numbers, got torch.uint8; use x.float()",
        ),
        (
            lambda: make()(torch.zeros(1, 4, 5, 1)),
            "the kernel of KANBottleneck reaches over (2, 2) pixels, and x with its padding has "
            "(5, 1): use a smaller kernel or more padding",
        ),
    ],
)
def test_bad_input_is_refused_word_by_word(call, message):
    with pytest.raises(InputError) as caught:
        call()
    assert str(caught.value) == message
