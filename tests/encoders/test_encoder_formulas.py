"""Encoders against their formulas, written out slowly."""

import math

import pytest
import torch

from edgewise.core import InputError, seeded
from edgewise.encoders import (
    FourierTime,
    LearnedPosition,
    LeTE,
    RawTime,
    Sinusoidal,
    Time2Vec,
    make_encoder,
)
from edgewise.encoders.periods import log_spaced_omega

TIMES = torch.tensor([3.0, 4.5, 10.0, 11.0, 28.0, 53.0], dtype=torch.float64)
"""Of span 50; the waits are 1.5, 5.5, 1, 17 and 25, their median 5.5."""

TAU, STEPS = (TIMES - 3) / 50, 50 / 5.5


def fitted(kind, *arguments, **options):
    with seeded(0, "formulas"):
        return kind(*arguments, **options).fit_scale(TIMES).double()


def assert_is(found, expected, tolerance=1e-12):
    torch.testing.assert_close(found, expected, rtol=tolerance, atol=tolerance)


def test_raw_time_is_one_affine_map():
    encoder = fitted(RawTime, 3)
    w, b = encoder.affine.weight[:, 0], encoder.affine.bias
    assert_is(encoder(TIMES), (2 * TAU - 1)[:, None] * w + b)


@pytest.mark.parametrize("dim", [1, 2, 3, 8])
def test_time2vec_is_one_line_and_sines_with_given_rates(dim):
    encoder = fitted(Time2Vec, dim)
    omega = torch.linspace(0.3, 20, dim, dtype=torch.float64)
    phi = torch.linspace(-1, 1, dim, dtype=torch.float64)
    with torch.no_grad():
        encoder.omega.copy_(omega)
        encoder.phi.copy_(phi)
    expected = [omega[0] * TAU + phi[0]]
    expected += [torch.sin(omega[i] * TAU + phi[i]) for i in range(1, dim)]
    assert_is(encoder(TIMES), torch.stack(expected, -1))


def test_time2vec_starts_on_periods_from_two_gaps_to_two_spans():
    encoder = fitted(Time2Vec, 9)
    periods = 2 * math.pi / encoder.omega[1:].detach()
    assert_is(periods[[0, -1]], torch.tensor([2 / STEPS, 2.0]).double(), 1e-6)
    assert (encoder.omega[0], encoder.phi[0]) == (1, 0)


