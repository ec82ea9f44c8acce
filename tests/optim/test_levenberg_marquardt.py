import math
from itertools import pairwise

import pytest
import torch
from optim_problems import hello, kan, samples, vector

from edgewise.bases import BSpline
from edgewise.core import InputError, seeded
from edgewise.layers import KANLinear
from edgewise.optim import LeastSquares, LevenbergMarquardt


def test_with_hardly_any_damping_it_solves_linear_least_squares_in_one_step():
    x, y = samples(100, 3, 2)
    with seeded(0):
        layer = KANLinear(3, 2, BSpline(4)).double()
    optimiser = LevenbergMarquardt(layer.parameters(), damping=1e-25)
    loss = optimiser.step(LeastSquares(layer, x, y))
    A = torch.cat([layer.basis(x).flatten(1), layer.activation(x)], dim=1)
    rest = y - A @ torch.linalg.lstsq(A, y, driver="gelsd").solution
    assert float(loss) == pytest.approx(float(rest.square().mean()), rel=1e-10)


def test_gauge_directions_do_not_drift():
    """A constant moved from one edge to another of the same sum changes nothing."""
    model = kan(2, 3, 1)
    x, y = hello(200)
    start = torch.cat([p.detach().reshape(-1).clone() for p in model.parameters()])
    problem = LeastSquares(model, x, y)
    _, J = problem.linearise(list(model.parameters()))
    null = torch.linalg.svd(J[:, : model.layers[0].coefficients.numel()]).Vh
    optimiser = LevenbergMarquardt(model.parameters())
    first = model.layers[0].coefficients
    # The null directions of the first layer are the same all along.
    K = first.shape[0]
    gauge = torch.zeros(3, K, 2, 3, dtype=torch.float64)
    for o in range(3):
        gauge[o, :, 0, o], gauge[o, :, 1, o] = 1.0, -1.0
    gauge = gauge.flatten(1) / math.sqrt(2 * K)
    before = gauge @ first.detach().reshape(-1)
    for _ in range(30):
        loss = optimiser.step(problem)
    drift = gauge @ first.detach().reshape(-1) - before
    moved = (torch.cat([p.detach().reshape(-1) for p in model.parameters()]) - start).norm()
    assert loss < 1e-3
    assert moved > 1
    assert drift.abs().max() < 1e-6 * moved
    assert null.shape[0] == first.numel()


def test_the_damping_follows_success_and_failure():
    w = vector(-1.2, 1.0)
    optimiser = LevenbergMarquardt([w], damping=1e3)

    def residuals():
        return torch.stack([1 - w[0], 10 * (w[1] - w[0] ** 2)])

    optimiser.step(residuals)
    assert optimiser.state[w]["damping"] == pytest.approx(1e3 / 3)
    # Newton's step from 50 is to -145, where there is no logarithm.
    v = vector(50.0)
    careful = LevenbergMarquardt([v], damping=1e-3)
    careful.step(v.log)
    assert careful.state[v]["damping"] > 1e-2
    assert 0 < float(v.detach()) < 50


def test_at_the_minimum_the_damping_is_kept_for_the_next_loss():
    w = vector(0.5)
    optimiser = LevenbergMarquardt([w])
    for _ in range(40):
        optimiser.step(lambda: torch.stack([w.exp(), w + 1]))
    there, damping = w.detach().clone(), optimiser.state[w]["damping"]
    optimiser.step(lambda: torch.stack([w.exp(), w + 1]))
    assert torch.equal(w.detach(), there)
    assert optimiser.state[w]["damping"] == damping < 1e-2


def test_the_bend_helps_in_a_curved_valley():
    """With it, Rosenbrock's valley takes fewer steps."""
    steps = {True: 0, False: 0}
    for geodesic in steps:
        w = vector(-1.2, 1.0)
        optimiser = LevenbergMarquardt([w], geodesic=geodesic)

        def residuals(w=w):
            return torch.stack([1 - w[0], 100 * (w[1] - w[0] ** 2)])

        while optimiser.step(residuals) > 1e-20:
            steps[geodesic] += 1
    assert steps[True] < 0.7 * steps[False]


def test_fewer_residuals_than_parameters():
    model = kan(3, 4, 1)
    x, y = samples(7, 3, 1)
    optimiser = LevenbergMarquardt(model.parameters())
    for _ in range(20):
        loss = optimiser.step(LeastSquares(model, x, y))
    assert loss < 1e-20


def test_grid_extension_follows_the_order_of_the_splines():
    """G doubles, the error falls by about 2⁴; test error follows training error."""
    x, y = hello(600)
    model = kan(2, 1, 1, basis=BSpline(5))
    fresh, truth = hello(2000, seed=1)
    errors, tests = [], []
    optimiser = LevenbergMarquardt(model.parameters())
    for grid in (5, 10, 20, 40):
        model.refine(grid, optimiser)
        problem = LeastSquares(model, x, y)
        for _ in range(40 if grid == 5 else 12):
            loss = optimiser.step(problem)
        errors.append(float(loss) ** 0.5)
        with torch.no_grad():
            tests.append(float((model(fresh) - truth).square().mean()) ** 0.5)
    assert errors[0] < 6e-3
    assert all(fine < coarse / 8 for coarse, fine in pairwise(errors[1:]))
    assert errors[-1] < 2e-6
    assert tests[-1] < 10 * errors[-1]


@pytest.mark.slow
def test_grid_extension_to_a_grid_of_160():
    """Issue 5: RMSE below 1e-8; L-BFGS stops at 2e-5."""
    x, y = hello(2000)
    model = kan(2, 1, 1, basis=BSpline(5))
    optimiser = LevenbergMarquardt(model.parameters())
    for grid in (5, 10, 20, 40, 80, 160):
        model.refine(grid, optimiser)
        problem = LeastSquares(model, x, y)
        for _ in range(60 if grid == 5 else 15):
            loss = optimiser.step(problem)
    fresh, truth = hello(5000, seed=1)
    with torch.no_grad():
        test = float((model(fresh) - truth).square().mean()) ** 0.5
    assert float(loss) ** 0.5 < 1e-8
    assert test < 1e-6


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (
            lambda w: LevenbergMarquardt([w], damping=0),
            "damping must be a positive number, got 0",
        ),
        (
            lambda w: LevenbergMarquardt([w], cutoff=2.0),
            "cutoff is a part of the largest singular value, got 2.0",
        ),
        (
            lambda w: LevenbergMarquardt([w], max_trials=0),
            "max_trials must be a whole number of at least 1, got 0",
        ),
        (
            lambda w: LevenbergMarquardt([w]).step(lambda: w.square().sum()),
            "the closure of LevenbergMarquardt must return the residuals, such as model(x) - y, "
            "not their sum of squares",
        ),
        (
            lambda w: LevenbergMarquardt([w]).step(lambda: None),
            "the closure of LevenbergMarquardt must return the residuals, such as model(x) - y, "
            "got NoneType",
        ),
        (
            lambda w: LevenbergMarquardt([w]).step(lambda: w.expand(400_000, 2)[:, :1] * w),
            "a Jacobian of 800000 residuals by 2 parameters takes 0 GiB",
        ),
    ],
)
def test_bad_input_is_refused_word_by_word(call, message, monkeypatch):
    monkeypatch.setattr("edgewise.optim.levenberg_marquardt.LARGEST", 1e6)
    with pytest.raises(InputError) as caught:
        call(vector(1.0, 2.0))
    assert str(caught.value).split(";")[0] == message
