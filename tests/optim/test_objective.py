import pytest
import torch
from optim_problems import kan, mlp, samples

from edgewise.core import InputError
from edgewise.optim import Objective

mse = torch.nn.functional.mse_loss


@pytest.mark.parametrize("make", [kan, mlp])
def test_value_and_gradient_are_those_of_the_model(make):
    model = make(2, 3, 1)
    x, y = samples(63, 2, 1)
    objective, params = Objective(model, mse, x, y), list(model.parameters())[::-1]
    loss = mse(model(x), y)
    value, g = objective.value_and_gradient(params)
    slow = torch.cat([part.reshape(-1) for part in torch.autograd.grad(loss, params)])
    torch.testing.assert_close(value, loss.detach(), rtol=1e-12, atol=0)
    torch.testing.assert_close(g, slow, rtol=1e-11, atol=1e-12)
    torch.testing.assert_close(objective(), loss, rtol=1e-12, atol=0)
    assert objective().requires_grad
    assert all(p.grad is None for p in params)


def test_only_a_stack_has_its_hessian_in_closed_form():
    x, y = samples(9, 2, 1)
    model = mlp(2, 3, 1)
    assert Objective(model, mse, x, y).hessian(list(model.parameters())) is None


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (
            lambda m, x, y: Objective(m, mse, x[:0], y[:0]),
            "there must be samples, got x (0, 2) and y (0, 1)",
        ),
        (lambda m, x, y: Objective(m, mse, x, y[:3]), "x has 9 samples, but y has 3"),
        (
            lambda m, x, y: Objective(m, mse, x * float("nan"), y),
            "x holds NaN or infinity; drop or fill those samples first",
        ),
        (
            lambda m, x, y: Objective(m, mse, x, y / 0),
            "y holds NaN or infinity; drop or fill those samples first",
        ),
        (
            lambda m, x, y: Objective(m, torch.sub, x, y),
            "the loss must give one number as a tensor, got (9, 1)",
        ),
    ],
)
def test_bad_input_is_refused_word_by_word(call, message):
    with pytest.raises(InputError) as caught:
        call(kan(2, 1), *samples(9, 2, 1))
    assert str(caught.value) == message
