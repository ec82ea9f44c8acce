import math
from itertools import pairwise

import pytest
import torch
from torch import nn

from edgewise.bases import BASES
from edgewise.core import InputError, generator, seeded
from edgewise.encoders import KMOTE
from edgewise.layers import KANLinear, MixtureOfExperts
from edgewise.layers.conv import KANConv2d
from edgewise.layers.norms import edge_norms
from edgewise.losses.balance import load_balance
from edgewise.losses.sparsity import sparsity


def make(*widths, basis="bspline", **options):
    with seeded(0, "sparsity"):
        layers = (KANLinear(i, o, basis, **options) for i, o in pairwise(widths))
        return nn.Sequential(*layers).double()


def inputs(*shape, seed=0):
    return torch.randn(*shape, generator=generator(seed, "x"), dtype=torch.float64)


def slowly(layers, x, l1=1.0, entropy=1.0):
    """Edge by edge, as the paper's sums are written, with root mean squares."""
    total = 0.0
    for layer in layers:
        phi = layer.curves(x)
        if layer.bias is not None:
            phi = phi - layer.bias.unsqueeze(-1) / layer.in_features
        sizes = phi.square().mean(0).sqrt()
        shares = sizes / sizes.sum()
        total = total + l1 * sizes.sum()
        for p in shares.flatten():
            total = total - entropy * p * p.log()
        x = layer(x)
    return total


@pytest.mark.parametrize("basis", BASES)
@pytest.mark.parametrize("weights", [(1.0, 1.0), (0.3, 2.0), (0.0, 1.0), (1.0, 0.0)])
def test_it_is_the_formula_in_value_and_gradient(basis, weights):
    model = make(3, 4, 2, basis=basis, bias=True)
    nn.init.normal_(model[0].bias)
    x = inputs(20, 3).requires_grad_()
    # The last bias has no part in it.
    wanted = [x, *(p for name, p in model.named_parameters() if name != "1.bias")]
    results = []
    for read in (sparsity, slowly):
        value = read(model, x, *weights)
        results.append((value, *torch.autograd.grad(value, wanted)))
    for fast, slow in zip(*results, strict=True):
        torch.testing.assert_close(fast, slow, rtol=1e-10, atol=1e-10)


def test_earlier_layers_feel_what_later_layers_cost():
    model = make(3, 4, 2)
    loss = sparsity(model, inputs(20, 3)) - sparsity(model[0], inputs(20, 3))
    loss.backward()
    assert model[0].coefficients.grad.abs().max() > 1e-4


def test_equal_edges_have_the_entropy_of_their_number():
    layer = KANLinear(4, 3)
    nn.init.constant_(layer.coefficients, 0.5)
    nn.init.zeros_(layer.base_weight)
    x = torch.rand(10, 4) - 0.5
    assert sparsity(layer, x, 0.0, 1.0).item() == pytest.approx(math.log(12), rel=1e-6)
    assert sparsity(layer, x, 1.0, 0.0).item() == pytest.approx(6.0, rel=1e-6)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("zero", ["nothing", "an edge", "an input", "a layer", "everything"])
@pytest.mark.parametrize("x", [torch.ones(1, 3) / 3, torch.zeros(5, 3), torch.rand(5, 3)])
def test_it_is_finite_where_others_are_not(dtype, zero, x):
    model = make(3, 4, 2).to(dtype)
    with torch.no_grad():
        where = {
            "nothing": [],
            "an edge": [(model[0], (0, 0))],
            "an input": [(model[0], 1), (model[1], 2)],
            "a layer": [(model[1], slice(None))],
            "everything": [(layer, slice(None)) for layer in model],
        }[zero]
        for layer, index in where:
            layer.base_weight[index] = 0
            layer.coefficients[
                (slice(None), *(index if isinstance(index, tuple) else (index,)))
            ] = 0
    value = sparsity(model, x.to(dtype))
    value.backward()
    assert value.isfinite()
    assert value.dtype == dtype
    assert all(p.grad.isfinite().all() for p in model.parameters())
    if zero == "everything":
        assert value == 0
        assert all((p.grad == 0).all() for p in model.parameters())


def test_an_edge_that_is_zero_takes_no_share():
    layer, x = KANLinear(3, 2).double(), inputs(30, 3)
    with torch.no_grad():
        layer.coefficients[:, 2] = 0
        layer.base_weight[2] = 0
    smaller = KANLinear(2, 2).double()
    with torch.no_grad():
        smaller.coefficients.copy_(layer.coefficients[:, :2])
        smaller.base_weight.copy_(layer.base_weight[:2])
    torch.testing.assert_close(sparsity(layer, x), sparsity(smaller, x[:, :2]))


def test_following_it_leaves_few_edges():
    model = make(4, 3, 1)
    x = inputs(100, 4)
    optimiser = torch.optim.Adam(model.parameters(), lr=0.02)
    before = sparsity(model, x, 0.0).item()
    for _ in range(60):
        optimiser.zero_grad()
        sparsity(model, x, 0.1, 1.0).backward()
        optimiser.step()
    after = sparsity(model, x, 0.0).item()
    assert math.isfinite(after)
    assert after < before - 0.5


class Noisy(nn.Module):
    """Dropout, running statistics, a part that is frozen on purpose, and an input with a name."""

    def __init__(self):
        super().__init__()
        self.dropout, self.norm = nn.Dropout(0.5), nn.BatchNorm1d(3)
        self.frozen = nn.BatchNorm1d(3).eval()
        self.layer = KANLinear(3, 2)

    def forward(self, x, shift):
        return self.layer(x=self.frozen(self.norm(self.dropout(x))) + shift)


