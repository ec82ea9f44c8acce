import pytest
import torch
from optim_problems import mlp, samples

from edgewise.core import InputError
from edgewise.optim import jacobian_of_graph, jacobian_of_model


def row_by_row(residuals, params):
    rows = []
    for r in residuals:
        parts = torch.autograd.grad(r, params, retain_graph=True, materialize_grads=True)
        rows.append(torch.cat([part.reshape(-1) for part in parts]))
    return torch.stack(rows)


@pytest.mark.parametrize("n", [1, 5, 60])
def test_of_a_graph_by_rows_and_by_columns(n):
    model = mlp(3, 4, 2)
    x, y = samples(n, 3, 2)
    params = list(model.parameters())
    r = (model(x) - y).reshape(-1)
    found = jacobian_of_graph(r, params)
    torch.testing.assert_close(found, row_by_row(r, params), rtol=1e-12, atol=1e-12)
    assert not found.requires_grad


def test_of_a_graph_that_leaves_parameters_out():
    a, b = (torch.ones(2, dtype=torch.float64, requires_grad=True) for _ in range(2))
    r = torch.stack([a[0], a[0] * a[1], a[1], a[0], a[1], a.sum()])
    found = jacobian_of_graph(r, [b, a])
    torch.testing.assert_close(found, row_by_row(r, [b, a]))
    assert not found[:, :2].any()


def test_of_a_model_sample_by_sample_and_in_any_order():
    model = mlp(3, 4, 2)
    x, _ = samples(63, 3, 2)
    params = list(model.parameters())[::-1]
    y, J = jacobian_of_model(model, x, params)
    torch.testing.assert_close(y, model(x).detach())
    slow = row_by_row(model(x).reshape(-1), params)
    torch.testing.assert_close(J.flatten(0, 1), slow, rtol=1e-12, atol=1e-12)


def test_a_parameter_of_another_model_is_refused():
    x, _ = samples(3, 3, 1)
    with pytest.raises(InputError) as caught:
        jacobian_of_model(mlp(3, 1), x, list(mlp(3, 1).parameters()))
    assert str(caught.value) == (
        "the optimiser trains a parameter of shape (1, 3) that Sequential does not have; "
        "give both the same model"
    )
