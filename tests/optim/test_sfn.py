import pytest
import torch
from optim_problems import dense_hessian, kan, mlp, samples, vector

from edgewise.core import InputError, generator
from edgewise.optim import HSODM, SFN, Objective

BOTH = [SFN, HSODM]
mse = torch.nn.functional.mse_loss


def saddle(w):
    """Minima of -1/4 at (0, ±1/√2); on the line w₁ = 0 the gradient sees no way down."""
    return w[0] ** 2 - w[1] ** 2 + w[1] ** 4


@pytest.mark.parametrize("make", BOTH)
@pytest.mark.parametrize("start", [(0.0, 0.0), (1.0, 0.0), (1.0, 1e-9)])
def test_a_strict_saddle_is_left_where_gradient_descent_stays(make, start):
    w = vector(*start)
    descent = torch.optim.SGD([w], lr=0.1)
    for _ in range(60):
        descent.zero_grad()
        saddle(w).backward()
        descent.step()
    assert w.detach().abs().max() < 1e-3
    with torch.no_grad():
        w.copy_(torch.tensor(start))
    optimiser = make([w], generator=generator(0))
    for _ in range(30):
        loss = optimiser.step(lambda: saddle(w))
    assert float(loss) == pytest.approx(-0.25, abs=1e-14)


@pytest.mark.parametrize("make", BOTH)
def test_two_equal_neurons_are_told_apart(make):
    """Gradient descent keeps them equal for ever; together they can't be what two can."""
    x = torch.linspace(-1, 1, 50, dtype=torch.float64).unsqueeze(1)
    y = torch.tanh(3 * x + 1) - torch.tanh(2 * x - 1)
    model = mlp(1, 2, 1)
    with torch.no_grad():
        for p in (model[0].weight, model[0].bias, model[2].weight.T):
            p[1] = p[0]
    optimiser = make(model.parameters(), generator=generator(0))
    for _ in range(150):
        loss = optimiser.step(lambda: mse(model(x), y))
    assert (model[0].weight[0] - model[0].weight[1]).detach().abs() > 0.5
    # Where it stays is a minimum, if not always the best.
    H = dense_hessian(lambda: mse(model(x), y), list(model.parameters()))
    assert torch.linalg.eigvalsh(H)[0] > -1e-8
    assert loss < 0.2


def test_the_step_is_the_gradient_divided_by_absolute_curvatures():
    w = vector(0.5, 0.25)
    loss = lambda: 2 * w[0] ** 2 - 3 * w[1] ** 2  # noqa: E731
    SFN([w], damping=1e-9).step(loss)
    # -g / |H| is -0.5 and +0.25.
    torch.testing.assert_close(w.detach(), vector(0.0, 0.5).detach(), rtol=0, atol=1e-7)


@pytest.mark.parametrize("make", BOTH)
def test_part_of_the_step(make):
    ends = []
    for lr in (1.0, 0.25):
        w = vector(1.0, 1.0)
        make([w], lr=lr).step(lambda w=w: (w * torch.tensor([1.0, 3.0])).square().sum())
        ends.append(w.detach() - 1)
    torch.testing.assert_close(ends[1], 0.25 * ends[0], rtol=1e-8, atol=0)


@pytest.mark.parametrize("make", BOTH)
def test_the_hessian_may_come_from_a_batch_of_its_own(make):
    model = kan(1, 1, 1)
    x, _ = samples(300, 1, 1)
    y = torch.sin(2 * x)
    optimiser = make(model.parameters())
    large = Objective(model, mse, x, y)
    for k in range(30):
        part = slice(60 * (k % 5), 60 * (k % 5) + 60)
        optimiser.step(Objective(model, mse, x[part], y[part]), curvature=large)
    assert large.value() < 1e-4
    # And it is that batch's: with one in which nothing bends, steps are along the gradient.
    w = vector(1.0, 1.0)
    first = make([w], damping=1.0)
    first.step(lambda: (w[0] + 2 * w[1]) ** 2, curvature=lambda: w.square().sum())
    moved = w.detach() - 1
    assert float(moved[1] / moved[0]) == pytest.approx(2)


@pytest.mark.parametrize("make", BOTH)
def test_cross_entropy_by_lanczos_and_in_closed_form(make):
    x, _ = samples(80, 2, 1)
    classes = (x[:, 0] * x[:, 1] > 0).long()
    for model in (kan(2, 2, 2), mlp(2, 4, 2)):
        objective = Objective(model, torch.nn.functional.cross_entropy, x, classes)
        before = float(objective.value().detach())
        optimiser = make(model.parameters(), rank=20, generator=generator(0))
        for _ in range(25):
            loss = optimiser.step(objective)
        assert loss < 0.5 * before


@pytest.mark.parametrize("make", BOTH)
def test_bad_input_is_refused_word_by_word(make):
    w, v, name = vector(1.0), vector(2.0), make.__name__

    def backward():
        loss = w.square().sum()
        loss.backward()
        return loss

    for call, message in (
        (lambda: make([w], lr=0.0), "lr must be a positive number, got 0.0"),
        (lambda: make([w], rank=0), "rank must be a whole number of at least 1, got 0"),
        (lambda: make([w], damping=None), "damping must be a positive number, got None"),
        (
            lambda: make([w]).step(backward),
            f"{name} differentiates the loss twice: the closure must return the loss without "
            f"calling backward()",
        ),
        (
            lambda: make([{"params": [w], "lr": 0.5}, {"params": [v]}]).step(
                lambda: (w * v).square().sum()
            ),
            f"{name} takes one step with all parameters, so lr must be the same in all groups, "
            f"got [0.5, 1.0]; use scale to move a group less",
        ),
    ):
        with pytest.raises(InputError) as caught:
            call()
        assert str(caught.value) == message
