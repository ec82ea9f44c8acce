import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

from edgewise.core import InputError
from edgewise.curvature import Functional
from edgewise.landscape import spectrum, top_eigenvalues, trace
from edgewise.models import KAN


def kan():
    """KAN [2, 5, 1], as trained for a while as it takes to have outliers."""
    torch.manual_seed(1)
    model = KAN([2, 5, 1]).double()
    x = 2 * torch.rand(300, 2, dtype=torch.float64) - 1
    y = torch.exp(torch.sin(torch.pi * x[:, :1]) + x[:, 1:] ** 2)
    return _trained(model, F.mse_loss, x, y)


def mlp():
    torch.manual_seed(1)
    model = nn.Sequential(nn.Linear(10, 24), nn.SiLU(), nn.Linear(24, 4)).double()
    x = torch.randn(100, 10, dtype=torch.float64)
    return _trained(model, F.cross_entropy, x, torch.randint(4, (100,)))


def _trained(model, loss, x, y):
    optimizer = torch.optim.Adam(model.parameters(), 1e-2)
    for _ in range(60):
        optimizer.zero_grad()
        loss(model(x), y).backward()
        optimizer.step()
    return model, loss, (x, y)


@pytest.fixture(scope="module", params=[kan, mlp], ids=["KAN", "MLP"])
def case(request):
    problem = request.param()
    H = Functional(*problem).hessian().dense()
    return problem, H, torch.linalg.eigvalsh(H)


def test_top_and_smallest_eigenvalues_are_those_of_the_dense_hessian(case):
    problem, _, truth = case
    found = top_eigenvalues(*problem, k=5)
    assert np.allclose(np.asarray(found), truth.flip(0)[:5], rtol=1e-8)
    assert len(found) == 5
    assert found[0] == max(found)
    least = top_eigenvalues(*problem, k=1, which="smallest")
    assert np.allclose(list(least), truth[:1], rtol=1e-8)
    H = Functional(*problem).hessian()
    off = torch.stack([H @ v for v in found.vectors.T], 1) - found.vectors * found.values
    assert torch.allclose(off.norm(dim=0), found.residuals, atol=1e-10)


def test_the_trace_lies_within_its_stated_error_95_times_of_100(case):
    problem, H, _ = case
    truth = float(H.trace())
    found = trace(*problem)
    assert abs(found.value - truth) <= found.error
    if found.samples:  # a KAN's is exact, whatever the seed
        operator = Functional(*problem).hessian()
        dense = operator.dense()
        from edgewise.core import generator
        from edgewise.curvature import trace as trace_of

        random = generator(5)
        runs = [trace_of(lambda v: dense @ v, len(dense), generator=random) for _ in range(100)]
        assert sum(abs(run.value - truth) <= run.error for run in runs) >= 95
    else:
        assert found.error < 1e-9 * abs(truth)


def test_the_first_four_moments_of_the_density_lie_within_one_percent(case):
    problem, _, truth = case
    density = spectrum(*problem)
    for order in (1, 2, 3, 4):
        assert density.moment(order).value == pytest.approx(float((truth**order).mean()), rel=1e-2)
    assert density.size == len(truth)


def test_without_the_gauge_only_its_zeros_are_missing():
    model, loss, data = kan()
    whole, part = (spectrum(model, loss, data, gauge=gauge) for gauge in (False, True))
    removed = whole.size - part.size
    assert removed >= 10 + 5
    kept = whole.outliers[whole.outliers.abs().argsort(descending=True)[: part.size]]
    assert torch.allclose(part.outliers, kept.sort(descending=True).values, atol=1e-10)
    with pytest.raises(InputError, match=r"^there is no closed form: Sequential is no stack"):
        spectrum(*mlp(), gauge=True)


def test_gauss_newton_and_fisher_are_other_matrices():
    problem = mlp()
    f = Functional(*problem)
    for matrix, dense in (
        ("gauss-newton", f.gauss_newton().dense()),
        ("fisher", f.empirical_fisher().dense()),
    ):
        truth = torch.linalg.eigvalsh(dense).flip(0)
        found = top_eigenvalues(*problem, k=2, matrix=matrix)
        assert np.allclose(np.asarray(found), truth[:2], rtol=1e-8)
        estimate = trace(*problem, matrix=matrix)
        assert abs(estimate.value - float(dense.trace())) <= estimate.error
    message = r"^unknown matrix 'hesian': did you mean 'hessian'\?"
    with pytest.raises(InputError, match=message):
        top_eigenvalues(*problem, matrix="hesian")


def test_more_eigenvalues_than_there_are():
    message = r"^4 eigenvalues were asked for, but the operator has only 3$"
    with pytest.raises(InputError, match=message):
        top_eigenvalues(nn.Linear(2, 1), F.mse_loss, (torch.ones(3, 2), torch.ones(3, 1)), k=4)


def test_float32_models_give_float32_accuracy_and_float64_on_demand():
    model, loss, (x, y) = mlp()
    exact = np.asarray(top_eigenvalues(model, loss, (x, y)))
    model = model.float()
    single = top_eigenvalues(model, loss, (x.float(), y))
    assert np.allclose(np.asarray(single), exact, rtol=1e-4)
    double = top_eigenvalues(model, loss, (x.float(), y), dtype=torch.float64)
    assert np.allclose(np.asarray(double), exact, rtol=1e-5)
    assert np.allclose(np.asarray(single), np.asarray(double), rtol=2e-6)
