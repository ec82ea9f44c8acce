import pytest
import torch
from optim_problems import hello, kan, vector

from edgewise.core import InputError, generator
from edgewise.optim import LeastSquares, LevenbergMarquardt, SSBroyden
from edgewise.optim.ss_broyden import updated_inverse


def spd(n, seed):
    A = torch.randn(n, n, generator=generator(seed, "spd"), dtype=torch.float64)
    return A @ A.T + 0.1 * torch.eye(n, dtype=torch.float64)


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("n", [1, 2, 9])
def test_an_update_keeps_the_secant_equation_and_positive_definiteness(n, seed):
    draw = generator(seed, "g")
    B, H = spd(n, seed), spd(n, seed + 10)
    g = torch.randn(n, generator=draw, dtype=torch.float64)
    s = -0.7 * H @ g
    y = B @ s
    new = updated_inverse(H, s, y, g, 0.7)
    torch.testing.assert_close(new @ y, s, rtol=1e-8, atol=1e-10)
    torch.testing.assert_close(new, new.T, rtol=1e-9, atol=1e-12)
    assert torch.linalg.eigvalsh(new)[0] > 0


def test_where_the_curvature_is_spoilt_nothing_is_learned():
    H, s = spd(3, 0), torch.ones(3, dtype=torch.float64)
    assert updated_inverse(H, s, -s, s, 1.0) is H
    assert updated_inverse(H, s, s * float("nan"), s, 1.0) is H


def test_a_quadratic_is_solved_and_its_inverse_found():
    A = spd(6, 3)
    w = torch.ones(6, dtype=torch.float64, requires_grad=True)
    optimiser = SSBroyden([w], iterations=40)
    for _ in range(3):
        loss = optimiser.step(lambda: 0.5 * w @ A @ w)
    assert loss < 1e-20
    from_truth = vector(*[1.0] * 6)
    at_once = SSBroyden([from_truth], iterations=1, inverse=torch.linalg.inv(A))
    assert at_once.step(lambda: 0.5 * from_truth @ A @ from_truth) < 1e-24


def test_a_closure_may_call_backward():
    w = vector(3.0)

    def closure():
        w.grad = None
        loss = (w - 1).square().sum()
        loss.backward()
        return loss

    assert SSBroyden([w]).step(closure) < 1e-20


def test_parameters_changed_by_others_make_it_start_anew():
    w = vector(-1.2, 1.0)

    def closure():
        return (1 - w[0]) ** 2 + 100 * (w[1] - w[0] ** 2) ** 2

    optimiser = SSBroyden([w], iterations=5)
    optimiser.step(closure)
    with torch.no_grad():
        w.add_(1.0)
    moved, fresh = w.detach().clone(), SSBroyden([w], iterations=5)
    expected = fresh.step(closure)
    with torch.no_grad():
        w.copy_(moved)
    assert optimiser.step(closure) == expected


def test_from_the_inverse_of_levenberg_marquardt_it_starts_fast():
    x, y = hello(300)
    after = {}
    for handed in (True, False):
        model = kan(2, 3, 1)
        problem = LeastSquares(model, x, y)
        first = LevenbergMarquardt(model.parameters())
        for _ in range(15):
            first.step(problem)
        inverse = first.inverse_hessian(problem) if handed else None
        after[handed] = SSBroyden(model.parameters(), inverse=inverse).step(problem)
    assert after[True] < 0.9 * after[False]


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (
            lambda w: SSBroyden([w], inverse=torch.eye(3)),
            "the inverse must be 2 × 2 for 2 parameters, got (3, 3)",
        ),
        (
            lambda w: SSBroyden([w], inverse=-torch.eye(2)),
            "the inverse must be positive definite; add a little to its diagonal",
        ),
        (
            lambda w: SSBroyden([w], iterations=0),
            "iterations must be a whole number of at least 1, got 0",
        ),
        (
            lambda w: SSBroyden([w]).step(lambda: w),
            "SSBroyden's closure must give one number as a tensor, got (2,)",
        ),
        (
            lambda w: SSBroyden([w]).step(lambda: 3.0),
            "SSBroyden's closure must give one number as a tensor, got float",
        ),
        (
            lambda w: SSBroyden([torch.zeros(40_000, requires_grad=True)]).step(lambda: w.sum()),
            "SSBroyden holds an inverse Hessian of 40000 × 40000 numbers, 6 GiB; use "
            "torch.optim.LBFGS for such a model",
        ),
    ],
)
def test_bad_input_is_refused_word_by_word(call, message):
    with pytest.raises(InputError) as caught:
        call(vector(1.0, 2.0))
    assert str(caught.value) == message
