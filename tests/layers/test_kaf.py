import math

import pytest
import torch
from torch import nn

import edgewise as ew
from edgewise.core import InputError
from edgewise.layers import kaf
from edgewise.layers.kaf import KAF

ORDERS = [0, 1, 2]


def explicit(layer, z):
    """The formula, number by number."""
    y = torch.zeros_like(z)
    step = 2 * layer.reach / (layer.size - 1)
    gamma = 1 / (6 * step**2)
    for n in range(len(z)):
        for i in range(layer.features):
            terms = [
                layer.alpha[i, k] * torch.exp(-gamma * (z[n, i] - (-layer.reach + k * step)) ** 2)
                for k in range(layer.size)
            ]
            y[n, i] = sum(terms) + (0 if layer.u is None else layer.u[i] * z[n, i])
    return y


def shaken(*args, **options):
    layer = KAF(*args, **options).double()
    with torch.no_grad():
        for p in layer.parameters():
            p.add_(torch.randn_like(p))
    return layer


@pytest.mark.parametrize("straight", [True, False])
def test_it_is_the_formula_in_value_and_gradient(straight):
    layer = shaken(3, 7, 2.5, straight=straight)
    z = (3 * torch.randn(5, 3, dtype=torch.float64)).requires_grad_()
    found, expected = layer(z), explicit(layer, z)
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-12)
    g = torch.randn_like(found)
    own = [z, *layer.parameters()]
    for ours, theirs in zip(
        torch.autograd.grad(found, own, g), torch.autograd.grad(expected, own, g), strict=True
    ):
        torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-11)


@pytest.mark.parametrize("n", [0, 1, 63, 100])
def test_chunks_change_nothing(n, monkeypatch):
    layer = shaken(4)
    z = torch.randn(n, 4, dtype=torch.float64, requires_grad=True)
    results = []
    for chunk in (1 << 18, 7 * 80, 1):
        monkeypatch.setattr(kaf, "CHUNK", chunk)
        y = layer(z)
        results.append((y, *torch.autograd.grad(y.square().sum(), [z, *layer.parameters()])))
    for other in results[1:]:
        for ours, theirs in zip(other, results[0], strict=True):
            torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-10)


def test_derivatives_are_those_of_autograd():
    layer = shaken(3)
    z = torch.randn(20, 3, dtype=torch.float64, requires_grad=True)
    for order in ORDERS[1:]:
        (expected,) = torch.autograd.grad(layer.derivative(z, order - 1).sum(), z)
        torch.testing.assert_close(layer.derivative(z, order), expected, rtol=0, atol=1e-10)


def test_second_derivatives():
    layer = shaken(2, 4, straight=True)
    z = torch.randn(3, 2, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradgradcheck(layer, (z,))
    assert torch.autograd.gradcheck(lambda *_: layer(z), (layer.alpha, layer.u))


@pytest.mark.parametrize(
    ("start", "f"),
    [
        ("silu", nn.functional.silu),
        ("tanh", torch.tanh),
        ("sin", torch.sin),
        ("torch:erf", torch.erf),
        (torch.cos, torch.cos),
    ],
)
@pytest.mark.parametrize("straight", [True, False])
def test_it_starts_as_the_given_activation(start, f, straight):
    layer = KAF(2, start=start, straight=straight)
    z = torch.linspace(-4, 4, 401)
    error = (layer(z.unsqueeze(-1).expand(-1, 2)) - f(z).unsqueeze(-1)).abs()
    assert error.max() < 0.025
    assert error[100:301].max() < 0.002


def test_the_straight_part_keeps_neurons_alive_far_away():
    z = torch.tensor([[-50.0], [50.0]])
    assert (KAF(1).derivative(z) - 0.5).abs().max() < 1e-3
    assert (KAF(1, straight=False).derivative(z).abs() < 1e-20).all()


def test_the_ridge_solves_its_normal_equations():
    layer = KAF(1, 12, 3.0, "tanh").double()
    d = layer.d
    step = 6 / 11
    K = torch.exp(-((d[:, None] - d) ** 2) / (6 * step**2))
    alpha, u = layer.alpha.detach()[0], layer.u.detach()[0]
    rest = torch.tanh(d) - u * d
    torch.testing.assert_close((K + 1e-4 * torch.eye(12)) @ alpha, rest, rtol=0, atol=1e-5)
    # u is the minimum over u of rest(u)ᵀ (K + ε)⁻¹ rest(u).
    assert abs(float(d @ alpha)) < 1e-4 * float(alpha.abs().sum())
    assert math.isclose(layer.squared_norm().item(), float(alpha @ K @ alpha), rel_tol=1e-9)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_is_the_rounded_float32(dtype):
    layer = KAF(5)
    half = KAF(5).to(dtype)
    z = torch.randn(30, 5).to(dtype)
    y = half(z)
    assert y.dtype == dtype
    # The coefficients themselves are rounded: to 8 and 11 bits, and up to 13 in size.
    error = (y.float() - layer(z.float())).abs().max()
    assert error < (0.1 if dtype == torch.bfloat16 else 0.02)
    y.sum().backward()
    assert half.alpha.grad.isfinite().all()


def test_compile_vmap_export_and_autocast():
    layer = KAF(3)
    z = torch.randn(6, 3)
    expected = layer(z)
    compiled = torch.compile(layer, fullgraph=True, backend="aot_eager")
    torch.testing.assert_close(compiled(z), expected)
    torch.testing.assert_close(torch.vmap(layer)(z), expected)
    rows = torch.export.Dim("rows")
    program = torch.export.export(layer, (z,), dynamic_shapes=({0: rows},))
    torch.testing.assert_close(program.module()(z[:4]), expected[:4])
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert layer(z).dtype == torch.float32


def test_it_is_saved_and_loaded(tmp_path):
    layer = KAF(3, 9, 2.0, "tanh", straight=False)
    with torch.no_grad():
        layer.alpha.normal_()
    again = ew.load(ew.save(layer, tmp_path / "m.safetensors"))
    z = torch.randn(4, 3)
    assert torch.equal(layer(z), again(z))


def test_a_neuron_learns_a_shape_that_relu_has_not():
    torch.manual_seed(0)
    z = torch.linspace(-3, 3, 200).unsqueeze(-1)
    y = torch.cos(2 * z)
    layer = KAF(1)
    optimiser = torch.optim.Adam(layer.parameters(), lr=0.05)
    for _ in range(300):
        optimiser.zero_grad()
        loss = (layer(z) - y).square().mean()
        loss.backward()
        optimiser.step()
    assert loss < 0.01


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"features": 0}, "features must be a whole number of at least 1, got 0"),
        (
            {"features": 2, "size": 1},
            "size must be at least 2, as points have a distance, got 1",
        ),
        ({"features": 2, "reach": -1}, "reach must be a finite number above 0, got -1"),
        (
            {"features": 2, "start": "tan"},
            "unknown function 'tan': did you mean 'tanh'? "
            "(known: tanh, sigmoid, relu, gaussian, sin, silu)",
        ),
    ],
)
def test_what_makes_no_layer(arguments, message):
    with pytest.raises(InputError) as caught:
        KAF(**arguments)
    assert str(caught.value) == message


def test_what_it_does_not_take():
    with pytest.raises(InputError) as caught:
        KAF(3)(torch.zeros(2, 4))
    assert str(caught.value) == "KAF takes 3 features on the last axis, got z of shape (2, 4)"
    with pytest.raises(InputError) as caught:
        KAF(3).derivative(torch.zeros(2, 3), 3)
    assert str(caught.value) == "derivatives are known up to order 2, got order=3"
