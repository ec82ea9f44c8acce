import pytest
import torch
from torch import nn

from edgewise.encoders import ENCODERS, KMOTE, make_encoder
from edgewise.export.traceable import traceable
from edgewise.layers import MixtureOfExperts

NANOSECONDS = 1_700_000_000_123_456_789 + torch.arange(12).view(3, 4) ** 3
MASK = torch.tensor([[True] * 4, [True, True, False, False], [False] * 4])


class Explodes(nn.Module):
    def forward(self, x):
        return x.new_full((len(x), 2), torch.inf)


@pytest.mark.parametrize("combine", ["concat", "sum"])
@pytest.mark.parametrize("top_k", [1, 2, 3])
def test_a_mixture_computes_all_and_keeps_the_chosen(combine, top_k):
    experts = [nn.Linear(3, 2) for _ in range(3)]
    model = MixtureOfExperts(experts, nn.Linear(3, 3), top_k, combine).double()
    x = torch.randn(50, 3, dtype=torch.float64)
    with torch.no_grad():
        torch.testing.assert_close(traceable(model)(x), model(x), rtol=0, atol=1e-12)


def test_an_expert_that_nobody_chose_may_give_anything():
    router = nn.Linear(3, 2)
    with torch.no_grad():
        router.weight.zero_()
        router.bias.copy_(torch.tensor([1.0, 0.0]))
    model = MixtureOfExperts([nn.Linear(3, 2), Explodes()], router, top_k=1, combine="sum")
    x = torch.randn(4, 3)
    with torch.no_grad():
        assert torch.equal(traceable(model)(x), model.experts[0](x))


@pytest.mark.parametrize("name", ENCODERS)
@pytest.mark.parametrize("times", [NANOSECONDS, NANOSECONDS.double() / 1e9])
def test_an_encoder_gives_the_same(name, times):
    model = make_encoder(name, 8).fit_scale(times).eval()
    with torch.no_grad():
        expected = model(times, MASK)
        found = traceable(model)(times, MASK)
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-6)
    assert (found[~MASK] == 0).all()


def test_the_clock_keeps_every_digit():
    model = make_encoder("raw", 8).fit_scale(NANOSECONDS)
    assert torch.equal(traceable(model).normalise(NANOSECONDS), model.normalise(NANOSECONDS))
    assert traceable(model).steps == model.steps


def test_what_stands_at_padding_changes_nothing():
    model = traceable(KMOTE(8, router_features=2))
    times = torch.rand(3, 4)
    features = torch.rand(3, 4, 2)
    before = model(times, MASK, features)
    times[~MASK], features[~MASK] = torch.nan, torch.inf
    assert torch.equal(model(times, MASK, features), before)
