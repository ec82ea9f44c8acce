"""What reaches a layer's functions, how much each varies and what it gives: beside plain loops."""

import pytest
import torch
from torch import nn

from edgewise.activations import layers as function_layers
from edgewise.activations.layers import function_layer
from edgewise.layers import (
    KAF,
    GroupRational,
    KANBottleneck,
    KANConv1d,
    KANConv2d,
    KANLinear,
    KernelActivation,
)


class Own(nn.Module):
    """A user's layer, whose edges are w x²."""

    def __init__(self):
        super().__init__()
        self.in_features, self.out_features = 3, 2
        self.w = nn.Parameter(torch.randn(2, 3))

    def curves(self, x):
        return self.w * x.square().unsqueeze(-2)

    def forward(self, x):
        return self.curves(x).sum(-1)


@pytest.mark.parametrize(
    "layer",
    [
        KANLinear(3, 2, bias=True),
        KANLinear(3, 2, normalize="batch").eval(),
        KernelActivation(3, 2, "sin", shift=True),
        Own(),
    ],
    ids=["kan", "normalised", "kernel", "own"],
)
def test_edges_are_those_of_curves(layer):
    layer = layer.double()
    x = torch.randn(2, 10, 3, dtype=torch.float64) * torch.tensor([0.3, 1.0, 2.0]) + 0.5
    view = function_layer(layer)
    rows = view.rows([x[:1], x[1:]])
    with torch.no_grad():
        values = layer.curves(x.reshape(-1, 3))
        assert torch.allclose(view.spreads([x[:1], x[1:]]), values.std(0, correction=0))
        at = torch.linspace(-1, 1, 7, dtype=torch.float64)
        kept = [(1, 2), (0, 0), (0, 2)]
        found = view.values(kept, at.expand(3, 7), rows)
        whole = layer.curves(at.unsqueeze(-1).expand(7, 3))
    for place, (out, into) in enumerate(kept):
        assert torch.allclose(found[place], whole[:, out, into])
        assert torch.equal(rows[:, view.columns((out, into))], x.reshape(-1, 3)[:, into, None])
    assert view.label((1, 2)) == "2 → 1"


@pytest.mark.parametrize(
    ("layer", "shape"),
    [
        (KANConv2d(4, 6, kernel_size=(2, 3), groups=2, padding=1), (5, 4, 6, 7)),
        (KANConv2d(4, 6, kernel_size=2, groups=2, normalize="batch").eval(), (5, 4, 6, 7)),
        (KANConv1d(2, 3, kernel_size=3, basis="fourier"), (4, 2, 9)),
    ],
    ids=["groups", "normalised", "line"],
)
def test_taps_are_those_of_curves(layer, shape):
    layer, x = layer.double(), torch.randn(*shape, dtype=torch.float64)
    view = function_layer(layer)
    rows = view.rows([x])
    index = (layer.out_channels - 1, 1, *[0] * layer.dims)
    group = layer.groups - 1
    channel = group * (layer.in_channels // layer.groups) + 1
    seen = x if layer.norm is None else layer.norm(x)
    numbers = rows[:, view.columns(index)].flatten()
    assert torch.equal(numbers.sort().values, seen[:, channel].flatten().sort().values)
    with torch.no_grad():
        spread = layer.curves(numbers)[(slice(None), *index)].std(correction=0)
        assert torch.allclose(view.spreads([x])[index], spread)
        at = torch.linspace(-2, 2, 9, dtype=torch.float64)
        assert torch.allclose(
            view.values([index], at[None], rows)[0], layer.curves(at)[(..., *index)]
        )


def test_a_neuron_is_what_the_layer_makes_of_its_column():
    layer, x = KAF(3, start="tanh"), torch.randn(20, 3)
    with torch.no_grad():
        layer.alpha.normal_()
        view = function_layer(layer)
        assert torch.allclose(view.spreads([x]), layer(x).double().std(0, correction=0))
        found = view.values([(2,)], x[:, 2][None], view.rows([x]))
        assert torch.allclose(found[0], layer(x)[:, 2])
    assert view.label((2,)) == "neuron 2"
    assert view.about() == "KAF, 3 neurons"


def test_a_group_shares_one_function_and_all_of_its_channels():
    layer, x = GroupRational(6, groups=3, start="silu"), torch.randn(20, 6)
    with torch.no_grad():
        layer.basis.b.normal_()
        view = function_layer(layer)
        rows = view.rows([x])
        assert torch.equal(rows[:, view.columns((1,))], x[:, 2:4])
        wanted = layer(x)[:, 2:4].double().std(correction=0)
        assert torch.allclose(view.spreads([x])[1], wanted)
        at = torch.linspace(-2, 2, 5)
        found = view.values([(1,)], at[None], rows)[0]
        assert torch.allclose(found, layer(at[:, None].expand(5, 6))[:, 3])
    assert view.label((1,)) == "group 1"
    assert view.about() == "GroupRational, 6 channels in 3 groups"


def test_what_has_no_functions_is_no_function_layer():
    assert function_layer(nn.Linear(2, 3)) is None
    assert function_layer(nn.Sequential(KANLinear(2, 3))) is None
    # Its functions are those of the convolution within.
    bottleneck = KANBottleneck(4, 4, 3)
    assert function_layer(bottleneck) is None
    assert function_layer(bottleneck.functions).about() == "KANConv2d, 2 → 2, 3 × 3"


def test_few_edges_at_once_give_the_same(monkeypatch):
    layer, x = KernelActivation(3, 2).double(), torch.randn(100, 3, dtype=torch.float64)
    conv, image = KANConv2d(2, 3, 2).double(), torch.randn(2, 2, 5, 5, dtype=torch.float64)
    at = torch.linspace(-1, 1, 11, dtype=torch.float64)

    def look():
        dense, wide = function_layer(layer), function_layer(conv)
        with torch.no_grad():
            return (
                dense.spreads([x]),
                dense.values([(1, 1)], at[None], x),
                wide.values([(2, 1, 0, 1)], at[None], wide.rows([image])),
            )

    whole = look()
    monkeypatch.setattr(function_layers, "AT_ONCE", 13)
    assert all(torch.allclose(a, b) for a, b in zip(whole, look(), strict=True))


def test_where_no_formula_says_it_fewer_samples_say_how_much_edges_vary(monkeypatch):
    layer, x = KernelActivation(2, 2), torch.randn(5000, 2)
    monkeypatch.setattr(function_layers, "AT_MOST", 4000)
    with torch.no_grad():
        spread = function_layer(layer).spreads([x])
        exact = layer.curves(x).std(0)
    assert torch.allclose(spread.float(), exact, rtol=0.15)
    assert not torch.allclose(spread.float(), exact, rtol=1e-4)
