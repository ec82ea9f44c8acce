import pytest
import torch
import torch.nn.functional as F

from edgewise.core import InputError
from edgewise.curvature import ClosedForm, Functional, Gauge
from edgewise.models import KAN

CASES = {  # widths, basis, bias, Σ n_out (n_in - 1), or Σ n_out n_in with a bias
    "two layers": ([2, 5, 1], "bspline", False, [5, 4]),
    "bias": ([2, 5, 1], "bspline", True, [10, 5]),
    "three layers": ([3, 4, 3, 2], "bspline", False, [8, 9, 4]),
    "another basis": ([2, 4, 2], "chebyshev", True, [8, 8]),
    "no constants": ([2, 3, 1], "gaussian", True, [0, 0]),
}


def made(case):
    widths, basis, bias, expected = CASES[case]
    model = KAN(widths, basis, bias=bias).double()
    with torch.no_grad():
        for p in model.parameters():
            p.mul_(1.5)
    x = 2 * torch.rand(600, widths[0], dtype=torch.float64) - 1
    y = torch.randn(600, widths[-1], dtype=torch.float64)
    names = [k for k, _ in model.named_parameters() if "basis" not in k]
    return Functional(model, F.mse_loss, (x, y), names), expected


@pytest.mark.parametrize("case", CASES)
def test_the_count_is_the_null_space_of_the_jacobian(case):
    f, expected = made(case)
    gauge = Gauge(f)
    assert gauge.constants == expected
    J = ClosedForm(f).jacobian().flatten(0, 1)
    values = torch.linalg.svdvals(J)
    gap = values[-gauge.count - 1] if gauge.count else values[-1]
    assert gap > 1e-13 * values[0]
    if gauge.count:
        assert values[-gauge.count] < 1e-14 * values[0]


@pytest.mark.parametrize("case", ["two layers", "bias", "three layers"])
def test_moving_along_a_gauge_direction_changes_no_prediction(case):
    f, _ = made(case)
    V = Gauge(f).vectors()
    assert torch.allclose(V.T @ V, torch.eye(V.shape[1]).double(), atol=1e-12)
    far = f.point() + 3 * V @ torch.randn(V.shape[1], dtype=torch.float64)
    here = f.predict(f.point(), next(iter(f.chunks())))
    there = f.predict(far, next(iter(f.chunks())))
    assert torch.allclose(here, there, atol=1e-10)
    assert (ClosedForm(f).hessian() @ V).abs().max() < 1e-10


def test_functions_that_no_sample_touches_are_counted():
    model = KAN([1, 2], bias=False).double()  # 5 cells of degree 3 on [-1, 1]: 8 functions
    x = torch.linspace(-1, -0.7, 50, dtype=torch.float64)[:, None]  # all in the first cell
    gauge = Gauge(Functional(model, F.mse_loss, (x, x.expand(-1, 2))))
    assert gauge.untouched == [2 * 4]
    assert gauge.constants == [0]
    assert gauge.count == 8


def test_the_projector_takes_the_directions_away():
    f, _ = made("bias")
    gauge = Gauge(f)
    V, v = gauge.vectors(), torch.randn(f.size, dtype=torch.float64)
    assert torch.allclose(gauge.project(v), v - V @ (V.T @ v), atol=1e-13)
    assert gauge.project(v.float()).dtype == torch.float32


def test_a_frozen_layer_has_no_gauge():
    f, _ = made("two layers")
    part = Functional(f.model, F.mse_loss, [c[:2] for c in f.stream], ["layers.1"])
    assert Gauge(part).constants == [0, 4]
    half = Functional(f.model, F.mse_loss, [c[:2] for c in f.stream], ["layers.1.coefficients"])
    gauge = Gauge(half)
    assert gauge.constants == [0, 4]
    assert (half.hessian().dense() @ gauge.vectors()).abs().max() < 1e-10


def test_other_models_are_refused():
    f = Functional(torch.nn.Linear(2, 1), F.mse_loss, (torch.ones(3, 2), torch.ones(3, 1)))
    with pytest.raises(InputError, match=r"^there is no closed form: Linear is no stack"):
        Gauge(f)
