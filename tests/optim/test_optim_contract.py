"""What every optimiser of the room keeps to."""

import copy

import pytest
import torch
from optim_problems import OPTIMISERS, RESIDUALS, kan, mlp, rosenbrock, samples, vector

from edgewise.core import InputError, RunError, generator
from edgewise.optim import LeastSquares

MINI_BATCHES = ("lm", "sfn", "hsodm")


def plain(name, model, x, y):
    """A closure that knows nothing more than the model."""

    def residuals():
        return (model(x) - y) / len(y) ** 0.5

    return residuals if name in RESIDUALS else lambda: residuals().square().sum()


@pytest.mark.parametrize("name", OPTIMISERS)
def test_rosenbrock_to_machine_precision(name):
    w = vector(-1.2, 1.0)
    optimiser = OPTIMISERS[name]([w])
    for _ in range(60):
        loss = optimiser.step(rosenbrock(w, name))
    assert loss < 1e-24
    assert (w - 1).abs().max() < 1e-12


@pytest.mark.parametrize("name", OPTIMISERS)
def test_rosenbrock_in_ten_dimensions(name):
    w = torch.full((10,), -0.5, dtype=torch.float64, requires_grad=True)
    optimiser = OPTIMISERS[name]([w])
    for _ in range(120):
        loss = optimiser.step(rosenbrock(w, name))
    # It has a second minimum, at which the first entry is -0.99 and the loss 3.99.
    assert loss < 1e-12


@pytest.mark.parametrize("make", [kan, mlp])
@pytest.mark.parametrize("name", OPTIMISERS)
def test_a_step_returns_the_loss_that_is_there_and_never_a_greater_one(name, make):
    model = make(2, 3, 1)
    x, y = samples(40, 2, 1)
    problem = LeastSquares(model, x, y)
    optimiser = OPTIMISERS[name](model.parameters())
    before = float(problem.value().detach())
    for _ in range(5):
        loss = float(optimiser.step(problem))
        assert loss == pytest.approx(float(problem.value().detach()), rel=1e-12)
        assert loss < before
        before = loss


@pytest.mark.parametrize("name", OPTIMISERS)
def test_a_plain_closure_and_one_that_knows_more_take_the_same_way(name):
    x, y = samples(60, 2, 1)
    losses = []
    for smart in (True, False):
        model = kan(2, 2, 1)
        closure = LeastSquares(model, x, y) if smart else plain(name, model, x, y)
        options = {} if name not in ("sfn", "hsodm") else {"rank": 200, "generator": generator(0)}
        optimiser = OPTIMISERS[name](model.parameters(), **options)
        losses.append([float(optimiser.step(closure)) for _ in range(3)])
    assert losses[0] == pytest.approx(losses[1], rel=1e-5)


@pytest.mark.parametrize("name", OPTIMISERS)
def test_state_dict_round_trip(name):
    x, y = samples(60, 2, 1)

    def start():
        model = kan(2, 2, 1)
        return model, LeastSquares(model, x, y), OPTIMISERS[name](model.parameters())

    model, problem, optimiser = start()
    for _ in range(13 if name == "row" else 2):
        optimiser.step(problem)
    weights, state = copy.deepcopy(model.state_dict()), copy.deepcopy(optimiser.state_dict())
    expected = [float(optimiser.step(problem)) for _ in range(2)]
    model, problem, optimiser = start()
    model.load_state_dict(weights)
    optimiser.load_state_dict(state)
    assert [float(optimiser.step(problem)) for _ in range(2)] == expected
    # What it remembers makes a difference.
    model, problem, optimiser = start()
    model.load_state_dict(weights)
    assert [float(optimiser.step(problem)) for _ in range(2)] != expected


@pytest.mark.parametrize("name", OPTIMISERS)
def test_frozen_parameters_stay_and_may_be_freed_on_the_way(name):
    model = kan(2, 2, 1)
    problem = LeastSquares(model, *samples(60, 2, 1))
    model.layers[0].requires_grad_(False)
    frozen = model.layers[0].coefficients.clone()
    optimiser = OPTIMISERS[name](model.parameters())
    first = [float(optimiser.step(problem)) for _ in range(3)]
    assert torch.equal(model.layers[0].coefficients, frozen)
    model.layers[0].requires_grad_(True)
    last = [float(optimiser.step(problem)) for _ in range(3)]
    assert last[-1] < first[-1]
    assert not torch.equal(model.layers[0].coefficients, frozen)


