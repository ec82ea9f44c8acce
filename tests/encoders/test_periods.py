import math

import pytest
import torch

from edgewise.core import generator
from edgewise.encoders.periods import fundamentals, log_spaced_omega, spectral_omega


@pytest.mark.parametrize("count", [0, 1, 2, 3, 32])
@pytest.mark.parametrize("steps", [2.0, 783.0, 1e7])
def test_periods_run_evenly_from_two_gaps_to_two_spans(count, steps):
    omega = log_spaced_omega(count, steps)
    assert omega.shape == (count,)
    assert omega.dtype == torch.float64
    if count:
        assert omega[0].item() == pytest.approx(math.pi * steps)
    if count > 1:
        assert omega[-1].item() == pytest.approx(math.pi)
        ratios = omega[1:] / omega[:-1]
        torch.testing.assert_close(ratios, ratios[:1].expand_as(ratios))


def test_fewer_than_one_gap_is_one():
    assert log_spaced_omega(3, 0.01).tolist() == pytest.approx([math.pi] * 3)


def noise(S, L, seed=0):
    tau = torch.rand(S, L, generator=generator(seed, "noise"), dtype=torch.float64)
    return tau.sort(-1).values


def events(S, L, cycles, own_phase, part=0.5, seed=0):
    """Half of the events near the beats of a rhythm, the others anywhere."""
    g = generator(seed, "events")
    beat = torch.randint(0, int(cycles), (S, L), generator=g)
    phase = torch.rand(S, 1, generator=g) if own_phase else torch.full((S, 1), 0.3)
    jitter = 0.05 * torch.randn(S, L, generator=g)
    rhythm = ((beat + phase + jitter) / cycles).clamp(0, 1).double()
    with_rhythm = torch.rand(S, L, generator=g) < part
    return torch.where(with_rhythm, rhythm, noise(S, L, seed + 1)).sort(-1).values


def everything(tau):
    return torch.ones_like(tau, dtype=torch.bool)


@pytest.mark.parametrize("cycles", [9.0, 50.5, 333.0])
@pytest.mark.parametrize("own_phase", [False, True])
@pytest.mark.parametrize("S", [1, 4, 100])
def test_a_planted_rhythm_is_found_with_nothing_but_its_overtones(cycles, own_phase, S):
    tau = events(S, 400, cycles, own_phase)
    found = spectral_omega(tau, everything(tau), 4, steps=2000.0) / (2 * math.pi)
    assert (found - cycles).abs().min() < 0.5
    overtone = (found / cycles).round()
    assert (found - overtone * cycles).abs().max() < 1.0


def test_two_rhythms_are_both_found_the_stronger_first():
    tau = torch.cat([events(60, 300, 20.0, True), events(60, 100, 73.0, True, seed=5)], -1)
    found = spectral_omega(tau, everything(tau), 6, steps=1000.0) / (2 * math.pi)
    # Overtones of the stronger may stand above the weaker.
    assert found[0].item() == pytest.approx(20.0, abs=0.3)
    assert (found - 73.0).abs().min() < 0.3


@pytest.mark.parametrize("S", [1, 2, 8, 64, 512])
def test_noise_has_no_rhythm(S):
    """A false alarm is one in a hundred data sets, by design."""
    found = [
        len(spectral_omega(tau, everything(tau), 16, steps=1000.0))
        for tau in (noise(S, 200, seed) for seed in range(12 if S < 512 else 2))
    ]
    assert sum(found) <= 1


def test_padding_is_not_looked_at():
    tau = events(30, 200, 40.0, True)
    mask = torch.rand(tau.shape, generator=generator(3)) < 0.7
    dirty = tau.masked_fill(~mask, math.nan)
    clean = tau.masked_fill(~mask, 0.0)
    found = spectral_omega(dirty, mask, 8, 500.0)
    assert len(found)
    assert torch.equal(found, spectral_omega(clean, mask, 8, 500.0))


def test_at_most_count_and_none_above_half_the_sampling():
    beats = torch.arange(0, 1, 1 / 25, dtype=torch.float64).expand(10, -1)
    cycles = spectral_omega(beats, everything(beats), 100, steps=200.0) / (2 * math.pi)
    # An exact beat has all harmonics.
    assert cycles.sort().values.tolist() == pytest.approx([25, 50, 75, 100], abs=0.1)
    assert len(spectral_omega(beats, everything(beats), 2, steps=200.0)) == 2
    assert len(spectral_omega(beats, everything(beats), 100, steps=12.0)) == 0


def test_one_sequence_or_none_with_events_will_do():
    tau = events(1, 500, 30.0, False)[0]
    found = spectral_omega(tau, everything(tau), 1, 500.0) / (2 * math.pi)
    assert found.tolist() == pytest.approx([30.0], abs=0.3)
    rest = torch.zeros(3, 5, dtype=torch.float64)
    assert len(spectral_omega(rest, torch.zeros(3, 5, dtype=torch.bool), 4, 500.0)) == 0


@pytest.mark.parametrize(
    ("cycles", "count", "expected"),
    [
        ([28.0, 56.0, 84.1, 10.0], 2, [28.0, 10.0]),
        ([28.0, 56.0, 84.1, 10.0], 3, [28.0, 10.0, 28.0]),
        ([50.0, 25.0], 2, [50.0, 25.0]),
        ([20.0, 47.0, 94.0], 2, [20.0, 47.0]),
        ([], 1, [28.0]),
        ([], 3, [784**0.25, 784**0.5, 784**0.75]),
        ([7.0], 0, []),
    ],
)
def test_fundamentals_are_rhythms_but_no_overtones(cycles, count, expected):
    omega = 2 * math.pi * torch.tensor(cycles, dtype=torch.float64)
    found = fundamentals(omega, count, steps=784)
    assert found.tolist() == pytest.approx(expected)
    assert found.dtype == torch.float64
