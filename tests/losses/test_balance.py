import copy

import pytest
import torch
from torch import nn

import edgewise as ew
from edgewise.core import InputError, generator, seeded
from edgewise.encoders import KANMAMMOTE, KMOTE
from edgewise.layers import MixtureOfExperts
from edgewise.losses import load_balance


def make(kind=KMOTE, dim=12, **options):
    with seeded(0, "balance"):
        return kind(dim, **options).double()


def times_of(B=4, L=30):
    times = 50 * torch.rand(B, L, generator=generator(0), dtype=torch.float64)
    return times.round().sort(-1).values, torch.arange(L) < torch.tensor([L, 9, 2, 0])[:, None]


def by_definition(encoder, times, top_k):
    """E Σ f P - 1, token by token."""
    tau = encoder.normalise(times)
    r = encoder.mixture.router(encoder._context(tau, None))
    P = r.softmax(-1).mean(0)
    chosen = torch.zeros_like(r).scatter(-1, r.topk(top_k).indices, 1.0)
    f = chosen.sum(0) / chosen.sum()
    return r.shape[-1] * (f * P).sum() - 1


@pytest.mark.parametrize("top_k", [1, 2, 3])
def test_it_is_its_formula_over_events_in_value_and_gradient(top_k):
    times, mask = times_of()
    encoder = make(top_k=top_k).fit_scale(times, mask)
    encoder(times, mask)
    loss, expected = load_balance(encoder), by_definition(encoder, times[mask], top_k)
    torch.testing.assert_close(loss, expected, rtol=1e-10, atol=1e-10)
    router = list(encoder.mixture.router.parameters())
    for found, wanted in zip(
        torch.autograd.grad(loss, router), torch.autograd.grad(expected, router), strict=True
    ):
        assert wanted.abs().max() > 1e-6
        torch.testing.assert_close(found, wanted, rtol=1e-9, atol=1e-12)


def test_padding_further_changes_nothing():
    times, mask = times_of()
    encoder = make().fit_scale(times, mask)
    losses = []
    for more in (0, 50):
        encoder(nn.functional.pad(times, (0, more)), nn.functional.pad(mask, (0, more)))
        losses.append(load_balance(encoder))
    assert torch.equal(*losses)


def test_the_gradient_is_that_of_finite_differences():
    times, mask = times_of()
    encoder = make().fit_scale(times, mask)
    encoder(times, mask)
    weight = encoder.mixture.router[2].bias
    (gradient,) = torch.autograd.grad(load_balance(encoder), weight)
    with torch.no_grad():
        for e in range(4):
            around = []
            for step in (1e-6, -1e-6):
                weight[e] += step
                encoder(times, mask)
                around.append(load_balance(encoder).item())
                weight[e] -= step
            slope = (around[0] - around[1]) / 2e-6
            assert slope == pytest.approx(gradient[e].item(), rel=1e-5, abs=1e-8)


def test_a_few_steps_of_it_even_the_load():
    times, mask = times_of()
    encoder = make().fit_scale(times, mask)
    with torch.no_grad():
        encoder.mixture.router[2].bias[0] += 3
    optimiser = torch.optim.Adam(encoder.mixture.router.parameters(), lr=0.03)
    found = []
    for _ in range(40):
        encoder(times, mask)
        optimiser.zero_grad()
        loss = load_balance(encoder)
        loss.backward()
        optimiser.step()
        found.append(loss.item())
    assert found[0] > 0.5
    assert found[-1] < 0.1


def test_several_mixtures_count_alike():
    times, mask = times_of()
    first, second = make(top_k=1), make(top_k=2)
    for encoder in (first, second):
        encoder(times, mask)
    both = load_balance(nn.ModuleList([first, second]))
    torch.testing.assert_close(both, (load_balance(first) + load_balance(second)) / 2)


def test_it_is_found_deep_inside():
    times, mask = times_of()
    encoder = make(KANMAMMOTE).fit_scale(times, mask)
    model = ew.models.SequenceClassifier(encoder, 3, hidden_dim=4).double()
    model(times, mask.sum(-1))
    assert load_balance(model) == load_balance(encoder.kmote)
    load_balance(model).backward()
    assert (encoder.kmote.mixture.router[0].weight.grad != 0).any()


@pytest.mark.parametrize("copied", [False, True])
def test_what_is_not_there_is_refused_word_by_word(copied):
    with pytest.raises(InputError) as caught:
        load_balance(nn.Linear(1, 1))
    assert str(caught.value) == (
        "load_balance needs a model with a mixture of experts, found none in it"
    )
    mixture = MixtureOfExperts([nn.Linear(1, 1)], nn.Linear(1, 1), 1)
    if copied:
        mixture(torch.zeros(3, 1))
        mixture = copy.deepcopy(mixture)
    with pytest.raises(InputError) as caught:
        load_balance(mixture)
    assert str(caught.value) == "load_balance is of the last forward pass; call the model first"
