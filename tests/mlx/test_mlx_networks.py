# ruff: noqa: E402 (what needs MLX is imported where it is known to be there)
"""Every twin of a layer or network against the original: outputs, gradients, running statistics."""

import pytest
import torch
from torch import nn

mx = pytest.importorskip("mlx.core", reason="MLX is not installed: pip install 'edgewise[mlx]'")

import mlx.nn
from mlx.utils import tree_flatten

from edgewise import bases, models
from edgewise.core import InputError
from edgewise.layers.bottleneck import KANBottleneck
from edgewise.layers.conv import KANConv1d, KANConv2d, KANConv3d
from edgewise.layers.linear import KANLinear
from edgewise.mlx.layout import entries
from edgewise.mlx.networks import twin
from edgewise.mlx.transfer import give, take, to_array, to_tensor
from edgewise.models import vision

CASES = {
    "dense": (lambda: KANLinear(10, 7, bias=True), (63, 10)),
    "dense on more axes": (lambda: KANLinear(3, 4, "fourier", base="tanh"), (2, 5, 3)),
    "dense without a base": (lambda: KANLinear(1, 1, "wavelet", base=None), (1, 1)),
    "dense, normalised": (
        lambda: KANLinear(3, 4, bases.BSpline().adapted(torch.randn(50, 3)), normalize="batch"),
        (2, 5, 3),
    ),
    "conv": (lambda: KANConv2d(3, 5, 3, padding=1), (2, 3, 9, 7)),
    "conv in groups": (
        lambda: KANConv2d(4, 6, 3, stride=2, groups=2, bias=True, normalize="batch"),
        (3, 4, 9, 7),
    ),
    "conv same": (
        lambda: KANConv2d(4, 6, (2, 3), padding="same", dilation=(1, 2), basis="gaussian"),
        (3, 4, 9, 7),
    ),
    "conv without a base": (lambda: KANConv1d(3, 5, 3, basis="chebyshev", base=None), (2, 3, 11)),
    "conv over three axes": (lambda: KANConv3d(2, 3, 2, padding=1), (2, 2, 4, 5, 3)),
    "bottleneck": (
        lambda: KANBottleneck(4, 6, 3, padding=1, bias=True, normalize="batch"),
        (3, 4, 6, 5),
    ),
    "bottleneck without a base": (lambda: KANBottleneck(4, 6, 3, base=None), (3, 4, 6, 5)),
    "torch's own": (
        lambda: nn.Sequential(
            nn.Conv2d(2, 4, 3, padding="same", groups=2),
            nn.BatchNorm2d(4),
            nn.MaxPool2d(2),
            nn.SiLU(),
            nn.Conv2d(4, 4, 3, stride=2, padding=(1, 2), dilation=2, bias=False),
            nn.Flatten(),
            nn.LayerNorm(8),
            nn.GELU(),
            nn.Dropout(0.0),
            nn.Linear(8, 6),
            nn.ReLU(),
            nn.BatchNorm1d(6),
            nn.GELU("tanh"),
            nn.Linear(6, 3, bias=False),
            nn.Tanh(),
            nn.Identity(),
        ),
        (5, 2, 7, 9),
    ),
    "KAN": (lambda: models.KAN([9, 6, 4]), (20, 9)),
    "KAN of several bases": (
        lambda: models.KAN([9, 6, 4], ["chebyshev", bases.Rational(groups=3)], bias=False),
        (20, 9),
    ),
    "KAN, normalised": (lambda: models.KAN([9, 6, 4], "gaussian", normalize="batch"), (20, 9)),
    "MLP": (lambda: models.MLP([9, 6, 6, 4], "gelu", normalize="batch"), (20, 9)),
    "MLP, LayerNorm": (lambda: models.MLP([9, 6, 4], normalize="layer"), (20, 9)),
    "ConvKAN expanded": (
        lambda: vision.ConvKAN((1, 8, 8), 3, channels=(4, 6), form="expanded"),
        (6, 1, 8, 8),
    ),
    "ConvKAN bottleneck": (
        lambda: vision.ConvKAN((2, 9, 8), 3, channels=(4, 8, 8), form="bottleneck"),
        (6, 2, 9, 8),
    ),
    "CNN": (lambda: vision.CNN((1, 8, 8), 3, channels=(4, 6)), (6, 1, 8, 8)),
}