@pytest.mark.parametrize("name", OPTIMISERS)
def test_a_group_with_a_small_scale_moves_little(name):
    moved = {}
    for scale in (1.0, 1e-4):
        model = kan(2, 2, 1)
        problem = LeastSquares(model, *samples(60, 2, 1))
        first, second = model.layers
        before = first.coefficients.detach().clone()
        groups = [
            {"params": first.parameters(), "scale": scale},
            {"params": second.parameters()},
        ]
        optimiser = OPTIMISERS[name](groups)
        start = float(problem.value().detach())
        for _ in range(2):
            loss = float(optimiser.step(problem))
        assert loss < start
        moved[scale] = float((first.coefficients.detach() - before).norm())
    assert moved[1e-4] < 0.05 * moved[1.0]


@pytest.mark.parametrize("name", OPTIMISERS)
def test_scales_are_another_unit_and_no_other_problem(name):
    """Parameters in millimetres with the scale of a metre: the same way."""
    ways = []
    for unit in (1.0, 1e-3):
        w = (torch.tensor([-1.2, 1.0], dtype=torch.float64) / unit).requires_grad_()

        def scaled(w=w, unit=unit):
            v = w * unit
            r = torch.cat([1 - v[:-1], 10 * (v[1:] - v[:-1] ** 2)])
            return r if name in RESIDUALS else r.square().sum()

        optimiser = OPTIMISERS[name]([w], scale=1 / unit)
        ways.append([float(optimiser.step(scaled)) for _ in range(4)])
    assert ways[0] == pytest.approx(ways[1], rel=1e-6)


@pytest.mark.parametrize("name", MINI_BATCHES)
def test_every_step_may_have_its_own_batch(name):
    model = kan(1, 1, 1)
    draw = generator(0, "batches")
    optimiser = OPTIMISERS[name](model.parameters())
    for _ in range(30):
        x = torch.rand(100, 1, generator=draw, dtype=torch.float64) * 2 - 1
        optimiser.step(LeastSquares(model, x, torch.sin(2 * x)))
    x = torch.linspace(-1, 1, 99, dtype=torch.float64).unsqueeze(1)
    assert LeastSquares(model, x, torch.sin(2 * x)).value() < 1e-5


@pytest.mark.parametrize("name", ["broyden", "row"])
def test_another_batch_is_refused_where_steps_learn_from_each_other(name):
    model = kan(1, 1, 1)
    options = {"patience": 1, "progress": 0.01} if name == "row" else {}
    optimiser = OPTIMISERS[name](model.parameters(), **options)
    x, y = samples(40, 1, 1)
    for _ in range(3):
        last = float(optimiser.step(LeastSquares(model, x, y)))
    other = LeastSquares(model, *samples(40, 1, 1, seed=1))
    now = float(other.value().detach())
    with pytest.raises(InputError) as caught:
        optimiser.step(other)
    assert str(caught.value) == (
        f"SSBroyden learns from differences between gradients of one loss, but at the same "
        f"parameters the loss was {last:.6g} and is now {now:.6g}; give it all data in every "
        f"step, or use LevenbergMarquardt, SFN or HSODM with mini-batches"
    )


@pytest.mark.parametrize("name", OPTIMISERS)
def test_single_precision_works_as_far_as_it_goes(name):
    model = kan(1, 1, 1).float()
    x = torch.linspace(-1, 1, 60).unsqueeze(1)
    problem = LeastSquares(model, x, torch.sin(2 * x))
    optimiser = OPTIMISERS[name](model.parameters())
    for _ in range(4 if name == "broyden" else 20):
        loss = optimiser.step(problem)
    assert loss.dtype == torch.float32
    assert loss < 1e-5


