import copy
import pickle

import pytest
import torch
from symbolic_networks import random_network

import edgewise as ew
from edgewise.core import InputError
from edgewise.layers import KANLinear
from edgewise.symbolic.jacobian import Coordinates, sensitivities
from edgewise.symbolic.layer import SymbolicLayer
from edgewise.symbolic.network import SymbolicKAN, as_symbolic
from edgewise.symbolic.polish import polish


def half_symbolic():
    splines = KANLinear(3, 4).double()
    table = [["x", "sin", "spline"], ["0", "x^2", "x"], ["exp", "spline", "0"], ["0", "0", "log"]]
    first = SymbolicLayer(3, table, [1, 3], splines).double()
    second = SymbolicLayer(2, [["sin", "x"], ["tanh", "exp"]]).double()
    source = torch.Generator().manual_seed(0)
    for layer in (first, second):
        for p in (layer.a, layer.b, layer.c, layer.bias):
            p.data += 0.3 * torch.randn(p.shape, generator=source, dtype=torch.float64)
    return SymbolicKAN([first, second])


def inputs(rows=7, columns=3):
    source = torch.Generator().manual_seed(1)
    return torch.rand(rows, columns, generator=source, dtype=torch.float64) + 0.6


@pytest.mark.parametrize("make", [half_symbolic, lambda: random_network(3)])
def test_every_state_can_be_saved_copied_and_pickled(make, tmp_path):
    model, x = make(), inputs()
    again = [
        ew.load(ew.save(model, tmp_path / "m.safetensors")),
        copy.deepcopy(model),
        pickle.loads(pickle.dumps(model)),
    ]
    for other in again:
        assert torch.equal(other(x), model(x))


@pytest.mark.parametrize("make", [half_symbolic, lambda: random_network(5)])
def test_the_jacobian_is_that_of_differences(make):
    model, x = make(), inputs()
    place = Coordinates(model)
    theta = place.read()
    y, J = place.jacobian(x)
    torch.testing.assert_close(y, model(x).detach())
    for k in range(len(theta)):
        step = torch.zeros_like(theta)
        step[k] = 1e-6
        place.write(theta + step)
        above = place.evaluate(x)
        place.write(theta - step)
        below = place.evaluate(x)
        torch.testing.assert_close(J[..., k], (above - below) / 2e-6, rtol=1e-5, atol=1e-6)
    place.write(theta)
    torch.testing.assert_close(model(x).detach(), y)


def test_sensitivities_are_autograd_s():
    model, x = half_symbolic(), inputs().requires_grad_()
    found = sensitivities(model, x.detach())[0].to_inputs
    for q in range(2):
        (g,) = torch.autograd.grad(model(x)[:, q].sum(), x, retain_graph=True)
        torch.testing.assert_close(found[:, q], g)


def test_curves_add_up_to_the_sums():
    model, x = half_symbolic(), inputs(63)
    layer = model.layers[0]
    torch.testing.assert_close(layer.curves(x).sum(-1), layer.sums(x))
    h = 1e-6
    numeric = (layer.curves(x + h) - layer.curves(x - h)) / (2 * h)
    torch.testing.assert_close(layer.curves(x, 1), numeric, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("basis", ["bspline", "fourier", "gaussian", "chebyshev"])
def test_a_kan_is_read_as_it_is(basis):
    model, x = ew.models.KAN([3, 4, 2], basis=basis).double(), inputs(50)
    before = model(x)
    symbolic = as_symbolic(model)
    torch.testing.assert_close(symbolic(x), before)
    with torch.no_grad():
        for p in symbolic.parameters():
            p.zero_()
    assert torch.equal(model(x), before)


def test_gradients_reach_every_constant():
    model = half_symbolic()
    model(inputs()).square().sum().backward()
    assert all(p.grad is not None and torch.isfinite(p.grad).all() for p in model.parameters())


def test_polish_reaches_machine_precision_and_never_gets_worse():
    truth, x = ew.symbolic.from_expression("exp(sin(2*a) + b**2)", ["a", "b"]), inputs(100, 2)
    y = truth(x).detach()
    model = copy.deepcopy(truth)
    with torch.no_grad():
        for layer in model.layers:
            layer.c.mul_(1.05)
            layer.bias.add_(0.02)
    before = float((model(x).detach() - y).square().mean())
    one = polish(model, x, y, steps=1).error
    assert one < before
    assert polish(model, x, y).error < 1e-26


def test_polish_takes_no_step_into_nan():
    model = ew.symbolic.from_expression("log(a + 0.001)", ["a"])
    x = torch.linspace(0, 1, 50, dtype=torch.float64)[:, None]
    polish(model, x, -100 * torch.ones_like(x), steps=10)
    assert torch.isfinite(model(x)).all()


def test_a_constant_that_is_fixed_stays():
    model = ew.symbolic.from_expression("3*a + 1", ["a"])
    x = torch.linspace(0, 1, 9, dtype=torch.float64)[:, None]
    free = torch.tensor([True, False])
    polish(model, x, 5 * x + 7, free=free, steps=20)
    assert model.layers[0].bias.tolist() == [1.0]


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (
            lambda: SymbolicLayer(2, [["x"]]),
            "functions must be a table with 2 names in each row, one for each input, "
            "got rows of [1]",
        ),
        (
            lambda: SymbolicLayer(1, [["x"], ["x"]], [3]),
            "arities must be whole numbers of at least 1 that add up to the 2 sums, got [3]",
        ),
        (
            lambda: SymbolicLayer(1, [["spline"]]),
            "edges called 'spline' need the layer that holds them",
        ),
        (
            lambda: SymbolicLayer(1, [["x"]], splines=KANLinear(1, 1)),
            "there are splines, but no edge is called 'spline'",
        ),
        (
            lambda: SymbolicLayer(1, [["spline"]], splines=KANLinear(2, 1)),
            "splines must have 1 inputs and 1 outputs, got 2 and 1",
        ),
        (
            lambda: SymbolicKAN([SymbolicLayer(1, [["x"]]), SymbolicLayer(2, [["x", "x"]])]),
            "a layer with 1 outputs can't be followed by one with 2 inputs",
        ),
        (
            lambda: as_symbolic(torch.nn.Linear(1, 1)),
            "formulas are read from KAN, KANLinear, SymbolicKAN or a Sequential of these layers, "
            "got Linear",
        ),
    ],
)
def test_errors(make, message):
    with pytest.raises(InputError) as error:
        make()
    assert str(error.value) == message