@pytest.fixture(params=CASES.values(), ids=CASES.keys())
def case(request):
    make, shape = request.param
    model = make()
    network = twin(model)
    _move_statistics(model)
    give(model, network)
    return model, network, torch.randn(shape) * 1.5


def _move_statistics(model):
    """So that running means of zero can't hide a mistake."""
    for name, buffer in model.named_buffers():
        if name.endswith("running_mean"):
            buffer.normal_()
        elif name.endswith("running_var"):
            buffer.uniform_(0.5, 2.0)


def test_outputs_agree_in_evaluation_mode(case):
    model, network, x = case
    found = to_tensor(network.eval()(to_array(x)))
    torch.testing.assert_close(found, model.eval()(x), rtol=1e-4, atol=1e-4)


def test_gradients_and_running_statistics_agree_in_training_mode(case):
    model, network, x = case
    expected = model.train()(x)
    weights = torch.randn(expected.shape)
    (expected * weights).sum().backward()

    def total(x):
        return (network(x) * to_array(weights)).sum()

    network.train()
    value, gradient = mlx.nn.value_and_grad(network, total)(to_array(x))
    mx.eval(value, gradient, network.parameters())
    gradient = tree_flatten(gradient, destination={})
    state = tree_flatten(network.parameters(), destination={})
    for entry in entries(model):
        if isinstance(entry.tensor, nn.Parameter):
            found, wanted = to_tensor(gradient.pop(entry.array)), entry.tensor.grad
        else:
            found, wanted = to_tensor(state[entry.array]), entry.tensor.float()
        size = float(wanted.abs().max())
        torch.testing.assert_close(
            entry.restored(found), wanted, rtol=1e-3, atol=1e-4 * max(size, 1.0)
        )
    assert not gradient


def test_weights_come_back_as_they_went(case):
    model, network, _ = case
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    for entry in entries(model):
        if entry.changes:
            entry.tensor.detach().zero_()
    take(model, network)
    for name, tensor in model.state_dict().items():
        if not name.endswith("num_batches_tracked"):
            torch.testing.assert_close(tensor, before[name], rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (
            lambda: nn.BatchNorm1d(2, momentum=None),
            "MLX has no BatchNorm with momentum=None: give it a number",
        ),
        (
            lambda: nn.LayerNorm((2, 3)),
            "MLX normalises over the last axis only, this LayerNorm over (2, 3)",
        ),
        (
            lambda: nn.Conv2d(1, 1, 3, padding=1, padding_mode="reflect"),
            "MLX's convolutions pad with zeros, not with padding_mode='reflect'",
        ),
        (
            lambda: nn.MaxPool2d(2, ceil_mode=True),
            "MLX's MaxPool2d knows neither dilation nor ceil_mode",
        ),
        (
            lambda: KANConv3d(2, 2, 3, groups=2),
            "MLX convolves in groups over one or two axes only: KANConv3d with groups=2 has no "
            "twin",
        ),
    ],
)
def test_what_mlx_cannot_do_is_refused(make, message):
    with pytest.raises(InputError) as caught:
        twin(make())
    assert str(caught.value) == message


def test_a_module_without_a_twin_is_named():
    with pytest.raises(InputError, match=r"^MLX has no twin of Bilinear: use one of BSpline"):
        twin(nn.Sequential(nn.Linear(2, 2), nn.Bilinear(2, 2, 2)))


def test_dropout_only_acts_in_training():
    network = twin(nn.Dropout(0.5))
    x = mx.ones((100,))
    assert set(network.eval()(x).tolist()) == {1.0}
    assert set(network.train()(x).tolist()) == {0.0, 2.0}
