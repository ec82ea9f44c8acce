import sys
import types

import pytest
import torch
from torch import nn

import edgewise as ew
from edgewise.core import InputError
from edgewise.layers.kaf import KAF
from edgewise.layers.kernel_activation import KernelActivation
from edgewise.layers.linear import KANLinear
from edgewise.models.hybrid import KINDS, Hybrid
from edgewise.models.mlp import MLP

EVERY = ["linear", "linear", "kan", "kernel", "kaf", "linear"]


def test_linear_layers_alone_are_an_mlp():
    ours = Hybrid([3, 5, 4, 2], ["linear"] * 3, "relu", normalize="layer")
    plain = MLP([3, 5, 4, 2], "relu", normalize="layer")
    plain.load_state_dict(ours.state_dict())
    x = torch.randn(7, 3)
    assert torch.equal(ours(x), plain(x))


def test_the_activation_stands_between_two_linear_layers_only():
    model = Hybrid([3, 5, 4, 6, 5, 4, 2], EVERY)
    kinds = [nn.Linear, nn.Linear, KANLinear, KernelActivation, nn.Sequential, nn.Linear]
    assert [type(layer) for layer in model.layers] == kinds
    assert isinstance(model.layers[4][1], KAF)
    bent = [any(isinstance(m, nn.SiLU) for m in between) for between in model.between]
    assert bent == [True, False, False, False, False]
    x = torch.randn(7, 3)
    h = nn.functional.silu(model.layers[0](x))
    for layer in model.layers[1:]:
        h = layer(h)
    assert torch.equal(model(x), h)


def test_it_is_saved_compiled_and_exported(tmp_path):
    model = Hybrid([3, 5, 4, 6, 5, 4, 2], EVERY, normalize="batch", dropout=0.1)
    x = torch.randn(9, 3)
    model.train()(x)
    expected = model.eval()(x)
    again = ew.load(ew.save(model, tmp_path / "m.safetensors")).eval()
    assert torch.equal(again(x), expected)
    compiled = torch.compile(model, fullgraph=True, backend="eager")
    torch.testing.assert_close(compiled(x), expected)
    program = torch.export.export(model, (x,), dynamic_shapes=({0: torch.export.Dim("n")},))
    torch.testing.assert_close(program.module()(x[:4]), expected[:4])


def test_layers_of_the_users_own(monkeypatch, tmp_path):
    module = types.ModuleType("my_layers")
    module.sine = lambda i, o: KernelActivation(i, o, "sin")
    module.none = lambda i, o: None
    monkeypatch.setitem(sys.modules, "my_layers", module)
    own = KANLinear(5, 2, "gaussian")
    model = Hybrid([3, 5, 2], ["my_layers:sine", own])
    assert model.layers[1] is not own
    x = torch.randn(4, 3)
    again = ew.load(ew.save(model, tmp_path / "m.safetensors"), trust=("my_layers",))
    assert torch.equal(model(x), again(x))
    with pytest.raises(InputError) as caught:
        Hybrid([3, 2], ["my_layers:none"])
    assert str(caught.value) == (
        "the kind of layer 'my_layers:none' must make a module, it gave NoneType"
    )


@pytest.mark.parametrize(
    "kinds", [["linear", kind] for kind in KINDS] + [["kan", "linear"], ["kernel", "kernel"]]
)
def test_it_learns_a_bent_boundary(kinds):
    draw = torch.Generator().manual_seed(0)
    x = torch.rand(400, 2, generator=draw) * 2 - 1
    y = (x.square().sum(-1) < 0.6).long()
    torch.manual_seed(0)
    model = Hybrid([2, 12, 2], kinds)
    optimiser = torch.optim.Adam(model.parameters(), lr=0.03)
    for _ in range(120):
        optimiser.zero_grad()
        nn.functional.cross_entropy(model(x), y).backward()
        optimiser.step()
    assert (model(x).argmax(-1) == y).float().mean() > 0.93


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            ([3, 5, 2], ["linear"]),
            "kinds is a list of 1, but the widths make 2 layers: give one for each",
        ),
        (
            ([3, 2], "linear"),
            "kinds must be a list with one for each layer, such as ['linear', 'kan'], got 'linear'",
        ),
        (
            ([3, 5, 2], ["linear", "kann"]),
            "unknown kind of layer 'kann': did you mean 'kan'? (known: linear, kan, kernel, kaf)",
        ),
        (
            ([3, 5, 2], ["linear", KANLinear(4, 2)]),
            "the widths don't fit: layer 1 is a KANLinear with in_features=4, but the widths "
            "want 5 there",
        ),
        (
            ([3, 5, 2], [nn.Linear(3, 4), "kan"]),
            "the widths don't fit: layer 0 is a Linear with out_features=4, but the widths "
            "want 5 there",
        ),
        (([3], []), "widths must be at least two numbers, such as [2, 5, 1], got [3]"),
        (
            ([3, 2], ["kan"], "sulu"),
            "unknown activation 'sulu': did you mean 'silu'? (known: silu, relu, gelu, tanh)",
        ),
    ],
)
def test_what_makes_no_network(arguments, message):
    with pytest.raises(InputError) as caught:
        Hybrid(*arguments)
    assert str(caught.value) == message


def test_what_it_does_not_take():
    with pytest.raises(InputError) as caught:
        Hybrid([3, 2], ["kan"])(torch.zeros(2, 4))
    assert str(caught.value) == "Hybrid takes 3 features on the last axis, got x of shape (2, 4)"
    with pytest.raises(InputError) as caught:
        Hybrid([3, 2], ["kan"], normalize="bach")
    assert str(caught.value) == (
        "unknown normalize 'bach': did you mean 'batch'? (known: layer, batch)"
    )
