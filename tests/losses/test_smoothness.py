import pytest
import torch
from torch import nn

from edgewise.bases import BSpline, Fourier, Gaussian
from edgewise.core import InputError, seeded
from edgewise.encoders import KMOTE
from edgewise.layers import KANLinear
from edgewise.losses import smoothness, sobolev, total_variation

MAKE = {
    "bspline": lambda: KANLinear(3, 2, BSpline(4, 3, (0.0, 5.0)), bias=True),
    "fourier": lambda: KANLinear(2, 2, Fourier([1.0, 2.5], learnable=True), base="tanh"),
    "gaussian": lambda: KANLinear(1, 4, Gaussian(5, (2.0, 4.0)), base=None),
}


def make(name):
    with seeded(0, name):
        return MAKE[name]().double()


def integrals(layer, points=20_001):
    """Both by autograd and the trapezoidal rule, edge by edge, on u = 0 … 1."""
    low, high = layer.basis.domain
    rough, travelled = [], []
    for o in range(layer.out_features):
        for i in range(layer.in_features):
            u = torch.linspace(0, 1, points, dtype=torch.float64, requires_grad=True)
            x = torch.zeros(points, layer.in_features, dtype=torch.float64)
            x = x.index_copy(1, torch.tensor([i]), (low + (high - low) * u).unsqueeze(-1))
            phi = layer.curves(x)[:, o, i]
            (first,) = torch.autograd.grad(phi.sum(), u, create_graph=True)
            (second,) = torch.autograd.grad(first.sum(), u)
            rough.append(torch.trapezoid(first**2 + second**2, u).item())
            travelled.append(torch.trapezoid(first.abs(), u).item())
    return sum(rough) / len(rough), sum(travelled) / len(travelled)


@pytest.mark.parametrize("name", MAKE)
def test_they_are_integrals_over_the_domain(name):
    layer = make(name)
    rough, travelled = integrals(layer)
    assert sobolev(layer, points=4096).item() == pytest.approx(rough, rel=1e-4)
    assert total_variation(layer, points=4096).item() == pytest.approx(travelled, rel=1e-3)
    assert sobolev(layer).item() == pytest.approx(rough, rel=0.02)
    assert total_variation(layer).item() == pytest.approx(travelled, rel=0.02)


@pytest.mark.parametrize("name", MAKE)
@pytest.mark.parametrize("penalty", [sobolev, total_variation])
def test_gradients_are_those_of_finite_differences(name, penalty):
    layer = make(name)
    parameters = [p for n, p in layer.named_parameters() if n != "bias"]
    gradients = torch.autograd.grad(penalty(layer), parameters)
    with torch.no_grad():
        for parameter, gradient in zip(parameters, gradients, strict=True):
            assert gradient.abs().max() > 1e-6
            flat, found = parameter.view(-1), gradient.reshape(-1)
            for k in range(0, len(flat), 3):
                around = []
                for step in (1e-5, -1e-5):
                    flat[k] += step
                    around.append(penalty(layer).item())
                    flat[k] -= step
                slope = (around[0] - around[1]) / 2e-5
                assert slope == pytest.approx(found[k].item(), rel=1e-3, abs=1e-4)


def test_a_constant_is_smooth_and_its_bias_is_free():
    layer = KANLinear(1, 1, BSpline(4, 3), base=None, bias=True)
    with torch.no_grad():
        layer.coefficients.fill_(3.0)
        layer.bias.fill_(100.0)
    assert sobolev(layer).item() == pytest.approx(0, abs=1e-6)
    assert total_variation(layer).item() == pytest.approx(0, abs=1e-6)


def test_one_edge_can_not_cancel_another():
    layer = KANLinear(2, 1, BSpline(4, 3), base=None)
    with torch.no_grad():
        layer.coefficients[:, 1] = -layer.coefficients[:, 0]
    assert layer(torch.full((1, 2), 0.3)).abs().item() < 1e-6
    assert sobolev(layer) > 0.01


def test_layers_count_alike_and_weights_are_weights():
    first, second = make("bspline"), make("gaussian")
    both = nn.Sequential(first, second)
    for penalty in (sobolev, total_variation):
        torch.testing.assert_close(penalty(both), (penalty(first) + penalty(second)) / 2)
    expected = 0.3 * sobolev(both, 64) + 2 * total_variation(both, 64)
    torch.testing.assert_close(smoothness(both, 0.3, 2.0, points=64), expected)
    assert smoothness(both, 0.0, 0.0).item() == 0
    torch.testing.assert_close(smoothness(both), sobolev(both))


@pytest.mark.parametrize("penalty", [sobolev, total_variation])
def test_every_expert_of_kmote_feels_it(penalty):
    with seeded(0):
        encoder = KMOTE(12).fit_scale(torch.arange(784))
    penalty(encoder).backward()
    for expert in encoder.mixture.experts:
        assert expert.module.basis.domain == (0.0, 1.0)
        gradient = expert.module.coefficients.grad
        assert gradient.isfinite().all()
        assert gradient.abs().max() > 0
    assert encoder.mixture.experts[0].module.basis.omega.grad.abs().max() > 0


@pytest.mark.parametrize("penalty", [sobolev, total_variation])
def test_following_it_makes_functions_smoother(penalty):
    layer = make("bspline").float()
    optimiser = torch.optim.SGD(layer.parameters(), lr=1e-3)
    before = penalty(layer).item()
    for _ in range(20):
        optimiser.zero_grad()
        penalty(layer).backward()
        optimiser.step()
    assert penalty(layer).item() < before


@pytest.mark.parametrize("penalty", [sobolev, total_variation, smoothness])
def test_bad_input_is_refused_word_by_word(penalty):
    with pytest.raises(InputError) as caught:
        penalty(nn.Linear(2, 2))
    message = "smoothness needs a model with KAN layers, found none in it"
    assert str(caught.value) == message
    with pytest.raises(InputError) as caught:
        penalty(make("bspline"), points=0)
    assert str(caught.value) == "points must be a whole number of at least 1, got 0"
