import math

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from edgewise.core import InputError
from edgewise.landscape import Watch, sharpness, top_eigenvalues


def quadratic():
    """f(w) = mean over two examples of (w · x - y)²: the Hessian is diag(1, 4)."""
    x = torch.tensor([[1.0, 0.0], [0.0, 2.0]], dtype=torch.float64)
    line = nn.Linear(2, 1, bias=False).double()
    nn.init.zeros_(line.weight)
    return line, (x, torch.zeros(2, 1, dtype=torch.float64))


def test_at_the_minimum_of_a_quadratic_all_is_known():
    line, data = quadratic()
    found = sharpness(line, F.mse_loss, data, rho=0.1)
    assert found.largest == pytest.approx(4, rel=1e-9)
    assert found.trace.value == pytest.approx(5)
    assert found.per_parameter == pytest.approx(2.5)
    assert found.sam == pytest.approx(0.5 * 4 * 0.1**2, rel=1e-6)  # along the sharpest axis
    assert found.adaptive == 0  # all weights are zero
    assert found.critical_rate == math.inf
    assert found.loss == 0


def test_the_critical_rate_on_an_eigenvector_is_two_over_its_eigenvalue():
    line, data = quadratic()
    with torch.no_grad():
        line.weight.copy_(torch.tensor([[0.0, 1.0]]))
    found = sharpness(line, F.mse_loss, data)
    assert found.critical_rate == pytest.approx(2 / 4, rel=2e-3)
    # |θ| scales the ball to the second axis only.
    assert found.adaptive == pytest.approx(2 * (1.05**2 - 1), rel=1e-6)
    with pytest.raises(InputError, match=r"^rho must be a positive number, got 0$"):
        sharpness(line, F.mse_loss, data, rho=0)


def test_watching_gives_each_epoch_its_eigenvalue_and_starts_warm():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(4, 16), nn.Tanh(), nn.Dropout(0.5), nn.Linear(16, 1)).double()
    x = torch.randn(64, 4, dtype=torch.float64)
    data = (x, x[:, :1])
    watch = Watch(F.mse_loss, data, every=2, tol=1e-8)
    rows = [{"epoch": e} for e in range(1, 6)]
    for row in rows:
        model.train()
        watch(row, model)
        assert model[2].training
        if "sharpness" in row:
            truth = top_eigenvalues(model.eval(), F.mse_loss, data, 1)[0]
            assert row["sharpness"] == pytest.approx(truth, rel=1e-7)
        with torch.no_grad():
            model[0].weight.mul_(1.001)
    assert [("sharpness" in row) for row in rows] == [False, True, False, True, False]
    assert [row["epoch"] for row in watch.rows] == [2, 4]
    assert watch.rows[1]["products"] <= watch.rows[0]["products"]
    with pytest.raises(InputError, match=r"^every must be a whole number of at least 1, got 0$"):
        Watch(F.mse_loss, data, every=0)
