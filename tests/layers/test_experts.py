import copy
import itertools
import pickle

import pytest
import torch
from torch import nn

from edgewise.core import InputError, generator, seeded
from edgewise.layers import MixtureOfExperts, Router, Routing

E = 4


def make(k=2, combine="sum", experts=E, seed=0, out=3):
    with seeded(seed, "experts"):
        parts = [
            nn.Sequential(nn.Linear(5, 6), nn.Tanh(), nn.Linear(6, out)) for _ in range(experts)
        ]
        return MixtureOfExperts(parts, Router(5, experts), k, combine).double()


def tokens(n=37, seed=0):
    return torch.randn(n, 5, generator=generator(seed, "tokens"), dtype=torch.float64)


def densely(moe, x):
    """Every expert computes every token; what was not chosen is multiplied by zero."""
    r = moe.router(x)
    order = r.argsort(dim=-1, descending=True)[:, : moe.top_k]
    chosen = torch.zeros_like(r).scatter(-1, order, 1.0)
    g = r.exp() * chosen
    g = g / g.sum(-1, keepdim=True)
    blocks = [g[:, e : e + 1] * expert(x) for e, expert in enumerate(moe.experts)]
    if moe.combine == "concat":
        return torch.cat(blocks, -1)
    return torch.stack(blocks).sum(0)


@pytest.mark.parametrize("combine", ["sum", "concat"])
@pytest.mark.parametrize("k", range(1, E + 1))
@pytest.mark.parametrize("starved", [False, True])
def test_it_is_the_dense_masked_mixture_in_value_and_gradient(combine, k, starved):
    moe = make(k, combine)
    if starved:
        with torch.no_grad():
            moe.router[-1].bias.copy_(torch.tensor([0.0, 50.0, 0.0, -50.0]))
    x = tokens().requires_grad_()
    results = []
    for read in (moe, lambda x: densely(moe, x)):
        y = read(x)
        weight = torch.arange(y.numel(), dtype=torch.float64).sin().view_as(y)
        wanted = [x, *moe.parameters()]
        gradients = torch.autograd.grad((y * weight).sum(), wanted, materialize_grads=True)
        results.append((y, *gradients))
    if starved and k < E:
        assert (moe.routing.selected != 3).all()
    for fast, slow in zip(*results, strict=True):
        torch.testing.assert_close(fast, slow, rtol=1e-10, atol=1e-11)


def test_only_what_was_chosen_is_computed():
    moe = make(2)
    rows = [0] * E

    def count(e):
        def hook(module, inputs):
            rows[e] += len(inputs[0])

        return hook

    for e, expert in enumerate(moe.experts):
        expert.register_forward_pre_hook(count(e))
    moe(tokens(100))
    assert sum(rows) == 200
    assert rows == torch.bincount(moe.routing.selected.flatten(), minlength=E).tolist()
    assert max(rows) < 100


@pytest.mark.parametrize("k", range(1, E + 1))
def test_the_weights_are_a_share_of_one_for_the_likeliest(k):
    moe = make(k)
    moe(tokens())
    routing = moe.routing
    torch.testing.assert_close(routing.weights.sum(-1), torch.ones(37).double())
    torch.testing.assert_close(routing.probabilities.sum(-1), torch.ones(37).double())
    chosen = routing.probabilities.gather(-1, routing.selected)
    torch.testing.assert_close(routing.weights, chosen / chosen.sum(-1, keepdim=True))
    left_out = routing.probabilities.scatter(-1, routing.selected, 0.0)
    assert (left_out.max(-1).values <= chosen.min(-1).values).all()
    assert all(len(set(row)) == k for row in routing.selected.tolist())


@pytest.mark.parametrize("combine", ["sum", "concat"])
def test_one_expert_is_that_expert(combine):
    moe, x = make(1, combine, experts=1), tokens()
    assert torch.equal(moe(x), moe.experts[0](x))


@pytest.mark.parametrize("n", [0, 1, 63])
def test_any_number_of_tokens(n):
    for combine, width in (("sum", 3), ("concat", 12)):
        moe = make(2, combine)
        y = moe(tokens(n))
        assert y.shape == (n, width)
        y.sum().backward()
        assert moe.routing.load().isfinite().all()
        assert moe.routing.balance().isfinite()


def test_experts_of_several_widths_can_be_joined():
    moe = MixtureOfExperts([nn.Linear(2, 3), nn.Linear(2, 1)], nn.Linear(2, 2), 1, "concat")
    y = moe(torch.randn(9, 2))
    assert y.shape == (9, 4)
    first = moe.routing.selected[:, 0] == 0
    assert (y[first][:, 3:] == 0).all()
    assert (y[~first][:, :3] == 0).all()


