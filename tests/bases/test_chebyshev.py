import numpy as np
import pytest
import torch
from numpy.polynomial import chebyshev

from edgewise.bases import Chebyshev

DEGREES = [1, 2, 4, 12]
every_degree = pytest.mark.parametrize("degree", DEGREES)
DOMAIN = (-1.5, 2.0)


def numpy_values(u, degree, order):
    """T_n and its derivatives with respect to u, by NumPy's polynomial arithmetic."""
    rows = np.eye(degree + 1)
    return np.stack([chebyshev.chebval(u, chebyshev.chebder(row, order)) for row in rows], axis=-1)


@every_degree
def test_on_the_domain_values_and_derivatives_are_those_of_numpy(degree):
    u = np.linspace(-1, 1, 63)
    low, high = DOMAIN
    x = torch.from_numpy((low + high) / 2 + u * (high - low) / 2)
    basis = Chebyshev(degree, DOMAIN, "linear")
    for order in (0, 1, 2):
        expected = numpy_values(u, degree, order) * (2 / (high - low)) ** order
        found = basis.derivative(x, order).numpy()
        # The ends may be rounded out of the domain, where the second derivative is zero.
        rows = slice(1, -1) if order == 2 else slice(None)
        np.testing.assert_allclose(
            found[rows], expected[rows], rtol=1e-12, atol=1e-12 * degree ** (2 * order)
        )


@every_degree
def test_they_are_cosines_of_multiples_of_an_angle(degree):
    angle = torch.linspace(0, torch.pi, 50, dtype=torch.float64)
    expected = torch.cos(angle[:, None] * torch.arange(degree + 1))
    found = Chebyshev(degree, outside="linear")(angle.cos())
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-13)


@every_degree
def test_at_the_ends_they_are_known_and_so_are_their_slopes(degree):
    basis = Chebyshev(degree, outside="linear")
    x = torch.tensor([-1.0, 1.0], dtype=torch.float64, requires_grad=True)
    n = torch.arange(degree + 1, dtype=torch.float64)
    signs = torch.stack([(-1.0) ** n, torch.ones_like(n)])
    assert torch.equal(basis(x), signs)
    # T'(1) = n², T''(1) = n² (n² - 1) / 3, and the other end mirrors them.
    mirrored = torch.stack([-signs[0], signs[1]])
    assert torch.equal(basis.derivative(x, 1), n**2 * mirrored)
    torch.testing.assert_close(basis.derivative(x, 2), n**2 * (n**2 - 1) / 3 * signs)
    (gradient,) = torch.autograd.grad(basis(x).sum(), x)
    torch.testing.assert_close(gradient, (n**2 * mirrored).sum(-1))


def test_discrete_orthogonality():
    """Sums over the K roots of T_K: zero for n ≠ m, K for n = m = 0, K/2 else."""
    K = 7
    roots = torch.cos(torch.pi * (torch.arange(K, dtype=torch.float64) + 0.5) / K)
    B = Chebyshev(K - 1, outside="linear")(roots)
    expected = torch.diag(torch.tensor([K] + [K / 2] * (K - 1), dtype=torch.float64))
    torch.testing.assert_close(B.T @ B, expected, rtol=0, atol=1e-13)


@every_degree
def test_outside_they_are_the_tangent_lines_at_the_ends(degree):
    basis = Chebyshev(degree, DOMAIN, "linear")
    for end, out in ((DOMAIN[0], -1.0), (DOMAIN[1], 1.0)):
        at = torch.tensor(end, dtype=torch.float64)
        value, slope = basis(at), basis.derivative(at, 1)
        for distance in (1e-9, 0.3, 50.0):
            x = at + out * distance
            expected = value + out * distance * slope
            torch.testing.assert_close(basis(x), expected, rtol=1e-12, atol=1e-12)
            torch.testing.assert_close(basis.derivative(x, 1), slope, rtol=1e-12, atol=1e-12)
            assert (basis.derivative(x, 2) == 0).all()


def test_squashed_they_are_the_polynomials_of_tanh():
    x = torch.linspace(-30, 30, 101, dtype=torch.float64)
    low, high = DOMAIN
    u = (2 * x - low - high) / (high - low)
    expected = torch.from_numpy(numpy_values(u.tanh().numpy(), 6, 0))
    basis = Chebyshev(6, DOMAIN)
    torch.testing.assert_close(basis(x), expected, rtol=0, atol=1e-12)
    assert (basis(x).abs() <= 1 + 1e-12).all()
    assert torch.equal(Chebyshev(1)(x)[:, 1], x.tanh())


@pytest.mark.parametrize("outside", ["linear", "tanh"])
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_a_high_degree_in_half_precision_is_rounded_once(outside, dtype):
    basis = Chebyshev(30, outside=outside)
    x = torch.linspace(-1, 1, 100).to(dtype)
    for order in (0, 1):
        expected = basis.derivative(x.double(), order).to(dtype)
        unit = torch.finfo(dtype).eps * expected.double().abs().max()
        assert (basis.derivative(x, order).double() - expected.double()).abs().max() <= unit


def test_in_float32_no_digits_are_lost_at_a_large_offset():
    domain = (1000.0, 1001.0)
    x = torch.linspace(*domain, 50).double()
    basis = Chebyshev(5, domain, "linear")
    assert (basis(x.float()).double() - basis(x)).abs().max() < 1e-5


def test_not_a_number_stays_where_it_is():
    for outside in ("linear", "tanh"):
        B = Chebyshev(outside=outside)(torch.tensor([0.3, float("nan")]))
        assert B[0].isfinite().all()
        assert B[1, 1:].isnan().all()


@pytest.mark.parametrize("outside", ["linear", "tanh"])
@pytest.mark.parametrize("degree", [4, 5, 63])
def test_a_refinement_is_the_same_function(outside, degree):
    basis = Chebyshev(4, DOMAIN, outside)
    fine, T = basis.refined(degree)
    assert (fine.degree, fine.domain, fine.outside) == (degree, DOMAIN, outside)
    assert (T.shape, T.dtype) == ((degree + 1, 5), torch.float64)
    c = torch.randn(5, dtype=torch.float64)
    x = torch.linspace(-4, 5, 100, dtype=torch.float64)
    for order in (0, 1, 2):
        expected = basis.derivative(x, order) @ c
        torch.testing.assert_close(
            fine.derivative(x, order) @ (T @ c), expected, rtol=1e-12, atol=1e-12
        )


def test_a_smooth_function_is_met_at_a_geometric_rate():
    """Of exp on [-1, 1] the error falls about tenfold a degree (Trefethen 2013, ch. 8)."""
    x = torch.linspace(-1, 1, 400, dtype=torch.float64)
    target = x.exp()[:, None]
    for degree, bound in ((4, 2e-3), (8, 1e-7), (12, 1e-12)):
        B = Chebyshev(degree, outside="linear")(x)
        fit = B @ torch.linalg.lstsq(B, target).solution
        assert (fit - target).abs().max() < bound
