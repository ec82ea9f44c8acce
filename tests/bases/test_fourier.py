import math

import pytest
import torch

from edgewise.bases import Fourier
from edgewise.core import InputError


def test_values_are_the_formula():
    basis = Fourier(harmonics=[0.5, 3.0])
    x = torch.linspace(-4, 4, 63, dtype=torch.float64)
    expected = [
        torch.ones_like(x),
        torch.cos(0.5 * x),
        torch.cos(3.0 * x),
        torch.sin(0.5 * x),
        torch.sin(3.0 * x),
    ]
    torch.testing.assert_close(basis(x), torch.stack(expected, -1), rtol=0, atol=1e-14)


@pytest.mark.parametrize("period", [0.1, 1.0, 2 * math.pi, 365.25])
def test_the_slowest_pair_has_the_period(period):
    basis = Fourier(harmonics=4, period=period)
    expected = 2 * math.pi * torch.arange(1, 5, dtype=torch.float64) / period
    torch.testing.assert_close(basis.omega, expected, rtol=1e-14, atol=0)
    assert basis.period == period
    assert Fourier(harmonics=4, period=period, learnable=True).period is None
    assert Fourier(harmonics=[1.0]).period is None


def test_a_derivative_turns_each_pair_by_a_right_angle():
    basis = Fourier(harmonics=3)
    x = torch.linspace(-3, 3, 50, dtype=torch.float64)
    quarter = math.pi / 2
    for order in (1, 2):
        turned = basis.derivative(x, order)
        for h in range(3):
            omega = basis.omega[h]
            angle = omega * x + order * quarter
            torch.testing.assert_close(turned[:, 1 + h], omega**order * angle.cos())
            torch.testing.assert_close(turned[:, 4 + h], omega**order * angle.sin())
        assert (turned[:, 0] == 0).all()


def test_learnable_frequencies_are_the_only_parameters_and_get_gradients():
    assert not list(Fourier(harmonics=2).parameters())
    basis = Fourier(harmonics=2, learnable=True)
    assert [name for name, _ in basis.named_parameters()] == ["omega"]
    basis(torch.rand(5)).square().mul(torch.arange(5.0)).sum().backward()
    assert (basis.omega.grad != 0).all()


def test_learning_finds_a_frequency():
    basis = Fourier([2.0], learnable=True)
    x = torch.linspace(0, 3, 100)
    optimiser = torch.optim.Adam(basis.parameters(), lr=0.02)
    for _ in range(150):
        optimiser.zero_grad()
        (basis(x)[:, 2] - torch.sin(2.6 * x)).square().mean().backward()
        optimiser.step()
    assert abs(basis.omega.item() - 2.6) < 0.01


def test_set_frequencies_moves_them_in_place():
    basis = Fourier([1.0, 2.0], learnable=True)
    parameter = basis.omega
    basis.set_frequencies(torch.tensor([5.0, 0.1]))
    assert basis.omega is parameter
    torch.testing.assert_close(basis.omega.detach(), torch.tensor([5.0, 0.1]))


def test_frozen_frequencies_keep_float64():
    omega = torch.tensor(1234.567890123, dtype=torch.float64)
    torch.testing.assert_close(Fourier([float(omega)]).omega[0], omega, rtol=1e-14, atol=0)


@pytest.mark.parametrize("harmonics", [3, 4, 63])
def test_a_refinement_is_the_same_function(harmonics):
    basis = Fourier(harmonics=3, period=0.7)
    fine, T = basis.refined(harmonics)
    assert (fine.size, fine.period) == (2 * harmonics + 1, 0.7)
    assert (T.shape, T.dtype) == ((2 * harmonics + 1, 7), torch.float64)
    c = torch.randn(7, dtype=torch.float64)
    x = torch.linspace(-2, 2, 100, dtype=torch.float64)
    for order in (0, 1, 2):
        expected = basis.derivative(x, order) @ c
        torch.testing.assert_close(
            fine.derivative(x, order) @ (T @ c), expected, rtol=1e-12, atol=1e-12
        )


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_a_refinement_keeps_frequencies_as_rounded(dtype):
    basis = Fourier(harmonics=5, period=0.7).to(dtype)
    fine, _ = basis.refined(9)
    assert fine.omega.dtype == dtype
    assert torch.equal(fine.omega[:5], basis.omega)


def test_frequencies_that_were_moved_are_not_refined():
    basis = Fourier(harmonics=2)
    basis.set_frequencies(torch.tensor([1.0, 2.1]))
    with pytest.raises(InputError) as caught:
        basis.refined(4)
    assert str(caught.value).startswith("Fourier can't be refined with frequencies that are given")