@pytest.mark.parametrize("name", OPTIMISERS)
def test_a_grid_is_refined_on_the_way(name):
    model = kan(1, 1, 1)
    x = torch.linspace(-1, 1, 80, dtype=torch.float64).unsqueeze(1)
    problem = LeastSquares(model, x, torch.exp(torch.sin(3 * x)))
    optimiser = OPTIMISERS[name](model.parameters())
    for _ in range(5):
        coarse = float(optimiser.step(problem))
    # A history can't be carried over; without it the optimiser sees the change by itself.
    model.refine(6, optimiser if name in MINI_BATCHES else None)
    assert float(problem.value().detach()) == pytest.approx(coarse, rel=1e-6)
    for _ in range(5):
        fine = float(optimiser.step(problem))
    assert fine < coarse


@pytest.mark.parametrize("name", OPTIMISERS)
def test_where_the_closure_fails_the_parameters_are_as_before(name):
    model = kan(1, 1)
    problem = LeastSquares(model, *samples(40, 1, 1))
    optimiser = OPTIMISERS[name](model.parameters())
    before = [p.detach().clone() for p in model.parameters()]
    calls = []

    def failing():
        calls.append(None)
        if len(calls) > 2:
            raise KeyError("the disk is full")
        return problem() if name in RESIDUALS else problem().square().sum()

    def until_it_fails():
        nonlocal before
        for _ in range(3):
            optimiser.step(failing)
            before = [p.detach().clone() for p in model.parameters()]

    with pytest.raises(KeyError):
        until_it_fails()
    assert all(map(torch.equal, model.parameters(), before))


@pytest.mark.parametrize("name", OPTIMISERS)
def test_at_the_minimum_it_stays(name):
    w = vector(1.0, 1.0)
    optimiser = OPTIMISERS[name]([w])
    assert optimiser.step(rosenbrock(w, name)) == 0
    assert torch.equal(w.detach(), torch.ones(2, dtype=torch.float64))


def closure_of(name, value):
    return lambda: value() if name in RESIDUALS else value().square().sum()


@pytest.mark.parametrize("name", OPTIMISERS)
def test_bad_parameters_are_refused_word_by_word(name):
    make, title = OPTIMISERS[name], OPTIMISERS[name].__name__
    half, double = torch.zeros(2).half(), torch.zeros(2).double()
    single, negative = torch.zeros(2), [{"params": [double], "scale": -1.0}]
    for params, message in (
        (
            [half],
            f"{title} needs float64, or float32 at least, got a parameter of torch.float16; "
            f"use model.double()",
        ),
        (
            [single, double],
            f"{title} joins all parameters into one vector, but they are of several kinds "
            f"(torch.float32 on cpu, torch.float64 on cpu); use model.to(dtype=..., device=...) "
            f"first",
        ),
        (negative, "scale must be a positive number, got -1.0"),
    ):
        with pytest.raises(InputError) as caught:
            make(params)
        assert str(caught.value) == message
    with pytest.raises(InputError) as caught:
        make([double]).step(lambda: double)
    assert str(caught.value) == f"{title} has nothing to train: no parameter requires a gradient"


@pytest.mark.parametrize("name", OPTIMISERS)
def test_closures_without_a_graph_or_a_finite_value_are_refused(name):
    w = vector(1.0, 2.0)
    with pytest.raises(InputError, match=r"(they have|it has) no graph"):
        OPTIMISERS[name]([w]).step(closure_of(name, lambda: w.detach() * 1.0))
    with pytest.raises((RunError, InputError), match="not finite"):
        OPTIMISERS[name]([w]).step(closure_of(name, lambda: w * float("nan")))


@pytest.mark.parametrize("name", ["lm", "sfn", "hsodm"])
def test_a_closure_that_changes_within_a_step_is_found_out(name):
    w, calls = vector(1.0, 2.0), []

    def restless():
        calls.append(None)
        r = w + 10.0 ** len(calls)
        return r if name in RESIDUALS else r.square().sum()

    with pytest.raises(RunError, match=r"closure gave .* and then .* for the same parameters"):
        OPTIMISERS[name]([w]).step(restless)
