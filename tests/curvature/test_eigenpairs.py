import pytest
import torch

from edgewise.core import InputError, RunError, generator
from edgewise.curvature import Operator, extreme_eigenpairs


def symmetric(values):
    n = len(values)
    Q = torch.linalg.qr(torch.randn(n, n, dtype=torch.float64)).Q
    return Q * values.double() @ Q.T


def expected(A, k, which):
    values = torch.linalg.eigvalsh(A)
    if which == "magnitude":
        return values[values.abs().argsort(descending=True)[:k]]
    return values[:k] if which == "smallest" else values.flip(0)[:k]


@pytest.mark.parametrize("values_only", [False, True])
@pytest.mark.parametrize("which", ["largest", "smallest", "magnitude"])
@pytest.mark.parametrize("n", [1, 2, 63, 300])
def test_values_vectors_and_residuals_are_those_of_the_matrix(n, which, values_only):
    A = symmetric(torch.cat([torch.linspace(-1, 1, n // 2), 3 + torch.randn(n - n // 2)]))
    for k in {1, min(5, n)}:
        found = extreme_eigenpairs(
            lambda v: A @ v, n, k, which, generator=generator(1), values_only=values_only
        )
        truth = expected(A, k, which)
        assert torch.allclose(found.values, truth, rtol=1e-8 if values_only else 1e-11, atol=1e-13)
        residuals = (A @ found.vectors - found.vectors * found.values).norm(dim=0)
        assert torch.allclose(residuals, found.residuals, atol=1e-12)
        unit = found.vectors.norm(dim=0)
        assert torch.allclose(unit, torch.ones(k, dtype=torch.float64))
        if not values_only:
            assert residuals.max() <= 1e-9 * A.norm()


def test_repeated_eigenvalues_are_found_as_often_as_they_are_there():
    A = symmetric(torch.cat([torch.zeros(30), torch.rand(170) + 0.01]))
    found = extreme_eigenpairs(lambda v: A @ v, 200, 5, "smallest", generator=generator(0))
    assert found.values.abs().max() < 1e-10
    B = symmetric(torch.cat([torch.full((3,), 7.0), torch.rand(100)]))
    thrice = extreme_eigenpairs(lambda v: B @ v, 103, 3, repeats=True, generator=generator(0))
    assert torch.allclose(thrice.values, torch.full((3,), 7.0).double())
    overlap = thrice.vectors.T @ thrice.vectors
    assert torch.allclose(overlap, torch.eye(3).double(), atol=1e-10)


def test_a_small_basis_restarts():
    A = symmetric(torch.linspace(0, 1, 400) ** 0.5)
    calls = []
    found = extreme_eigenpairs(
        lambda v: calls.append(1) or A @ v,
        400,
        2,
        "smallest",
        basis=25,
        repeats=False,
        generator=generator(0),
    )
    assert len(calls) > 40
    assert torch.allclose(found.values, expected(A, 2, "smallest"), atol=1e-10)


def test_a_warm_start_takes_fewer_products():
    A = symmetric(torch.linspace(0, 1, 300))
    calls = []
    matvec = lambda v: calls.append(1) or A @ v  # noqa: E731
    cold = extreme_eigenpairs(matvec, 300, generator=generator(0))
    first = len(calls)
    again = extreme_eigenpairs(matvec, 300, start=cold.vectors[:, 0])
    assert torch.allclose(again.values, cold.values, rtol=1e-12)
    assert len(calls) - first < first / 4


def test_float32_operators_keep_their_dtype():
    A = symmetric(torch.linspace(1, 2, 50)).float()
    found = extreme_eigenpairs(Operator(lambda v: A @ v, 50), 50, 2, generator=generator(0))
    assert found.vectors.dtype == torch.float32
    assert torch.allclose(found.values, expected(A.double(), 2, "largest"), rtol=1e-5)


def test_the_generator_decides_all():
    A = symmetric(torch.randn(80))
    a, b = (extreme_eigenpairs(lambda v: A @ v, 80, 3, generator=generator(4)) for _ in range(2))
    assert torch.equal(a.vectors, b.vectors)


def test_bad_input_is_refused():
    matvec = lambda v: v  # noqa: E731
    message = r"^6 eigenvalues were asked for, but the operator has only 5$"
    with pytest.raises(InputError, match=message):
        extreme_eigenpairs(matvec, 5, 6)
    with pytest.raises(InputError, match=r"^k must be a whole number of at least 1, got 0$"):
        extreme_eigenpairs(matvec, 5, 0)
    message = r"^unknown end of the spectrum 'larges': did you mean 'largest'\?"
    with pytest.raises(InputError, match=message):
        extreme_eigenpairs(matvec, 5, 1, "larges")
    A = symmetric(torch.linspace(0, 1, 200))
    message = (
        r"^1 eigenpairs have not converged after 10 products, residuals up to \S+; "
        r"raise tol, basis or products$"
    )
    with pytest.raises(RunError, match=message):
        extreme_eigenpairs(lambda v: A @ v, 200, products=10, generator=generator(0))
