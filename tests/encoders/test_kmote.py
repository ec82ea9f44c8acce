import itertools
import math

import pytest
import torch
from torch import nn

from edgewise.bases import BSpline, Fourier, Gaussian
from edgewise.core import InputError, generator, seeded
from edgewise.encoders import EXPERTS, KMOTE
from edgewise.encoders.kmote import Standardised
from edgewise.layers import KANLinear

FOUR = ("fourier", "spline", "gaussian", "wavelet")


def make(dim=12, experts=FOUR, seed=0, **options):
    with seeded(seed, "kmote"):
        return KMOTE(dim, experts, **options)


def drawn(*shape, seed=0):
    return torch.rand(*shape, generator=generator(seed, "times"), dtype=torch.float64)


def clustered(S=64, L=60):
    """Three bursts, 1 % wide, and silence between them."""
    centre = torch.tensor([0.1, 0.15, 0.9])[torch.randint(0, 3, (S, L), generator=generator(1))]
    return (centre + 0.005 * torch.randn(S, L, generator=generator(2))).double().sort(-1).values


DATA = {
    "uniform": lambda: drawn(64, 60).sort(-1).values,
    "clustered": clustered,
    "pixels": lambda: (784 * drawn(64, 60)).long().sort(-1).values,
    "unix seconds": lambda: 1_700_000_000 + (1e6 * drawn(64, 60)).long().sort(-1).values,
    "heavy tail": lambda: (10 * drawn(64, 60)).exp().sort(-1).values,
}


def spread(encoder, times):
    """The standard deviation of each expert over the events, the mean over its dimensions."""
    curves = encoder.curves(times.flatten())
    return {
        name: curves[f"expert:{name}"].detach().double().std(0).mean().item()
        for name in encoder.expert_names
    }


@pytest.mark.parametrize("data", DATA)
def test_at_the_start_all_experts_vary_alike(data):
    times = DATA[data]()
    encoder = make(16).fit_scale(times)
    found = spread(encoder, times)
    assert max(found.values()) < 3 * min(found.values())
    assert max(found.values()) == pytest.approx(1, abs=0.1)
    for name in encoder.expert_names:
        values = encoder.curves(times.flatten())[f"expert:{name}"]
        assert values.mean(0).abs().max() < 0.01
        assert values.std(0).min() > 0.5, "each dimension of it"


@pytest.mark.parametrize("data", DATA)
def test_at_the_start_no_expert_is_out_of_reach(data):
    times = DATA[data]()
    encoder = make(16).fit_scale(times)
    encoder(times)
    assert encoder.usage()["selected"].min() > 0.03
    assert encoder.usage()["weight"].min() > 0.1
    assert encoder.usage()["entropy"] > 0.9


@pytest.mark.parametrize("data", DATA)
def test_after_training_no_expert_is_constant(data):
    """A function of time with slow, fast and local parts, from noisy values."""
    times = DATA[data]()[:16]
    encoder = make(16).fit_scale(times)
    with seeded(0, "head"):
        head = nn.Linear(16, 1)
    tau = encoder.normalise(times)
    target = torch.sin(9 * tau) + (tau > 0.5) + torch.cos(60 * tau)
    target = (target + 0.1 * torch.randn(tau.shape, generator=generator(5))).float().unsqueeze(-1)
    before = spread(encoder, times)
    optimiser = torch.optim.Adam([*encoder.parameters(), *head.parameters()], lr=0.01)
    losses = []
    for _ in range(80):
        optimiser.zero_grad()
        loss = (head(encoder(times)) - target).square().mean()
        loss.backward()
        optimiser.step()
        losses.append(loss.item())
    after = spread(encoder, times)
    assert losses[-1] < 0.3 * losses[0]
    for name, value in after.items():
        assert value > 0.1 * before[name], name


def phi_of(layer, encoder, t):
    """Trend and seasons of one expert at one time, without standardisation."""
    phases = [math.fmod(float(nu * t), 1.0) for nu in encoder.log_rhythms.exp()]
    x = torch.tensor([float(t), *phases], dtype=torch.float64)
    seasons = [layer.basis(x[i]) @ layer.coefficients[:, i] for i in range(layer.in_features)]
    return torch.stack(seasons).sum(0) + layer.bias


