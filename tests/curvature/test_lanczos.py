import pytest
import torch

from edgewise.core import InputError, RunError, generator
from edgewise.curvature import lanczos


def symmetric(n, values=None):
    Q = torch.linalg.qr(torch.randn(n, n, dtype=torch.float64)).Q
    values = torch.randn(n, dtype=torch.float64) if values is None else values
    return Q * values @ Q.T


@pytest.mark.parametrize("n", [1, 2, 63, 100])
def test_the_recurrence_holds_and_the_basis_is_orthonormal(n):
    A, steps = symmetric(n), max(1, n // 2)
    T = lanczos(lambda v: A @ v, torch.randn(n, dtype=torch.float64), steps)
    m = len(T.alpha)
    assert T.Q.shape == (n, m)
    assert torch.allclose(T.Q.T @ T.Q, torch.eye(m, dtype=torch.float64), atol=1e-13)
    off = A @ T.Q - T.Q @ T.matrix()
    assert off[:, :-1].abs().sum() < 1e-11 * n
    assert torch.allclose(off[:, -1].norm(), torch.tensor(T.rest).double(), atol=1e-12)


def test_a_wide_spectrum_brings_no_ghosts():
    # Without re-orthogonalisation the largest eigenvalue comes back several times.
    values = torch.cat([torch.tensor([1e4, 5e3, 1e3]), torch.rand(197)]).double()
    A = symmetric(200, values)
    ritz, _ = lanczos(lambda v: A @ v, torch.randn(200, dtype=torch.float64), 120).ritz()
    assert int((ritz > 500).sum()) == 3


def test_it_stops_where_the_space_is_exhausted():
    A = torch.diag(torch.tensor([1.0, 2.0, 2.0, 2.0, 3.0], dtype=torch.float64))
    T = lanczos(lambda v: A @ v, torch.ones(5, dtype=torch.float64), 5)
    assert len(T.alpha) == 3
    assert T.rest == 0
    assert torch.allclose(T.ritz()[0], torch.tensor([1.0, 2.0, 3.0]).double())
    T = lanczos(lambda v: 0 * v, torch.ones(4, dtype=torch.float64), 3)
    assert T.alpha.tolist() == [0.0]


def test_dtype_follows_the_start():
    A = symmetric(30)
    T = lanczos(lambda v: A.float() @ v, torch.ones(30), 10)
    assert T.Q.dtype == torch.float32
    assert T.alpha.dtype == torch.float64


def test_bad_input_is_refused():
    matvec, start = (lambda v: v), torch.ones(3)
    with pytest.raises(InputError, match=r"^steps must be a whole number of at least 1, got 0$"):
        lanczos(matvec, start, 0)
    message = r"^Lanczos needs a finite start vector that is not zero, its norm is 0.0$"
    with pytest.raises(InputError, match=message):
        lanczos(matvec, 0 * start, 2)
    with pytest.raises(InputError, match=r"its norm is nan$"):
        lanczos(matvec, start * float("nan"), 2)
    with pytest.raises(RunError, match=r"^a product A v is not finite"):
        lanczos(lambda v: v * float("inf"), start, 2, generator=generator(0))
