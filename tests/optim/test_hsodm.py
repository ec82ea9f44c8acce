import pytest
import torch
from optim_problems import dense_hessian, kan, samples, vector

from edgewise.core import InputError, generator
from edgewise.curvature import HessianOperator
from edgewise.optim import HSODM, bordered_eigenpair


def bordered(H, g, delta):
    n = len(g)
    F = torch.zeros(n + 1, n + 1, dtype=H.dtype)
    F[:n, :n], F[:n, n], F[n, :n], F[n, n] = H, g, g, -delta
    return F


def symmetric(n, seed):
    A = torch.randn(n, n, generator=generator(seed, "H"), dtype=torch.float64)
    return A + A.T


@pytest.mark.parametrize("delta", [-2.0, 0.0, 0.1, 30.0])
@pytest.mark.parametrize("n", [1, 5, 63])
def test_the_least_eigenpair_is_that_of_the_dense_matrix(n, delta):
    H = symmetric(n, n)
    g = torch.randn(n, generator=generator(n, "g"), dtype=torch.float64)
    value, vector = bordered_eigenpair(lambda v: H @ v, g, delta)
    values, vectors = torch.linalg.eigh(bordered(H, g, delta))
    assert value == pytest.approx(float(values[0]), rel=1e-9)
    assert abs(float(vectors[:, 0] @ vector)) == pytest.approx(1, abs=1e-12)


def test_of_a_network_by_products_to_a_millionth():
    model = kan(2, 3, 1)
    x, y = samples(100, 2, 1)
    params = list(model.parameters())
    loss = lambda: (model(x) - y).square().mean()  # noqa: E731
    H, operator = dense_hessian(loss, params), HessianOperator(loss, params)
    g = operator.gradient
    for delta in (0.0, 1e-2, 1.0):
        value, found = bordered_eigenpair(lambda v: operator @ v, g, delta, rank=60)
        values, vectors = torch.linalg.eigh(bordered(H, g, delta))
        truth = vectors[:, 0] * torch.sign(vectors[:, 0] @ found)
        assert value == pytest.approx(float(values[0]), rel=1e-6)
        assert (truth - found).norm() < 1e-6


def test_where_the_gradient_is_zero_or_sees_nothing():
    H = torch.diag(torch.tensor([1.0, -2.0, 3.0], dtype=torch.float64))
    for g in (torch.zeros(3), torch.tensor([0.1, 0.0, 0.1])):
        value, found = bordered_eigenpair(lambda v: H @ v, g.double(), 0.5, generator=generator(0))
        assert value == pytest.approx(-2)
        torch.testing.assert_close(found.abs(), torch.tensor([0.0, 1, 0, 0]).double())


def test_a_step_with_a_kept_delta_is_along_that_eigenvector():
    for start in ((0.3, 0.2), (0.3, 1e-3)):
        w = vector(*start)
        loss = lambda w=w: w[0] ** 2 - w[1] ** 2 + w[1] ** 4  # noqa: E731
        H, g = dense_hessian(loss, [w]), torch.autograd.grad(loss(), w)[0]
        eigenvector = torch.linalg.eigh(bordered(H, g, 0.1)).eigenvectors[:, 0]
        expected = eigenvector[:2] / eigenvector[2]
        expected = expected * min(1.0, 0.5 / float(expected.norm()))
        before = w.detach().clone()
        HSODM([w], delta=0.1, radius=0.5).step(loss)
        torch.testing.assert_close(w.detach() - before, expected, rtol=1e-7, atol=1e-10)


def test_with_a_kept_delta_it_arrives():
    w = vector(0.0, 0.0)
    loss = lambda: w[0] ** 2 - w[1] ** 2 + w[1] ** 4  # noqa: E731
    optimiser = HSODM([w], delta=0.0, generator=generator(0))
    for _ in range(40):
        value = optimiser.step(loss)
    assert float(value) == pytest.approx(-0.25, abs=1e-12)


def test_bad_input_is_refused_word_by_word():
    for options, message in (
        ({"delta": float("nan")}, "delta must be a number or None, got nan"),
        ({"delta": "small"}, "delta must be a number or None, got 'small'"),
        ({"radius": 0.0}, "radius must be a positive number, got 0.0"),
    ):
        with pytest.raises(InputError) as caught:
            HSODM([vector(1.0)], **options)
        assert str(caught.value) == message