@pytest.mark.parametrize("dim", [1, 2, 5, 32])
def test_sinusoidal_is_the_transformers_formula_in_gaps(dim):
    encoder = fitted(Sinusoidal, dim)
    u = TAU * STEPS
    expected = []
    for k in range(dim):
        angle = u / 10_000 ** (2 * (k // 2) / dim)
        expected.append(angle.cos() if k % 2 else angle.sin())
    assert_is(encoder(TIMES), torch.stack(expected, -1))
    assert not list(encoder.parameters())


@pytest.mark.parametrize("dim", [1, 2, 7, 32])
def test_fourier_time_is_cosines_then_sines(dim):
    encoder = fitted(FourierTime, dim)
    half = (dim + 1) // 2
    omega = encoder.omega.detach()
    assert_is(omega, log_spaced_omega(half, STEPS), 1e-5)
    expected = [torch.cos(w * TAU) for w in omega] + [torch.sin(w * TAU) for w in omega]
    assert_is(encoder(TIMES), torch.stack(expected[:dim], -1))


def test_frozen_and_learned_fourier_time_start_alike():
    learned, frozen = fitted(FourierTime, 8), make_encoder("fourier-fixed", 8).fit_scale(TIMES)
    assert_is(frozen.double()(TIMES), learned(TIMES).detach())
    assert not list(frozen.parameters())
    assert len(list(learned.parameters())) == 1


def test_learned_position_is_a_row_of_a_table():
    encoder = LearnedPosition(3, positions=11).fit_scale(torch.tensor([0, 100]))
    W = encoder.table.weight
    times = torch.tensor([0, 4, 6, 50, 94, 96, 100, 100_000, -7])
    rows = torch.tensor([0, 0, 1, 5, 9, 10, 10, 10, 0])
    assert torch.equal(encoder(times), W[rows])
    with pytest.raises(InputError) as caught:
        LearnedPosition(3, positions=0)
    assert str(caught.value) == "positions must be a whole number of at least 1, got 0"


def test_learned_position_tells_pixels_apart():
    encoder = LearnedPosition(2).fit_scale(torch.arange(784))
    assert torch.equal(encoder(torch.arange(784)), encoder.table.weight)


# LeTE, from its docstring


def cubic(x, j):
    """The j-th of 8 cubic B-splines on five cells of [-1, 1], by the recursion; 0 outside."""
    knots = [-1 + 0.4 * (i - 3) for i in range(12)]

    def B(j, k):
        if k == 0:
            return 1.0 if knots[j] <= x < knots[j + 1] else 0.0
        left = (x - knots[j]) / (knots[j + k] - knots[j])
        right = (knots[j + k + 1] - x) / (knots[j + k + 1] - knots[j + 1])
        return left * B(j, k - 1) + right * B(j + 1, k - 1)

    return B(j, 3)


def lete_by_loops(encoder, tau):
    """One time, dimension by dimension."""
    F_, S = encoder.parts
    x = [encoder.omega[i].item() * tau + encoder.shift[i].item() for i in range(F_ + S)]
    y = []
    for o in range(F_):
        c = encoder.fourier.coefficients
        total = 0.0
        for i in range(F_):
            total += c[0, i, o].item()
            for m in range(1, 6):
                total += c[m, i, o].item() * math.cos(m * x[i])
                total += c[5 + m, i, o].item() * math.sin(m * x[i])
        y.append(total)
    for o in range(S):
        layer = encoder.spline
        total = 0.0
        for i in range(S):
            z = x[F_ + i]
            total += layer.base_weight[i, o].item() * math.tanh(z)
            total += sum(layer.coefficients[k, i, o].item() * cubic(z, k) for k in range(8))
        y.append(total)
    y = torch.tensor(y, dtype=torch.float64)
    if encoder.norm is not None:
        y = (y - y.mean()) / (y.var(unbiased=False) + 1e-5).sqrt()
        y = y * encoder.norm.weight + encoder.norm.bias
    return y if encoder.scale is None else y * encoder.scale


@pytest.mark.parametrize("options", [{}, {"p": 0.3, "rates": "published"}, {"layer_norm": False}])
@pytest.mark.parametrize("p", [0.0, 0.5, 1.0])
def test_lete_is_its_docstring(options, p):
    encoder = fitted(LeTE, 6, **{"p": p, **options})
    with torch.no_grad():
        encoder.shift.uniform_(-0.5, 0.5)
        if encoder.scale is not None:
            encoder.scale.uniform_(0.5, 2)
    expected = torch.stack([lete_by_loops(encoder, float(tau)) for tau in TAU])
    assert_is(encoder(TIMES), expected, 1e-10)


def test_letes_rates_fall_over_as_many_decades_as_the_data_spans():
    encoder = LeTE(8).fit_scale(torch.arange(1001))
    decades = -(encoder.omega.detach() / 1000).log10()
    assert_is(decades, torch.tensor([0.0, 1, 2, 3, 0, 1, 2, 3]), 1e-5)
    published = LeTE(8, rates="published").fit_scale(torch.arange(1001))
    assert_is(-(published.omega.detach() / 1000).log10(), torch.tensor([0.0, 3, 6, 9] * 2), 1e-5)


def test_letes_norm_and_scale_need_both_parts():
    for p, there in ((0.0, False), (0.5, True), (1.0, False)):
        encoder = LeTE(6, p=p)
        assert (encoder.norm is not None, encoder.scale is not None) == (there, there)
    assert LeTE(6, layer_norm=False).norm is None
    assert LeTE(6, scale=False).scale is None


def test_far_out_the_lete_splines_are_silent():
    encoder = fitted(LeTE, 6, p=0.0)
    far = torch.tensor([1e12, 2e12], dtype=torch.float64)
    y = encoder(far)
    tanh = torch.tanh(torch.full((6,), 99.0)).double() @ encoder.spline.base_weight
    assert_is(y, tanh.expand(2, -1))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"p": 1.5}, "p must lie between 0 and 1, got 1.5"),
        ({"rates": "paper"}, "rates must be 'span' or 'published', got 'paper'"),
    ],
)
def test_lete_refuses_word_by_word(options, message):
    with pytest.raises(InputError) as caught:
        LeTE(6, **options)
    assert str(caught.value) == message


def test_no_encoder_is_an_affine_map_but_the_raw_one():
    grid = torch.linspace(3, 53, 200, dtype=torch.float64)
    design = torch.stack([torch.ones(200).double(), grid], -1)
    for name in ("raw", "time2vec", "fourier", "lete", "kmote", "sinusoidal"):
        with seeded(0):
            y = make_encoder(name, 16).fit_scale(grid).double()(grid).detach()
        fit = design @ torch.linalg.lstsq(design, y).solution
        assert ((fit - y).abs().max() < 1e-9) == (name == "raw")
