import pytest
import torch

from edgewise.core import InputError, generator
from edgewise.curvature import diagonal, trace

N = 150


def symmetric(values):
    Q = torch.linalg.qr(torch.randn(N, N, dtype=torch.float64)).Q
    return Q * values.double() @ Q.T


SPECTRA = {
    "flat": lambda: torch.randn(N) + 0.3,
    "steep": lambda: 800 * 2.0 ** -torch.arange(N),
    "outliers": lambda: torch.cat([torch.linspace(2, 3, 9), 0.05 * torch.rand(N - 9)]),
}


@pytest.mark.parametrize("method", ["auto", "hutchinson", "hutch++"])
@pytest.mark.parametrize("name", SPECTRA)
def test_the_stated_error_holds_in_95_of_100_cases(name, method):
    A = symmetric(SPECTRA[name]())
    random, truth = generator(0), float(A.trace())
    found = [trace(lambda v: A @ v, N, 99, method=method, generator=random) for _ in range(100)]
    assert sum(abs(e.value - truth) <= e.error for e in found) >= 95
    # And it is no wider than it must be: about 68 lie within one standard error.
    if name != "steep" or method == "hutchinson":
        assert 55 <= sum(abs(e.value - truth) <= e.standard_error for e in found) <= 82
    assert all(e.products == 99 for e in found)


@pytest.mark.parametrize("name", SPECTRA)
def test_the_pilot_takes_the_better_method(name):
    A = symmetric(SPECTRA[name]())

    def spread(method):
        """The error over several runs, as one run knows its own only roughly."""
        random = generator(0)
        runs = [trace(lambda v: A @ v, N, 99, method=method, generator=random) for _ in range(10)]
        return sum(run.standard_error for run in runs) / 10

    best = min(spread("hutchinson"), spread("hutch++"))
    assert spread("auto") <= 1.4 * best


def test_a_small_operator_is_exact():
    A = symmetric(SPECTRA["flat"]())
    for found in (
        trace(lambda v: A @ v, N, N),
        trace(lambda v: A @ v, N, 12, method="exact"),
    ):
        assert abs(found.value - float(A.trace())) <= found.error < 1e-10
        assert found.samples == 0
        assert found.products == N
    value, error = found
    assert value == float(found)
    assert error == found.standard_error


def test_an_interval_is_wider_at_a_higher_level():
    A = symmetric(SPECTRA["flat"]())
    found = trace(lambda v: A @ v, N, 50, method="hutchinson", generator=generator(0))
    low, high = found.interval(0.95)
    assert low < found.value < high
    assert found.margin(0.5) < found.margin(0.95) < found.error


def test_bad_input_is_refused():
    with pytest.raises(InputError, match=r"^unknown method 'hutch': did you mean 'hutch\+\+'\?"):
        trace(lambda v: v, 5, method="hutch")
    message = r"^an estimate with its error needs at least 12 products, got 11$"
    with pytest.raises(InputError, match=message):
        trace(lambda v: v, 50, 11)
    with pytest.raises(InputError, match=r"^n must be a whole number of at least 1, got 0$"):
        trace(lambda v: v, 0)


def test_the_diagonal_lies_within_its_errors():
    A = symmetric(SPECTRA["flat"]())
    found = diagonal(lambda v: A @ v, N, 100, generator=generator(0))
    z = (found.values - A.diag()) / found.standard_errors
    assert 0.85 < float(z.square().mean().sqrt()) < 1.2
    exact = diagonal(lambda v: A @ v, N, N)
    assert torch.allclose(exact.values, A.diag(), rtol=1e-14)
    message = r"^an estimate with its error needs at least 2 products, got 1$"
    with pytest.raises(InputError, match=message):
        diagonal(lambda v: v, 50, 1)