def by_definition(encoder, times):
    """Each time on its own: all experts, the k largest gates, multiplied by k."""
    tau = encoder.normalise(times)
    omega = encoder.router_log_omega.exp()
    rows = []
    for t in tau:
        seen = torch.cat([(2 * t - 1).view(1), (omega * t).cos(), (omega * t).sin()])
        r = encoder.mixture.router(seen.view(1, -1))[0]
        k = encoder.mixture.top_k
        chosen = r.argsort(descending=True)[:k]
        gates = torch.zeros_like(r).index_copy(0, chosen, r[chosen].softmax(0))
        parts = []
        for gate, expert in zip(gates, encoder.mixture.experts, strict=True):
            phi = phi_of(expert.module, encoder, t)
            parts.append(k * gate * (phi - expert.mean) / expert.std)
        joined = encoder.mixture.combine == "concat"
        rows.append(torch.cat(parts) if joined else torch.stack(parts).sum(0))
    return torch.stack(rows)


@pytest.mark.parametrize("k", [1, 2, 4])
@pytest.mark.parametrize("combine", ["concat", "sum"])
@pytest.mark.parametrize("rhythms", [0, 1, 3])
def test_it_is_its_formula(k, combine, rhythms):
    times = 50 * drawn(63)
    encoder = make(10, top_k=k, combine=combine, rhythms=rhythms).fit_scale(times).double()
    for name, expert in zip(FOUR, encoder.mixture.experts, strict=True):
        assert expert.module.in_features == (1 if name == "fourier" else 1 + rhythms)
    expected = by_definition(encoder, times)
    torch.testing.assert_close(encoder(times), expected, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("name", FOUR)
@pytest.mark.parametrize("combine", ["concat", "sum"])
def test_with_one_expert_it_is_that_expert_standardised(name, combine):
    times = 50 * drawn(4, 25)
    encoder = make(6, [name], top_k=1, combine=combine).fit_scale(times).double()
    layer, tau = encoder.mixture.experts[0].module, encoder.normalise(times).flatten()
    phi = torch.stack([phi_of(layer, encoder, t) for t in tau])
    expected = (phi - phi.mean(0)) / phi.std(0, unbiased=False)
    torch.testing.assert_close(encoder(times).view(-1, 6), expected, rtol=1e-5, atol=1e-5)


def test_standardised_has_mean_zero_and_variance_one_with_weights():
    module = Standardised(nn.Linear(1, 3), 3)
    x = drawn(40, 1)
    weight = torch.randint(1, 5, (40,), generator=generator(0)).double()
    with torch.no_grad():
        module.fit(x, weight)
        y = module(x).double().repeat_interleave(weight.long(), 0)
    assert y.mean(0).abs().max() < 1e-4
    assert (y.std(0, unbiased=False) - 1).abs().max() < 1e-4


def test_fit_scale_gives_the_fourier_expert_the_rhythm_of_the_data():
    beat = torch.randint(0, 40, (100, 80), generator=generator(0)) + 0.02 * drawn(100, 80)
    encoder = make(8).fit_scale((25 * beat + 5).sort(-1).values)
    assert (encoder.log_rhythms.exp() * 25 / encoder.span - 1).abs() < 0.01
    rhythm = 2 * math.pi * encoder.span / 25
    expert = encoder.mixture.experts[0].module.basis.omega.detach()
    assert (expert / rhythm - 1).abs().min() < 0.01
    assert (encoder.router_log_omega.exp() / rhythm - 1).abs().min() < 0.01
    assert isinstance(encoder.mixture.experts[0].module.basis, Fourier)


def test_fit_scale_puts_gaussian_centres_where_the_events_are():
    times = clustered()
    encoder = make(8).fit_scale(times)
    tau = encoder.normalise(times).flatten()
    mu = encoder.mixture.experts[2].module.basis.mu
    nearest = (mu[:, None] - tau).abs().min(-1).values
    assert (nearest < 0.02).double().mean() > 0.9


# Usage


def counted(encoder, times):
    """Usage event by event, from the router's own numbers."""
    rows = []
    E = len(encoder.expert_names)
    selected, weight, entropy = torch.zeros(E), torch.zeros(E), 0.0
    for t in times:
        encoder(t.view(1))
        rows.append(1)
        p = encoder.routing.probabilities[0].detach()
        selected[encoder.routing.selected[0]] += 1
        weight += p
        entropy -= (p * p.log()).sum().item() / math.log(E)
    return selected / selected.sum(), weight / len(rows), entropy / len(rows)


@pytest.mark.parametrize("shared", [True, False])
def test_usage_is_counted_by_event_and_leaves_padding_out(shared):
    times = (30 * drawn(5, 20)).round().sort(-1).values
    mask = torch.arange(20) < torch.tensor([20, 11, 5, 1, 0])[:, None]
    encoder = make().fit_scale(times, mask)
    encoder.deduplicate = shared
    expected = counted(encoder, times[mask])
    for more in (0, 44):
        pad = nn.functional.pad
        encoder(pad(times, (0, more)), pad(mask, (0, more)))
        usage = encoder.usage()
        for found, value in zip(usage.values(), expected, strict=True):
            torch.testing.assert_close(
                found.double(), torch.as_tensor(value).double(), rtol=1e-5, atol=1e-6
            )
        assert encoder.routing.counts.sum() == 37
    assert list(usage) == ["selected", "weight", "entropy"]
    assert all(not value.requires_grad for value in usage.values())


def test_usage_needs_a_forward_pass():
    with pytest.raises(InputError) as caught:
        make().usage()
    assert str(caught.value) == "usage is known after a forward pass; call the encoder first"


def test_usage_of_one_expert_is_all_of_it():
    encoder = make(4, ["spline"], top_k=1)
    encoder(drawn(9))
    usage = encoder.usage()
    assert (usage["selected"].item(), usage["weight"].item(), usage["entropy"].item()) == (1, 1, 0)


# Experts of any number and kind


class Own(nn.Module):
    def __init__(self, dim):
        super().__init__()
        self.net = nn.Sequential(nn.Linear(1, 8), nn.Tanh(), nn.Linear(8, dim))

    def forward(self, x):
        return self.net(x)


class TwoBumps(Gaussian):
    def __init__(self):
        super().__init__(centers=2, domain=(0.0, 1.0))


@pytest.mark.parametrize(
    ("experts", "names"),
    [
        (["spline"], ("spline",)),
        (["wavelet", "fourier"], ("wavelet", "fourier")),
        ([*FOUR, "bspline"], (*FOUR, "bspline")),
        (["fourier", "spline", "fourier"], ("fourier-1", "spline", "fourier-3")),
        ([BSpline(7, 2, (0.0, 1.0)), "spline"], ("bspline", "spline")),
        ([f"{__name__}:TwoBumps", TwoBumps()], (f"{__name__}:TwoBumps", "twobumps")),
        ([Own(4), "spline", Own(4)], ("own-1", "spline", "own-3")),
        ([KANLinear(1, 6, Fourier(3)), "gaussian"], ("kanlinear", "gaussian")),
    ],
)
def test_any_number_and_kind_of_experts(experts, names):
    times = 9 * drawn(4, 20)
    top = min(2, len(names))
    encoder = make(12, experts, top_k=top).fit_scale(times)
    assert encoder.expert_names == names
    y = encoder(times)
    assert y.shape == (4, 20, 12)
    assert y.dtype == torch.float32
    y.square().mean().backward()
    assert all(p.grad.isfinite().all() for p in encoder.parameters() if p.grad is not None)
    curves = encoder.curves(times[0])
    assert list(curves) == [*(f"expert:{name}" for name in names), "router"]
    for name, std in spread(encoder, times).items():
        assert std == pytest.approx(1, abs=0.1), name


@pytest.mark.parametrize(("dim", "count"), [(12, 4), (13, 4), (7, 5), (5, 5), (3, 1)])
def test_experts_share_the_dimensions_evenly(dim, count):
    encoder = make(dim, ["spline"] * count, top_k=1)
    curves = encoder.curves(drawn(5))
    widths = [value.shape[-1] for key, value in curves.items() if key != "router"]
    assert sum(widths) == dim
    assert max(widths) - min(widths) <= 1
    assert curves["router"].shape == (5, count)
    torch.testing.assert_close(curves["router"].sum(-1), torch.ones(5))
    summed = make(dim, ["spline"] * count, top_k=1, combine="sum").curves(drawn(5))
    assert all(v.shape[-1] == dim for k, v in summed.items() if k != "router")


def test_blocks_of_experts_that_were_not_chosen_are_zero():
    encoder = make(12, top_k=1)
    y = encoder(drawn(50)).view(50, 4, 3)
    used = (y != 0).any(-1)
    assert (used.sum(-1) == 1).all()


def test_curves_are_what_the_gates_multiply():
    encoder = make(12, top_k=4).double()
    times = drawn(20)
    curves = encoder.curves(times)
    p = curves.pop("router")
    joined = torch.cat([4 * p[:, e : e + 1] * v for e, v in enumerate(curves.values())], -1)
    torch.testing.assert_close(encoder(times), joined)


def test_layer_norm_comes_last():
    y = make(12, layer_norm=True)(drawn(9))
    torch.testing.assert_close(y.mean(-1), torch.zeros(9), rtol=0, atol=1e-5)


# The router


def test_event_features_change_the_routing():
    encoder = make(12, router_features=2)
    times = drawn(1, 40).expand(30, -1)
    features = 3 * torch.randn(30, 40, 2, generator=generator(0))
    encoder(times, None, features)
    p = encoder.routing.probabilities.view(30, 40, 4)
    assert p.std(0).mean() > 0.01, "at one time, for different features"
    encoder(times, None, torch.zeros_like(features))
    blank = encoder.routing.probabilities.view(30, 40, 4)
    assert blank.std(0).max() < 1e-6
    torch.testing.assert_close(encoder.curves(times[0])["router"], blank[0])


def test_event_features_get_gradients_through_the_gates():
    encoder = make(12, router_features=2)
    features = torch.randn(3, 9, 2, requires_grad=True)
    encoder(drawn(3, 9), None, features).square().sum().backward()
    assert (features.grad != 0).any()


@pytest.mark.parametrize("count", [0, 1, 8])
def test_the_router_sees_the_bare_time_and_as_many_rhythms_as_asked(count):
    encoder = make(12, router_frequencies=count).fit_scale(50 * drawn(8, 30))
    assert encoder.mixture.router[0].in_features == 1 + 2 * count
    assert encoder(50 * drawn(9)).isfinite().all()


def test_half_precision_holds_the_frequencies_of_twenty_thousand_steps():
    encoder = make(12).fit_scale(torch.arange(20_000)[None]).half()
    assert encoder(torch.arange(100)).isfinite().all()


LISTING = "(known: fourier, spline, gaussian, wavelet, bspline, chebyshev, rational)"


@pytest.mark.parametrize(
    ("arguments", "options", "message"),
    [
        (
            (12, ["spline", "waveled"]),
            {},
            f"unknown time expert 'waveled': did you mean 'wavelet'? {LISTING}",
        ),
        (
            (12, "fourier"),
            {},
            "experts must be a list of time experts, got the word 'fourier'; for a single one "
            "write ['fourier']",
        ),
        ((12, []), {}, "experts must name at least one time expert, got none"),
        ((12, [Own]), {}, f"a time expert must be a name, a basis or a module, got {Own!r}"),
        (
            (3,),
            {},
            "combine='concat' needs a dimension for each of 4 experts, got dim=3; use "
            "combine='sum' or fewer experts",
        ),
        ((12,), {"top_k": 5}, "top_k must lie between 1 and the number of experts, 4, got 5"),
        ((12,), {"top_k": 0}, "top_k must lie between 1 and the number of experts, 4, got 0"),
        ((12,), {"combine": "mean"}, "combine must be 'sum' or 'concat', got 'mean'"),
    ],
)
def test_bad_input_is_refused_word_by_word(arguments, options, message):
    with pytest.raises(InputError) as caught:
        KMOTE(*arguments, **options)
    assert str(caught.value) == message


@pytest.mark.parametrize("given", [1, 5])
def test_an_expert_of_another_width_is_refused(given):
    with pytest.raises(InputError) as caught:
        KMOTE(8, ["spline", Own(given)])
    assert str(caught.value) == f"the time expert Own must give 4 numbers for a time, got {given}"


def test_every_registered_expert_lives_on_the_clock():
    for name, make_basis in ((n, EXPERTS.resolve(n)) for n in EXPERTS):
        basis = make_basis()
        inside = basis(torch.linspace(0, 1, 400, dtype=torch.float64)).detach()
        assert (inside.std(0) > 0).sum() >= basis.size - 1, name


def test_the_order_of_experts_is_the_order_of_blocks():
    pair = [["spline", "wavelet"], ["wavelet", "spline"]]
    names = [make(8, experts).expert_names for experts in pair]
    assert names == [tuple(experts) for experts in pair]
    for experts in itertools.permutations(FOUR):
        assert make(8, experts).expert_names == experts


@pytest.mark.parametrize(("scale", "shift"), [(1e-3, 0.0), (3.7, -1e4), (0.1, 0.3), (86_400, 1e9)])
def test_the_seam_of_a_rhythm_does_not_depend_on_the_unit(scale, shift):
    """Ten parts of a hundred steps: every tenth time is both the end and the start of a cycle."""
    times = torch.arange(101, dtype=torch.float64)
    encoder = make().fit_scale(times)
    assert encoder.log_rhythms.exp().item() == pytest.approx(10)
    other = make().fit_scale(times * scale + shift)
    torch.testing.assert_close(other(times * scale + shift), encoder(times), rtol=1e-4, atol=1e-4)
