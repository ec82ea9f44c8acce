import pytest
import torch
from optim_problems import dense_hessian, samples
from test_stack import MODELS, inputs_of

from edgewise.layers import KANLinear
from edgewise.optim import Objective

LOSSES = {
    "mse": torch.nn.functional.mse_loss,
    "huber": torch.nn.functional.huber_loss,
    "wavy": lambda y, t: (3 * (y - t)).sin().sum(),
    "coupled": lambda y, t: (torch.logsumexp(y, 1) * t[:, 0] + (y - t).pow(4).sum(1)).sum(),
}
CASES = [(name, "coupled") for name in MODELS] + [
    ("2-layer", "mse"),
    ("one", "huber"),
    # Bent both ways.
    ("2-layer", "wavy"),
    ("deep", "wavy"),
    ("3-layer", "wavy"),
]


@pytest.mark.parametrize(("name", "loss"), CASES)
def test_the_hessian_is_that_of_double_differentiation(name, loss):
    model = MODELS[name]()
    x = inputs_of(model)
    y = samples(len(x), 1, model(x).shape[1])[1]
    params = list(model.parameters())
    fast = Objective(model, LOSSES[loss], x, y).hessian(params)
    slow = dense_hessian(lambda: LOSSES[loss](model(x), y), params)
    size = float(slow.abs().max())
    torch.testing.assert_close(fast, slow, rtol=0, atol=1e-10 * max(size, 1))


def test_classes_and_a_linear_loss():
    model = MODELS["no bias"]()
    model.layers.append(KANLinear(1, 2).double())
    x, params = inputs_of(model)[:9], list(model.parameters())
    classes = torch.arange(len(x)) % 2
    for loss, y in (
        (torch.nn.functional.cross_entropy, classes),
        (lambda y, t: y.mean(), x),
    ):
        fast = Objective(model, loss, x, y).hessian(params)
        slow = dense_hessian(lambda loss=loss, y=y: loss(model(x), y), params)
        torch.testing.assert_close(fast, slow, rtol=0, atol=1e-11)


def test_frozen_and_reordered_parameters():
    model = MODELS["2-layer"]()
    x = inputs_of(model)
    y = samples(len(x), 1, 1)[1]
    params = [model.layers[1].bias, model.layers[0].coefficients]
    fast = Objective(model, torch.nn.functional.mse_loss, x, y).hessian(params)
    slow = dense_hessian(lambda: (model(x) - y).square().mean(), params)
    torch.testing.assert_close(fast, slow, rtol=1e-10, atol=1e-10)
