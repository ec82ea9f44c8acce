import pytest
import torch
from optim_problems import kan, mlp, samples

from edgewise.core import InputError
from edgewise.optim import LeastSquares, jacobian_of_graph


@pytest.mark.parametrize("make", [kan, mlp])
@pytest.mark.parametrize("weighted", [False, True])
def test_residuals_and_jacobian(make, weighted):
    model = make(2, 3, 2)
    x, y = samples(63, 2, 2)
    w = torch.rand(63).double() if weighted else None
    problem, params = LeastSquares(model, x, y, w), list(model.parameters())
    shares = torch.ones(63).double() / 63 if w is None else w / w.sum()
    loss = (shares.unsqueeze(1) * (model(x) - y).square()).sum() / 2
    r, J = problem.linearise(params)
    torch.testing.assert_close(r @ r, loss.detach(), rtol=1e-12, atol=0)
    torch.testing.assert_close(r, problem().detach(), rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(J, jacobian_of_graph(problem(), params), rtol=1e-10, atol=1e-12)
    value, g = problem.value_and_gradient(params)
    torch.testing.assert_close(value, loss.detach(), rtol=1e-12, atol=0)
    torch.testing.assert_close(g, 2 * J.T @ r, rtol=1e-10, atol=1e-12)
    assert len(problem) == len(r) == 126


def test_columns_follow_the_parameters_asked_for():
    model = kan(2, 3, 1)
    problem = LeastSquares(model, *samples(20, 2, 1))
    everything = list(model.parameters())
    whole = problem.linearise(everything)[1]
    first = everything[0].numel()
    part = problem.linearise([everything[-1], everything[0]])[1]
    assert torch.equal(part[:, 1:], whole[:, :first])
    assert torch.equal(part[:, 0], whole[:, -1])


def test_whole_numbers_and_single_precision_as_targets():
    model = kan(2, 1)
    x, y = samples(20, 2, 1)
    for target in (y.round().long(), y.float()):
        r, J = LeastSquares(model, x, target).linearise(list(model.parameters()))
        assert r.dtype == J.dtype == torch.float64
        expected = (model(x) - target).square().mean()
        torch.testing.assert_close(r @ r, expected.detach(), rtol=1e-12, atol=0)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (
            lambda m, x, y: LeastSquares(m, x, y.squeeze(1)),
            "the model gives (9, 1) for x (9, 2), but y is (9,); reshape y",
        ),
        (
            lambda m, x, y: LeastSquares(m, x, y, torch.ones(3)),
            "weight must have one number for each of the 9 samples, got (3,)",
        ),
        (
            lambda m, x, y: LeastSquares(m, x, y, -torch.ones(9)),
            "weights must be finite, not negative and not all zero",
        ),
        (
            lambda m, x, y: LeastSquares(m, x, y, torch.zeros(9)),
            "weights must be finite, not negative and not all zero",
        ),
        (
            lambda m, x, y: LeastSquares(m, x, y).linearise(list(kan(1, 1).parameters())),
            "the optimiser trains a parameter of shape (6, 1, 1) that KAN does not have; "
            "give both the same model",
        ),
    ],
)
def test_bad_input_is_refused_word_by_word(call, message):
    with pytest.raises(InputError) as caught:
        call(kan(2, 1), *samples(9, 2, 1))
    assert str(caught.value) == message