MODES = [True, True, True, False, True, True]
"""Of the model, its dropout, norm, frozen norm, layer and basis."""


def test_the_model_is_left_as_it_was():
    model, x = Noisy().double(), inputs(20, 3)
    before = {k: v.clone() for k, v in model.state_dict().items()}
    random = torch.random.get_rng_state()
    value = sparsity(model, (x, 0.5))
    assert torch.equal(torch.random.get_rng_state(), random)
    assert [m.training for m in model.modules()] == MODES
    assert all(torch.equal(before[k], v) for k, v in model.state_dict().items())
    assert not model.layer._forward_pre_hooks
    model.eval()
    assert torch.equal(sparsity(model, (x, 0.5)), value)
    assert not any(m.training for m in model.modules())
    torch.testing.assert_close(value, slowly([model.layer], model.frozen(model.norm(x)) + 0.5))


def test_the_model_is_left_as_it_was_on_errors_too():
    model = Noisy()
    with pytest.raises(RuntimeError, match="must match the size"):
        sparsity(model, (torch.zeros(2, 3), torch.zeros(7, 5)))
    assert [m.training for m in model.modules()] == MODES
    assert not model.layer._forward_pre_hooks


def test_a_layer_called_twice_counts_once_over_all_it_was_given():
    class Twice(nn.Module):
        def __init__(self, layer):
            super().__init__()
            self.layer = self.again = layer

        def forward(self, x, y):
            return self.layer(x), self.again(y)

    layer = make(3, 2)[0]
    x, y = inputs(20, 3), inputs(5, 3, seed=1)
    together = sparsity(layer, torch.cat([x, y]))
    torch.testing.assert_close(sparsity(Twice(layer), (x, y)), together)


def test_a_mixture_keeps_its_routing_and_unused_experts_add_nothing():
    experts = [KANLinear(2, 2), KANLinear(2, 2)]
    router = nn.Linear(2, 2)
    with torch.no_grad():
        router.weight.zero_()
        router.bias.copy_(torch.tensor([5.0, 0.0]))
    mixture = MixtureOfExperts(experts, router, top_k=1)
    mixture(torch.rand(7, 2))
    routing, x = mixture.routing, torch.rand(30, 2)
    assert torch.equal(sparsity(mixture, x), sparsity(experts[0], x))
    assert mixture.routing is routing


def test_the_experts_of_kmote_feel_it_beside_their_balance():
    with seeded(0):
        encoder = KMOTE(12).fit_scale(torch.arange(784))
    times = torch.rand(2, 9) * 784
    encoder(times)
    balance = load_balance(encoder)
    loss = sparsity(encoder, times)
    assert torch.equal(load_balance(encoder), balance)
    loss.backward()
    used = [e.module.coefficients.grad for e in encoder.mixture.experts]
    assert any(g is not None and g.abs().max() > 0 for g in used)


def test_convolutions_count_each_of_their_taps():
    with seeded(0):
        conv, dense = KANConv2d(1, 2, 3, normalize="batch"), KANLinear(8, 3)
    model = nn.Sequential(conv, nn.Flatten(), dense).double()
    x = inputs(5, 1, 4, 4)
    model(x)  # moves the running statistics
    before = {k: v.clone() for k, v in model.state_dict().items()}
    loss = sparsity(model, x, 1.0, 0.0)
    loss.backward()
    assert all(torch.equal(before[k], v) for k, v in model.state_dict().items())
    model.eval()
    expected = edge_norms(conv, x).sum() + edge_norms(dense, conv(x).flatten(1)).sum()
    torch.testing.assert_close(loss, expected)
    assert all(p.grad.abs().max() > 0 for p in model.parameters())


def test_a_compiled_model_is_seen_through():
    model, x = make(3, 2), inputs(20, 3)
    expected = sparsity(model, x)
    compiled = torch.compile(model, backend="eager")
    compiled(x)
    torch.testing.assert_close(sparsity(compiled, x), expected)
    model.compile(backend="eager")
    model(x)
    torch.testing.assert_close(sparsity(model, x), expected)


def test_without_gradients_there_are_none():
    with torch.no_grad():
        assert not sparsity(make(3, 2), inputs(20, 3)).requires_grad


class Idle(nn.Module):
    def __init__(self):
        super().__init__()
        self.layer = KANLinear(2, 2)

    def forward(self, x):
        return x


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (
            lambda: sparsity(nn.Linear(2, 2), torch.zeros(1, 2)),
            "sparsity needs a model with KAN layers, found none in it",
        ),
        (
            lambda: sparsity(Idle(), torch.zeros(1, 2)),
            "the model has KAN layers, but gave none of them a sample when called on x",
        ),
        (
            lambda: sparsity(KANLinear(2, 2), torch.zeros(0, 2)),
            "the model has KAN layers, but gave none of them a sample when called on x",
        ),
        (
            lambda: sparsity(KANLinear(2, 2), torch.zeros(1, 2), l1=-1),
            "l1 must be a finite number of at least 0, got -1",
        ),
        (
            lambda: sparsity(KANLinear(2, 2), torch.zeros(1, 2), entropy=math.nan),
            "entropy must be a finite number of at least 0, got nan",
        ),
    ],
)
def test_bad_input_is_refused_word_by_word(call, message):
    with pytest.raises(InputError) as caught:
        call()
    assert str(caught.value) == message
