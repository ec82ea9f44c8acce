import pytest
import torch

from edgewise.core import InputError, generator, seeded
from edgewise.encoders import KANMAMMOTE


def make(dim=12, seed=0, **options):
    with seeded(seed, "mammote"):
        return KANMAMMOTE(dim, **options).double()


def times_of(B=3, L=30, seed=0):
    return (50 * torch.rand(B, L, generator=generator(seed), dtype=torch.float64)).sort(-1).values


@pytest.mark.parametrize("layers", [1, 2])
def test_what_comes_later_does_not_matter(layers):
    times = times_of()
    encoder = make(layers=layers).fit_scale(times)
    whole = encoder(times)
    for cut in (1, 7, 24, 29):
        changed = torch.cat([times[:, :cut], times[:, cut:] * 3 + 11], -1)
        same = encoder(changed)[:, :cut]
        torch.testing.assert_close(same, whole[:, :cut], rtol=1e-9, atol=1e-9)
        torch.testing.assert_close(encoder(times[:, :cut]), same, rtol=1e-9, atol=1e-9)
        assert not torch.allclose(encoder(changed)[:, cut], whole[:, cut])


def test_what_came_before_matters():
    times = times_of()
    encoder = make().fit_scale(times)
    changed = times.clone()
    changed[:, 3] = (times[:, 2] + times[:, 4]) / 2 + 0.01
    moved = (encoder(changed) - encoder(times)).abs().amax((0, 2))
    assert (moved[:3] == 0).all()
    assert (moved[3:8] > 1e-6).all()


def test_it_is_its_formula():
    times = times_of(B=2, L=9)
    encoder = make(dim=8, feature_dim=3).fit_scale(times)
    f = torch.randn(2, 9, 3, dtype=torch.float64)
    e = encoder.kmote(times)
    previous = torch.cat([e[:, :1], e[:, :-1]], 1)
    r = encoder.relative(e - previous)
    h = encoder.mix(torch.cat([e, r, f], -1))
    wait = (times - torch.cat([times[:, :1], times[:, :-1]], 1)) / encoder.gap
    first = torch.zeros(2, 9, 1).double()
    first[:, 0] = 1
    gap = torch.cat([r, torch.log(1 + wait).unsqueeze(-1), first], -1)
    everything = torch.ones(2, 9, dtype=torch.bool)
    h = h + encoder.blocks[0](encoder.norms[0](h), everything, gap)
    torch.testing.assert_close(encoder(times, None, f), encoder.norm(h), rtol=1e-10, atol=1e-10)


def test_a_longer_wait_changes_what_is_kept():
    encoder = make().fit_scale(times_of())
    with torch.no_grad():
        encoder.blocks[0].gap_proj.weight.zero_()
        encoder.blocks[0].gap_proj.weight[:, -2] = 1.0  # the wait
    near, far = times_of(B=1, L=10), times_of(B=1, L=10)
    far[:, 5:] += 30
    gaps = [encoder._gaps(t, torch.ones_like(t, dtype=torch.bool))[0] for t in (near, far)]
    assert torch.equal(gaps[0][:5], gaps[1][:5])
    assert gaps[1][5, 0] > gaps[0][5, 0]
    torch.testing.assert_close(gaps[0][6:], gaps[1][6:])


def test_experts_usage_and_curves_are_those_of_its_kmote():
    encoder = make(experts=["spline", "fourier"]).fit_scale(times_of())
    encoder(times_of())
    assert encoder.expert_names == ("spline", "fourier")
    assert encoder.usage()["selected"].sum().item() == pytest.approx(1)
    assert set(encoder.curves(times_of()[0])) == {"expert:spline", "expert:fourier", "router"}
    assert (encoder.kmote.origin, encoder.kmote.span) == (encoder.origin, encoder.span)


def test_a_single_time_is_no_sequence():
    with pytest.raises(InputError) as caught:
        make()(torch.tensor(3.0))
    assert str(caught.value) == "KANMAMMOTE encodes sequences, got a single time without an axis"
