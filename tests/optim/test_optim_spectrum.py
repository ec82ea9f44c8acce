import pytest
import torch

from edgewise.core import generator
from edgewise.optim.spectrum import dense_spectrum, krylov_spectrum


def symmetric(n, seed=0):
    A = torch.randn(n, n, generator=generator(seed, "H"), dtype=torch.float64)
    return A + A.T


@pytest.mark.parametrize("n", [1, 2, 30])
def test_lanczos_to_the_end_is_the_whole_matrix(n):
    H = symmetric(n)
    g = torch.randn(n, generator=generator(1, "g"), dtype=torch.float64)
    dense, krylov = dense_spectrum(H, g), krylov_spectrum(lambda v: H @ v, g, n)
    torch.testing.assert_close(dense.values, krylov.values, rtol=1e-9, atol=1e-9)
    for spectrum in (dense, krylov):
        # The gradient lies in the space, and the model is that of the matrix.
        torch.testing.assert_close(spectrum.lift(spectrum.gradient), g, rtol=1e-9, atol=1e-9)
        s = torch.linspace(-1, 2, n, dtype=torch.float64)
        p = spectrum.lift(s)
        assert spectrum.model(s) == pytest.approx(float(-g @ p - 0.5 * p @ H @ p), abs=1e-8)


def test_a_few_steps_hold_the_gradient_and_the_ends():
    n = 200
    H = torch.diag(torch.cat([torch.linspace(-1, 1, n - 2), torch.tensor([-9.0, 20.0])]).double())
    g = torch.ones(n, dtype=torch.float64)
    spectrum = krylov_spectrum(lambda v: H @ v, g, 25)
    assert len(spectrum.values) == 25
    assert float(spectrum.values[0]) == pytest.approx(-9, abs=1e-9)
    assert spectrum.size == pytest.approx(20, abs=1e-9)
    torch.testing.assert_close(spectrum.lift(spectrum.gradient), g, rtol=1e-10, atol=1e-10)


def test_what_the_gradient_does_not_see_is_found_with_a_random_direction():
    H = torch.diag(torch.tensor([1.0, 2.0, -3.0, 4.0], dtype=torch.float64))
    for g in (torch.zeros(4), torch.tensor([1.0, 0.0, 0.0, 0.0])):
        spectrum = krylov_spectrum(lambda v: H @ v, g.double(), 4, generator(0))
        assert float(spectrum.values[0]) == pytest.approx(-3)
