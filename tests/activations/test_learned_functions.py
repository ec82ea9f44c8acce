"""The functions that are kept: the ones that vary most, where the data are, before and after."""

import copy

import numpy as np
import pytest
import torch
from torch import nn

from edgewise.activations import learned as module
from edgewise.activations.learned import has_functions, learned_functions, pack, unpack
from edgewise.core import InputError
from edgewise.models import KAN, Hybrid, TextClassifier


def trained(model, x):
    """The model before, and after a few steps."""
    before = copy.deepcopy(model)
    optimiser = torch.optim.Adam(model.parameters(), 0.05)
    for _ in range(5):
        optimiser.zero_grad()
        (model(x) - x[:, :1].square()).square().mean().backward()
        optimiser.step()
    return before, model


def test_the_kept_edges_are_those_with_the_largest_spread():
    model, x = KAN([4, 5, 1]), torch.randn(300, 4)
    (first, _) = learned_functions(model, [(x[:100],), (x[100:],)], most=3)
    with torch.no_grad():
        spread = model.layers[0].curves(x).double().std(0, correction=0)
    order = spread.flatten().argsort(descending=True)[:3].tolist()
    assert first.labels == tuple(f"{i % 4} → {i // 4}" for i in order)
    assert first.spread == pytest.approx(spread.flatten()[order].numpy(), rel=1e-4)
    assert (first.count, first.what, first.about) == (20, "edge", "KANLinear, 4 → 5")
    assert first.variance == pytest.approx(float(spread.square().sum()), rel=1e-4)
    assert first.share(3) == pytest.approx(
        float(spread.flatten()[order].square().sum() / spread.square().sum()), rel=1e-4
    )
    cumulative = spread.flatten().square().sort(descending=True).values.cumsum(0)
    assert cumulative[first.half - 1] >= cumulative[-1] / 2
    assert first.half == 1 or cumulative[first.half - 2] < cumulative[-1] / 2


def test_before_and_after_are_asked_at_the_numbers_that_reach_the_trained_layer():
    x = torch.randn(200, 3)
    before, model = trained(KAN([3, 4, 1]), x)
    _, second = learned_functions(model, [(x,)], before, most=2)
    with torch.no_grad():
        hidden = model.layers[0](x)
        for place, label in enumerate(second.labels):
            into, out = (int(word) for word in label.split(" → "))
            low, high = second.x[place][[0, -1]]
            inside = ((hidden[:, into] >= low) & (hidden[:, into] <= high)).double().mean()
            assert 0.985 <= float(inside) < 1
            assert int(second.density[place].sum()) == int(inside * 200)
            at = torch.zeros(100, 4)
            at[:, into] = torch.from_numpy(second.x[place])
            for values, net in ((second.after, model), (second.before, before)):
                wanted = net.layers[1].curves(at)[:, out, into]
                assert values[place] == pytest.approx(wanted.numpy(), abs=1e-5)
    assert not np.allclose(second.before, second.after)


def test_looking_leaves_the_models_as_they_were():
    model = Hybrid([3, 4, 1], ["kan", "kernel"], normalize="batch", dropout=0.5).train()
    model.layers[0].eval()
    before = copy.deepcopy(model)
    state = copy.deepcopy(model.state_dict())
    learned_functions(model, [(torch.randn(20, 3),)], before)
    assert all(torch.equal(v, state[k]) for k, v in model.state_dict().items())
    for net in (model, before):
        assert net.training
        assert net.layers[1].training
        assert not net.layers[0].training
        assert not any(m._forward_pre_hooks for m in net.modules())
    assert all(p.grad is None for p in model.parameters())


def test_the_same_again_is_the_same_to_the_bit():
    x = torch.randn(100, 3)
    before, model = trained(Hybrid([3, 4, 1], ["kaf", "kan"]), x)
    first, again = (pack(learned_functions(model, [(x,)], before)) for _ in range(2))
    assert first.keys() == again.keys()
    assert all(np.array_equal(first[name], again[name]) for name in first)


def test_packing_and_back():
    x = torch.randn(50, 3)
    before, model = trained(KAN([3, 2, 1]), x)
    for then in (None, before):
        functions = learned_functions(model, [(x,)], then)
        for one, other in zip(functions, unpack(pack(functions)), strict=True):
            for name, value in vars(one).items():
                assert np.array_equal(value, getattr(other, name)), name
                assert type(value) is type(getattr(other, name)), name


def test_a_layer_that_nothing_reached_is_left_out():
    class Half(nn.Module):
        def __init__(self):
            super().__init__()
            self.used, self.idle = KAN([2, 1]), KAN([2, 1])

        def forward(self, x):
            return self.used(x)

    assert [f.name for f in learned_functions(Half(), [(torch.rand(9, 2),)])] == ["used.layers.0"]


def test_a_recurrent_layer_is_seen_over_all_steps():
    model = TextClassifier(30, 2, "kan-rnn", dim=3, hidden_dim=4)
    tokens = torch.randint(1, 30, (6, 7))
    found = learned_functions(model, [(tokens, torch.full((6,), 7))])
    states = next(f for f in found if ".V." in f.name)
    assert int(states.density[0].sum()) >= 0.98 * 42


def test_no_more_is_kept_than_is_looked_at(monkeypatch):
    monkeypatch.setattr(module, "ENOUGH", 20)
    model = KAN([2, 1])
    (found,) = learned_functions(model, [(torch.rand(8, 2),)] * 5)
    assert int(found.density[0].sum()) in (14, 16)  # two calls of eight, the middle 99 %


def test_constant_inputs_have_a_range_all_the_same():
    (found,) = learned_functions(KAN([2, 1]), [(torch.full((9, 2), 0.25),)])
    assert found.x[0][[0, -1]].tolist() == [-0.25, 0.75]
    assert (found.variance, found.share(1), found.half) == (0.0, 0.0, 1)


@pytest.mark.parametrize(
    ("before", "message"),
    [
        (
            KAN([3, 5, 1]),
            "the model before training must be like the one after it: its 'layers.0' is "
            "KANLinear, 3 → 5, here it is KANLinear, 3 → 4",
        ),
        (
            nn.Linear(3, 1),
            "the model before training must be like the one after it: its 'layers.0' is "
            "no such layer, here it is KANLinear, 3 → 4",
        ),
    ],
)
def test_another_model_before_is_refused(before, message):
    with pytest.raises(InputError) as error:
        learned_functions(KAN([3, 4, 1]), [(torch.rand(5, 3),)], before)
    assert str(error.value) == message


def test_none_at_all_is_refused():
    with pytest.raises(InputError) as error:
        learned_functions(KAN([2, 1]), [(torch.rand(5, 2),)], most=0)
    assert str(error.value) == "most must be at least 1, got 0"
    assert not has_functions(nn.Linear(2, 1))
