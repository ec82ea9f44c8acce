"""Many layers at the start: the signal comes through, and so does the gradient."""

import pytest
import torch

from edgewise.bases import BASES, BSpline, Chebyshev, Gaussian
from edgewise.core import seeded
from edgewise.layers import KANLinear

DEPTH, WIDTH = 10, 64
OTHERS = {
    "bspline zero": lambda: BSpline(outside="zero"),
    "bspline degree 1": lambda: BSpline(degree=1),
    "fine bspline": lambda: BSpline(100),
    "bspline of a wide domain": lambda: BSpline(domain=(-3.0, 3.0)),
    "chebyshev linear": lambda: Chebyshev(outside="linear"),
}


def tower(basis, **options):
    make = OTHERS.get(basis, lambda: basis)
    return torch.nn.Sequential(*[KANLinear(WIDTH, WIDTH, make(), **options) for _ in range(DEPTH)])


# Wavelets are steep: the narrowest of eight rises by 77 over a unit.
STEEPEST = {"wavelet": 300}


@pytest.mark.parametrize("basis", [*BASES, *OTHERS])
def test_ten_layers_hand_on_the_variance_and_the_gradient(basis):
    sizes, slopes = [], []
    for seed in range(4):
        with seeded(seed, "depth"):
            layers = tower(basis)
            x = torch.randn(100, WIDTH, requires_grad=True)
            dy = torch.randn(100, WIDTH)
        y = layers(x)
        (dx,) = torch.autograd.grad(y, x, dy)
        sizes.append(y.detach().std().log())
        slopes.append(dx.std().log())
    sizes, slopes = torch.stack(sizes), torch.stack(slopes)
    # One draw goes as its weights will have it; their middle is that of the rule.
    assert 0.3 < sizes.mean().exp() < 3
    assert sizes.amin().exp() > 0.2
    assert sizes.amax().exp() < 6
    assert 0.1 < slopes.mean().exp() < STEEPEST.get(basis, 10)


@pytest.mark.parametrize("basis", BASES)
@pytest.mark.parametrize("base", [None, "silu", "tanh", "identity"])
def test_one_layer_hands_on_the_variance_of_normal_numbers(basis, base):
    with seeded(0, "depth"):
        y = KANLinear(WIDTH, WIDTH, basis, base=base)(torch.randn(2000, WIDTH))
    assert 0.8 < y.std() < 1.25


@pytest.mark.parametrize("basis", [
    lambda domain: BSpline(domain=domain),
    lambda domain: BSpline(domain=domain, outside="zero"),
    lambda domain: Gaussian(domain=domain),
    lambda domain: Chebyshev(domain=domain),
])  # fmt: skip
def test_a_domain_away_from_zero_is_where_the_numbers_are(basis):
    """On standard normal numbers such functions are zero, or huge."""
    low, high = 1000.0, 1002.0
    with seeded(0, "depth"):
        layer = KANLinear(WIDTH, WIDTH, basis((low, high)), base=None)
        y = layer(low + (high - low) * torch.rand(2000, WIDTH))
    assert 0.5 < y.std() < 2


def test_without_a_base_the_functions_carry_the_signal():
    with seeded(0, "depth"):
        y = tower("gaussian", base=None)(torch.randn(100, WIDTH))
    assert 0.3 < y.std() < 3
