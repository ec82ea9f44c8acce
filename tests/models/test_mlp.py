import pytest
import torch
from torch.nn import functional as F

import edgewise as ew
from edgewise.core import InputError
from edgewise.models import MLP


def test_it_is_linear_activation_linear():
    model = MLP([3, 5, 4, 2], "tanh").double()
    x = torch.randn(7, 3, dtype=torch.float64)
    one, two, three = model.layers
    assert torch.allclose(model(x), three(two(one(x).tanh()).tanh()), atol=1e-12)


@pytest.mark.parametrize(("normalize", "by"), [("layer", 1), ("batch", 0)])
def test_hidden_sums_are_normalised_before_the_activation(normalize, by):
    model = MLP([3, 6, 2], normalize=normalize).double().train()
    x = torch.randn(50, 3, dtype=torch.float64)
    h = model.layers[0](x)
    h = (h - h.mean(by, keepdim=True)) / (h.var(by, keepdim=True, correction=0) + 1e-5).sqrt()
    assert torch.allclose(model(x), model.layers[1](F.silu(h)), atol=1e-10)


def test_dropout_falls_on_hidden_units_in_training():
    model = MLP([3, 50, 2], dropout=0.9)
    x = torch.randn(5, 3)
    assert not torch.equal(model(x), model(x))
    model.eval()
    assert torch.equal(model(x), model(x))


@pytest.mark.parametrize("options", [{}, {"activation": "gelu", "normalize": "batch"}])
def test_it_is_saved_and_loaded(options, tmp_path):
    model = MLP([3, 4, 2], **options).eval()
    again = ew.load(ew.save(model, tmp_path / "m.safetensors")).eval()
    x = torch.randn(5, 3)
    assert torch.equal(model(x), again(x))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"widths": [3]}, "widths must be at least two numbers, such as [2, 5, 1], got [3]"),
        (
            {"widths": [3, 2], "activation": "sile"},
            "unknown activation 'sile': did you mean 'silu'? (known: silu, relu, gelu, tanh)",
        ),
        (
            {"widths": [3, 2], "normalize": "batc"},
            "unknown normalize 'batc': did you mean 'batch'? (known: layer, batch)",
        ),
        ({"widths": [3, 2, 2], "dropout": -0.1}, "dropout must lie in [0, 1), got -0.1"),
        ({"widths": [3, 2], "dropout": 2}, "dropout must lie in [0, 1), got 2"),
    ],
)
def test_what_makes_no_network(arguments, message):
    with pytest.raises(InputError) as caught:
        MLP(**arguments)
    assert str(caught.value) == message


def test_x_of_other_features():
    with pytest.raises(InputError) as caught:
        MLP([3, 2])(torch.zeros(4, 2))
    assert str(caught.value) == "MLP takes 3 features on the last axis, got x of shape (4, 2)"
