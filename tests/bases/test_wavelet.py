import math

import pytest
import torch

from edgewise.bases import Wavelet
from edgewise.bases.wavelet import MOTHERS

every_mother = pytest.mark.parametrize("mother", MOTHERS)


@every_mother
@pytest.mark.parametrize("domain", [(-1.0, 1.0), (10.0, 13.0)])
def test_each_has_zero_mean_and_unit_energy(mother, domain):
    low, high = domain
    wide = 8 * (high - low)
    x = torch.linspace(low - wide, high + wide, 200_001, dtype=torch.float64)
    B = Wavelet(count=11, mother=mother, domain=domain)(x)
    mean = torch.trapezoid(B, x, dim=0)
    energy = torch.trapezoid(B.square(), x, dim=0)
    torch.testing.assert_close(mean, torch.zeros_like(mean), rtol=0, atol=1e-10)
    torch.testing.assert_close(energy, torch.ones_like(energy), rtol=0, atol=1e-9)


@every_mother
def test_a_wider_domain_is_a_wider_function(mother):
    """B on a·domain + b at a x + b is B on domain at x, over √a."""
    x = torch.linspace(-2, 2, 100, dtype=torch.float64)
    a, b = 3.7, -5.0
    small, large = Wavelet(9, mother, (-1.0, 1.0)), Wavelet(9, mother, (b - a, b + a))
    for order in (0, 1, 2):
        expected = small.derivative(x, order) * a ** (-0.5 - order)
        torch.testing.assert_close(large.derivative(a * x + b, order), expected)


@every_mother
def test_every_level_is_the_first_one_shrunk_and_moved(mother):
    basis = Wavelet(7, mother, (0.0, 1.0))
    u = torch.linspace(-6, 6, 63, dtype=torch.float64)
    scales, shifts = [1, 2, 2, 4, 4, 4, 4], [1 / 2, 1 / 4, 3 / 4, 1 / 8, 3 / 8, 5 / 8, 7 / 8]
    for k, (shrink, shift) in enumerate(zip(scales, shifts, strict=True)):
        s = 0.25 / shrink
        value = basis(s * u + shift)[:, k] * math.sqrt(s)
        torch.testing.assert_close(value, MOTHERS[mother](u, 0), rtol=1e-10, atol=1e-10)


def test_the_mothers_are_their_formulas():
    u = torch.linspace(-5, 5, 101, dtype=torch.float64)
    bell = torch.exp(-(u**2) / 2)
    hat = 2 / math.sqrt(3 * math.sqrt(math.pi)) * (1 - u**2) * bell
    torch.testing.assert_close(MOTHERS["mexican_hat"](u, 0), hat)
    dog = -math.sqrt(2 / math.sqrt(math.pi)) * u * bell
    torch.testing.assert_close(MOTHERS["dog"](u, 0), dog)
    morlet = (torch.cos(5 * u) - math.exp(-12.5)) * bell
    ratio = MOTHERS["morlet"](u, 0) / morlet
    torch.testing.assert_close(ratio, torch.full_like(u, float(ratio[50])), rtol=1e-7, atol=0)


@every_mother
def test_next_to_no_value_is_subnormal(mother):
    values = Wavelet(15, mother)(torch.linspace(-20, 20, 10_001)).abs()
    subnormal = (values > 0) & (values < torch.finfo(torch.float32).tiny)
    # The cosine of the Morlet wavelet passes through zero far away too.
    assert subnormal.double().mean() < 0.01
    assert values[0].max() < 1e-20, "decays"


@pytest.mark.parametrize("count", [1, 2, 3, 4, 63, 64, 100])
def test_any_count_covers_the_domain_level_by_level(count):
    basis = Wavelet(count, domain=(2.0, 4.0))
    assert basis(torch.zeros(())).shape == (count,)
    assert (basis.shift > 2).all()
    assert (basis.shift < 4).all()
    assert (basis.scale.diff() <= 0).all()


@every_mother
@pytest.mark.parametrize("count", [5, 6, 63])
def test_a_refinement_is_the_same_function(mother, count):
    basis = Wavelet(5, mother, (2.0, 4.0))
    fine, T = basis.refined(count)
    assert (fine.size, fine.mother, fine.domain) == (count, mother, (2.0, 4.0))
    assert (T.shape, T.dtype) == ((count, 5), torch.float64)
    c = torch.randn(5, dtype=torch.float64)
    x = torch.linspace(0, 6, 100, dtype=torch.float64)
    for order in (0, 1, 2):
        expected = basis.derivative(x, order) @ c
        torch.testing.assert_close(
            fine.derivative(x, order) @ (T @ c), expected, rtol=1e-12, atol=1e-12
        )


def test_a_refinement_keeps_scales_and_shifts_as_rounded():
    basis = Wavelet(5, domain=(0.0, 0.7)).float()
    fine, _ = basis.refined(9)
    assert (fine.scale.dtype, fine.shift.dtype) == (torch.float32, torch.float32)
    assert torch.equal(fine.scale[:5], basis.scale)
    assert torch.equal(fine.shift[:5], basis.shift)