def test_the_router_may_see_something_else():
    moe = MixtureOfExperts([nn.Linear(2, 3)] * 2, nn.Linear(7, 2), 1)
    x, context = torch.randn(9, 2), torch.randn(9, 7)
    moe(x, context)
    torch.testing.assert_close(moe.routing.probabilities, moe.router(context).softmax(-1))


def routing(counts=None, n=50, k=2, seed=0):
    logits = torch.randn(n, E, generator=generator(seed, "logits"), dtype=torch.float64)
    logits = logits + torch.arange(E) / 3
    top, selected = logits.topk(k)
    counts = torch.ones(n).double() if counts is None else counts
    return Routing(logits.softmax(-1), selected, top.softmax(-1), counts)


def test_load_and_importance_are_counts_and_means():
    r = routing()
    expected = [(r.selected == e).sum().item() / 100 for e in range(E)]
    assert r.load().tolist() == pytest.approx(expected)
    assert r.importance().tolist() == pytest.approx(r.probabilities.mean(0).tolist())
    balance = E * sum(f * P for f, P in zip(expected, r.importance().tolist(), strict=True))
    assert r.balance().item() == pytest.approx(balance)


def test_counts_are_as_if_the_rows_were_repeated():
    counts = torch.randint(0, 4, (50,), generator=generator(1)).double()
    r = routing(counts)
    again = counts.long()
    repeated = Routing(
        r.probabilities.repeat_interleave(again, 0),
        r.selected.repeat_interleave(again, 0),
        r.weights.repeat_interleave(again, 0),
        torch.ones(int(again.sum())).double(),
    )
    for name in ("load", "importance", "balance"):
        torch.testing.assert_close(getattr(r, name)(), getattr(repeated, name)())
    assert (counts == 0).any(), "padding is among them"


def test_nothing_but_padding_has_no_load():
    r = routing(torch.zeros(50).double())
    assert (r.load() == 0).all()
    assert (r.importance() == 0).all()


def even(n=4 * 6):
    """Every pair of experts equally often, all probabilities equal."""
    pairs = torch.tensor(list(itertools.combinations(range(E), 2))).repeat(n // 6, 1)
    p = torch.full((n, E), 1 / E).double().requires_grad_()
    return Routing(p, pairs, torch.full((n, 2), 0.5).double(), torch.ones(n).double())


def test_balance_is_1_where_even_and_more_where_not():
    assert even().balance().item() == pytest.approx(1, abs=1e-12)
    assert routing().balance() > 1.05
    collapsed = torch.zeros(10, E).double()
    collapsed[:, 1] = 1
    one = Routing(collapsed, torch.ones(10, 1).long(), torch.ones(10, 1), torch.ones(10).double())
    assert one.balance().item() == pytest.approx(E)


def test_the_gradient_of_balance_takes_from_the_busy():
    moe, x = make(1), tokens(200)
    with torch.no_grad():
        moe.router[-1].bias[2] += 2.0
    before = []
    for _ in range(60):
        moe(x)
        before.append(moe.routing.balance().item())
        gradients = torch.autograd.grad(moe.routing.balance(), list(moe.router.parameters()))
        with torch.no_grad():
            for p, g in zip(moe.router.parameters(), gradients, strict=True):
                p -= 0.3 * g
    assert before[0] > 1.5
    assert before[-1] < 1.1


def test_balance_knows_no_experts_only_the_router():
    moe = make(2)
    moe(tokens())
    parameters = [*moe.experts.parameters()]
    gradients = torch.autograd.grad(moe.routing.balance(), parameters, allow_unused=True)
    assert all(g is None for g in gradients)


@pytest.mark.parametrize("again", [copy.deepcopy, lambda m: pickle.loads(pickle.dumps(m))])
def test_copies_can_be_made_after_a_forward_pass(again):
    moe, x = make(2), tokens()
    y = moe(x)
    twin = again(moe)
    assert twin.routing is None
    assert moe.routing is not None
    assert torch.equal(twin(x), y)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: make(0), "top_k must lie between 1 and the number of experts, 4, got 0"),
        (lambda: make(5), "top_k must lie between 1 and the number of experts, 4, got 5"),
        (lambda: make(1.5), "top_k must lie between 1 and the number of experts, 4, got 1.5"),
        (
            lambda: MixtureOfExperts([], nn.Linear(1, 1), 1),
            "top_k must lie between 1 and the number of experts, 0, got 1",
        ),
        (lambda: make(combine="mean"), "combine must be 'sum' or 'concat', got 'mean'"),
        (
            lambda: MixtureOfExperts([nn.Identity()] * 3, nn.Linear(5, 2), 1).double()(tokens(7)),
            "the router must give one logit for each of 3 experts, got shape (7, 2) for 7 tokens",
        ),
    ],
)
def test_bad_input_is_refused_word_by_word(call, message):
    with pytest.raises(InputError) as caught:
        call()
    assert str(caught.value) == message
