"""Every path of a B-spline layer against the truth, with all gradients."""

import itertools

import pytest
import torch
from slow_splines import needs_native

from edgewise.bases import BSpline
from edgewise.core import InputError
from edgewise.kernels import chosen, use
from edgewise.kernels.spline import derivative
from edgewise.layers import KANLinear

PATHS = [pytest.param("native", marks=needs_native), "plain"]
BASES = [None, "silu", "tanh", "identity"]
SIZES = [(1, 1, 1), (63, 17, 10), (100, 3, 65), (5, 40, 16)]


def make(inputs, outputs, basis, base, dtype=torch.float64):
    layer = KANLinear(inputs, outputs, basis, base=base, bias=True).to(dtype)
    with torch.no_grad():
        layer.coefficients.normal_()
        layer.bias.normal_()
    return layer


def truth(layer, x):
    """By all K functions and the recursion of Cox and de Boor."""
    features = derivative(layer.basis.spline, x.double())
    y = torch.einsum("nik,kio->no", features, layer.coefficients.double())
    if layer.base_weight is not None:
        a = {"silu": torch.nn.functional.silu, "tanh": torch.tanh, "identity": lambda x: x}
        y = y + a[layer.base](x.double()) @ layer.base_weight.double()
    return y + layer.bias.double()


def gradients(layer, y, x, down):
    wanted = [x, *layer.parameters()]
    return torch.autograd.grad(y, wanted, down.to(y.dtype), materialize_grads=True)


def check(layer, x, path, values, slopes):
    with use(path):
        if path == "native":
            assert chosen(x, layer.coefficients, layer.basis.spline)[0] == "native"
        y = layer(x)
    down = torch.randn(y.shape, dtype=torch.float64)
    expected = truth(layer, x)
    scale = max(1.0, float(expected.detach().abs().max()))
    torch.testing.assert_close(y.double(), expected, rtol=0, atol=values * scale)
    found = gradients(layer, y, x, down)
    for a, b in zip(found, gradients(layer, expected, x, down), strict=True):
        scale = max(1.0, float(b.abs().max()))
        torch.testing.assert_close(a.double(), b.double(), rtol=0, atol=slopes * scale)


def points(n, inputs, dtype=torch.float64):
    """Inside the grid and a good way outside."""
    x = torch.rand(n, inputs, dtype=torch.float64) * 4 - 2
    return x.to(dtype).requires_grad_()


@pytest.mark.parametrize(("size", "base"), [*itertools.product(SIZES, BASES)])
@pytest.mark.parametrize("path", PATHS)
def test_values_and_gradients_are_the_truth(path, size, base):
    n, inputs, outputs = size
    for cells, degree in ((1, 1), (5, 3), (7, 2), (100, 3), (4, 5)):
        layer = make(inputs, outputs, BSpline(cells, degree), base)
        check(layer, points(n, inputs), path, 1e-12, 1e-10)


@pytest.mark.parametrize("path", PATHS)
def test_in_float32_too(path):
    for cells in (5, 100):
        layer = make(17, 33, BSpline(cells), "silu", torch.float32)
        check(layer, points(200, 17, torch.float32), path, 1e-5, 1e-5)


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("shared", [True, False])
def test_cells_of_their_own(path, shared):
    breaks = torch.tensor([-1.0, -0.9, 0.0, 0.3, 1.0, 2.5], dtype=torch.float64)
    if not shared:
        breaks = torch.stack([breaks, 2 * breaks, breaks - 1])
    for degree in (1, 2, 3, 4):
        basis = BSpline(degree=degree).with_breaks(breaks)
        check(make(3, 5, basis, "silu"), points(50, 3), path, 1e-12, 1e-10)


@needs_native
def test_the_number_of_threads_changes_no_bit():
    layer = make(20, 70, BSpline(9), "silu", torch.float32)
    x = points(600, 20, torch.float32)
    down, found = torch.randn(600, 70), []
    before = torch.get_num_threads()
    try:
        for threads in (1, 2, 3):
            torch.set_num_threads(threads)
            with use("native"):
                y = layer(x)
                found.append([y.detach(), *gradients(layer, y, x, down)])
    finally:
        torch.set_num_threads(before)
    for others in found[1:]:
        assert all(torch.equal(a, b) for a, b in zip(found[0], others, strict=True))


@pytest.mark.parametrize("path", PATHS)
def test_derivatives_of_derivatives(path):
    layer = make(2, 3, BSpline(4), "silu")
    x = points(6, 2)
    with use(path):
        assert torch.autograd.gradcheck(layer, (x,))
        assert torch.autograd.gradgradcheck(layer, (x,), atol=1e-4)


@pytest.mark.filterwarnings("ignore:`torch.jit.script` is deprecated")  # torch's own use of it
def test_under_transforms_and_in_a_compiled_graph_it_is_the_same_layer():
    layer = make(3, 4, BSpline(5), "silu")
    x = points(8, 3)
    expected = truth(layer, x)
    torch.testing.assert_close(torch.func.vmap(layer)(x), expected, rtol=0, atol=1e-12)
    jacobian = torch.func.vmap(torch.func.jacfwd(layer))(x.detach())
    torch.testing.assert_close(jacobian, layer.curves(x, 1), rtol=0, atol=1e-10)
    compiled = torch.compile(layer, fullgraph=True, backend="aot_eager")
    y = compiled(x)
    torch.testing.assert_close(y, expected, rtol=0, atol=1e-12)
    y.sum().backward()
    assert x.grad.isfinite().all()


@pytest.mark.parametrize("path", PATHS)
def test_a_number_that_is_not_finite_is_named(path):
    x = torch.zeros(4, 3)
    x[2, 1] = float("nan")
    with use(path), pytest.raises(InputError) as caught:
        KANLinear(3, 2)(x)
    assert str(caught.value) == "x holds nan in row 2, feature 1; a layer takes finite numbers"


def test_a_path_that_can_not_serve_says_why():
    with use("native"), pytest.raises(InputError) as caught:
        KANLinear(3, 2, "fourier")(torch.zeros(1, 3))
    assert (
        "'native' can't be used: only B-splines and Chebyshev polynomials of tanh have a faster one; use 'auto'"
        in str(caught.value)
    )
    with pytest.raises(InputError) as caught, use("nativ"):
        pass
    assert str(caught.value).startswith("unknown path 'nativ': did you mean 'native'?")


@pytest.mark.parametrize("path", PATHS)
def test_no_rows_are_no_trouble(path):
    layer = make(3, 2, BSpline(), "silu")
    x = torch.zeros(0, 3, dtype=torch.float64, requires_grad=True)
    with use(path):
        layer(x).sum().backward()
    assert x.grad.shape == (0, 3)
    assert not layer.coefficients.grad.any()
