import math

import pytest
import torch

from edgewise.core import InputError, generator
from edgewise.curvature import spectral_density

N = 400


def symmetric(values):
    Q = torch.linalg.qr(torch.randn(N, N, dtype=torch.float64)).Q
    return Q * values @ Q.T


@pytest.fixture
def values():
    bulk = 0.1 * torch.randn(N - 8, dtype=torch.float64) ** 2
    return torch.cat([torch.linspace(2, 9, 7), torch.tensor([-1.0]), bulk]).double()


def test_moments_lie_within_their_errors_and_one_percent(values):
    A = symmetric(values)
    density = spectral_density(
        lambda v: A @ v, N, 12, 30, exact=0, outliers=20, generator=generator(0)
    )
    assert len(density.outliers) == 20
    assert density.nodes.shape == (30, 12)
    for order in (1, 2, 3, 4):
        found, truth = density.moment(order), float((values**order).mean())
        assert abs(found.value / truth - 1) < (0.02 if order == 1 else 0.01)
        assert 0 < abs(found.value - truth) <= found.error


def test_moments_are_unbiased_over_many_seeds(values):
    A = symmetric(values)
    truth, z = float(values.mean()), []
    for seed in range(60):
        density = spectral_density(
            lambda v: A @ v, N, 8, 6, exact=0, outliers=8, generator=generator(seed)
        )
        found = density.moment(1)
        z.append((found.value - truth) / found.standard_error)
    z = torch.tensor(z)
    assert abs(float(z.mean())) < 0.5
    assert 0.8 < float(z.std()) < 1.8  # Student's t with 5 degrees: 1.29


def test_it_integrates_to_one_and_the_cumulative_to_the_count(values):
    A = symmetric(values)
    density = spectral_density(lambda v: A @ v, N, 25, 4, exact=0, generator=generator(0))
    low, high = density.ends()
    assert math.isclose(high, float(values.max()), rel_tol=1e-9)
    assert math.isclose(low, float(values.min()), rel_tol=1e-9)
    width = density.bandwidth()
    grid = torch.linspace(low - 8 * width, high + 8 * width, 40_001, dtype=torch.float64)
    mean, error = density.curve(grid)
    assert abs(float(torch.trapezoid(mean, grid)) - 1) < 1e-6
    assert (error >= 0).all()
    assert error.max() > 0
    assert abs(float(density.cumulative(torch.tensor([1.5]))) - (N - 7) / N) < 1e-12
    assert torch.allclose(torch.tensor([density.moment(0).value]).double(), torch.ones(1).double())


def test_small_operators_are_taken_whole(values):
    A = symmetric(values)
    density = spectral_density(lambda v: A @ v, N, 40, 10)
    assert torch.allclose(density.outliers, values.sort(descending=True).values, atol=1e-12)
    assert density.products == N
    assert density.moment(2).samples == 0


def test_an_exhausted_space_is_no_error():
    A = torch.diag(torch.cat([torch.ones(150), -torch.ones(150)]).double())
    density = spectral_density(
        lambda v: A @ v, 300, 20, 5, exact=0, outliers=0, generator=generator(0)
    )
    assert torch.allclose(density.weights.sum(1), torch.ones(5).double())
    assert math.isclose(density.moment(2).value, 1, rel_tol=1e-12)


def test_progress_is_told():
    seen = []
    spectral_density(
        lambda v: v * torch.arange(100.0).double(),
        100,
        5,
        4,
        exact=0,
        outliers=2,
        generator=generator(0),
        progress=lambda *p: seen.append(p),
    )
    assert seen == [(1, 4), (2, 4), (3, 4), (4, 4)]


def test_bad_input_is_refused():
    with pytest.raises(InputError, match=r"^steps must be a whole number of at least 1, got 0$"):
        spectral_density(lambda v: v, 5, 0)
    with pytest.raises(InputError, match=r"^probes must be a whole number of at least 2, got 1$"):
        spectral_density(lambda v: v, 5, 5, 1)
    message = r"^outliers must be a whole number of at least 0, got -1$"
    with pytest.raises(InputError, match=message):
        spectral_density(lambda v: v, 5, outliers=-1)
