"""Whatever is registered as an encoder keeps this contract."""

import copy
import math

import pytest
import torch
from torch import nn

import edgewise as ew
from edgewise.core import InputError, build, generator, recipe_of, seeded
from edgewise.encoders import (
    ENCODERS,
    KANMAMMOTE,
    KMOTE,
    AbstractPointwiseEncoder,
    AbstractTimeEncoder,
    FourierTime,
    LearnedPosition,
    LeTE,
    RawTime,
    Sinusoidal,
    Time2Vec,
    fixed_fourier_time,
    make_encoder,
)

RECIPES = {
    "raw": lambda dim: RawTime(dim),
    "learned": lambda dim: LearnedPosition(dim, positions=100),
    "sinusoidal": lambda dim: Sinusoidal(dim),
    "time2vec": lambda dim: Time2Vec(dim),
    "fourier": lambda dim: FourierTime(dim),
    "fourier-fixed": lambda dim: fixed_fourier_time(dim),
    "lete": lambda dim: LeTE(dim),
    "lete published": lambda dim: LeTE(dim, p=0.3, layer_norm=False, rates="published"),
    "kmote": lambda dim: KMOTE(dim),
    "kmote sum": lambda dim: KMOTE(dim, combine="sum", top_k=3, layer_norm=dim > 1),
    "kmote features": lambda dim: KMOTE(dim, ["spline", "fourier"], router_features=2),
    "kan-mammote": lambda dim: KANMAMMOTE(dim),
    "kan-mammote features": lambda dim: KANMAMMOTE(
        dim, ["fourier", "spline"], layers=2, state_dim=4, feature_dim=2
    ),
}
SHARED = ("kmote", "kmote features", "kan-mammote", "kan-mammote features")
POINTWISE = [n for n in RECIPES if "mammote" not in n]

every_encoder = pytest.mark.parametrize("name", RECIPES)


def make(name, dim=12, seed=0, fit=None):
    with seeded(seed, name):
        encoder = RECIPES[name](dim)
    return encoder if fit is None else encoder.fit_scale(*fit)


def streams(B=5, L=14, seed=0, dtype=torch.float64):
    """Rising times in 0 … 100, of lengths L, L - 3, … and 0; padding repeats zeros."""
    times = torch.rand(B, L, generator=generator(seed, "t"), dtype=torch.float64)
    times = (100 * times).sort(-1).values.to(dtype)
    lengths = torch.linspace(L, 0, B).round().long()
    mask = torch.arange(L) < lengths[:, None]
    return times * mask, mask


def features_for(encoder, shape, seed=0):
    if not encoder.feature_dim:
        return None
    return torch.randn(*shape, encoder.feature_dim, generator=generator(seed, "f"))


def encode(encoder, times, mask=None, seed=0):
    return encoder(times, mask, features_for(encoder, times.shape, seed))


def parameter_gradients(encoder, times, mask):
    encoder.zero_grad()
    y = encode(encoder, times, mask)
    if not y.requires_grad:
        return {}
    weight = torch.arange(y.numel(), dtype=y.dtype).sin().view_as(y)
    (y * weight).sum().backward()
    return {n: p.grad.clone() for n, p in encoder.named_parameters() if p.grad is not None}


def assert_same(first, second, tolerance):
    torch.testing.assert_close(first, second, rtol=tolerance, atol=tolerance)


def test_every_registered_encoder_has_a_recipe():
    assert set(ENCODERS) <= set(RECIPES)
    for name in ENCODERS:
        assert type(make(name)) is type(make_encoder(name, 12))


# Shapes and dtypes


@every_encoder
@pytest.mark.parametrize("dim", [1, 7, 32])
def test_times_become_vectors(name, dim):
    if dim == 1 and name in SHARED:
        pytest.skip("its experts share the dimensions")
    times, mask = streams()
    encoder = make(name, dim, fit=(times, mask))
    y = encode(encoder, times, mask)
    assert y.shape == (5, 14, dim)
    assert y.dtype == torch.float32
    assert y.isfinite().all()
    assert encoder.dim == dim


@every_encoder
@pytest.mark.parametrize("shape", [(1,), (63,), (0, 3), (3, 0), (1, 1), (2, 3, 4)])
def test_other_leading_shapes_will_do(name, shape):
    encoder = make(name, fit=streams()).double()
    times = 100 * torch.rand(shape, dtype=torch.float64)
    features = features_for(encoder, shape)
    y = encoder(times, None, features)
    assert y.shape == (*shape, 12)
    if times.numel():
        rows = times.reshape(-1, shape[-1])
        flat = None if features is None else features.reshape(*rows.shape, -1)
        assert_same(y.reshape(*rows.shape, 12), encoder(rows, None, flat), 1e-10)


@every_encoder
def test_every_dtype_of_times_is_understood(name):
    whole = torch.arange(0, 120, 3).view(4, 10)
    encoder = make(name, fit=(whole,))
    expected = encode(encoder, whole)
    for dtype in (torch.int16, torch.int32, torch.int64, torch.uint8, torch.float32, torch.float64):
        given = whole.to(dtype)
        assert torch.equal(encode(encoder, given), expected)
        again = make(name, fit=(given,))
        assert (again.origin, again.span, again.gap) == (0, 117, 3)
        assert torch.equal(encode(again, given), expected)


@every_encoder
def test_the_dtype_of_vectors_is_that_of_the_module(name):
    times, mask = streams()
    encoder = make(name, fit=(times, mask))
    for dtype in (torch.float64, torch.float32, torch.bfloat16, torch.float16):
        y = encode(encoder.to(dtype), times, mask)
        assert y.dtype == dtype
        assert y.isfinite().all()


# Padding and batches


@every_encoder
def test_padding_is_zero_and_what_stands_there_does_not_matter(name):
    times, mask = streams()
    encoder = make(name, fit=(times, mask)).double()
    expected, gradients = encode(encoder, times, mask), parameter_gradients(encoder, times, mask)
    assert (expected[~mask] == 0).all()
    for garbage in (math.nan, math.inf, -1e30):
        dirty = times.masked_fill(~mask, garbage)
        assert torch.equal(encode(encoder, dirty, mask), expected)
        found = parameter_gradients(encoder, dirty, mask)
        assert set(found) == set(gradients)
        for key, gradient in found.items():
            assert gradient.isfinite().all(), key
            assert_same(gradient, gradients[key], 1e-10)


@pytest.mark.parametrize("name", [n for n in RECIPES if "features" in n])
def test_what_stands_at_padding_does_not_matter_in_features_either(name):
    times, mask = streams()
    encoder = make(name, fit=(times, mask)).double()
    features = features_for(encoder, times.shape).double()
    dirty = features.masked_fill(~mask[..., None], math.nan)
    weight = torch.rand(5, 14, 12).double()
    results = []
    for given in (features, dirty):
        y = encoder(times, mask, given)
        results.append((y, *torch.autograd.grad((y * weight).sum(), list(encoder.parameters()))))
    for clean, found in zip(*results, strict=True):
        assert_same(found, clean, 1e-12)


@every_encoder
def test_fit_scale_does_not_look_at_padding(name):
    times, mask = streams()
    dirty = times.masked_fill(~mask, math.nan)
    first, second = make(name, fit=(times, mask)), make(name, fit=(dirty, mask))
    for key, value in first.state_dict().items():
        assert torch.equal(value, second.state_dict()[key]), key


@every_encoder
def test_padding_further_shuffling_and_splitting_change_nothing(name):
    times, mask = streams(B=6, L=27)
    encoder = make(name, fit=(times, mask)).double()
    features = features_for(encoder, times.shape)

    def read(index, more=0):
        pad = nn.functional.pad
        f = None if features is None else pad(features[index], (0, 0, 0, more))
        return encoder(pad(times[index], (0, more)), pad(mask[index], (0, more)), f)

    whole = read(torch.arange(6))
    further = read(torch.arange(6), more=36)
    assert_same(further[:, :27], whole, 1e-9)
    assert (further[:, 27:] == 0).all()
    order = torch.tensor([3, 0, 5, 1, 4, 2])
    assert_same(read(order), whole[order], 1e-9)
    halves = torch.cat([read(torch.arange(2)), read(torch.arange(2, 6))])
    assert_same(halves, whole, 1e-9)
    one = read(torch.tensor([2]))
    assert_same(one[0], whole[2], 1e-9)


@every_encoder
def test_no_valid_time_at_all_is_fine(name):
    encoder = make(name, fit=streams())
    times = torch.zeros(2, 3)
    y = encode(encoder, times, torch.zeros(2, 3, dtype=torch.bool))
    assert (y == 0).all()
    if y.requires_grad:
        y.sum().backward()
        gradients = [p.grad for p in encoder.parameters() if p.grad is not None]
        assert all(g.isfinite().all() for g in gradients)


@pytest.mark.parametrize("name", POINTWISE)
def test_encoding_equal_times_once_is_exact(name):
    times, mask = streams(B=8, L=20)
    times = times.round()
    encoder = make(name, fit=(times, mask)).double()
    assert isinstance(encoder, AbstractPointwiseEncoder)
    assert len(times[mask].unique()) < mask.sum()
    results = []
    for shared in (True, False):
        encoder.deduplicate = shared
        results.append((encode(encoder, times, mask), parameter_gradients(encoder, times, mask)))
    assert_same(results[0][0], results[1][0], 1e-12)
    assert set(results[0][1]) == set(results[1][1])
    for key, gradient in results[0][1].items():
        assert_same(gradient, results[1][1][key], 1e-9)


@pytest.mark.parametrize("name", POINTWISE)
def test_equal_times_are_computed_once(name, monkeypatch):
    encoder, rows = make(name), []
    encode_ = encoder.encode
    monkeypatch.setattr(
        encoder, "encode", lambda tau, *rest: (rows.append(len(tau)), encode_(tau, *rest))[1]
    )
    encode(encoder, torch.arange(10.0).repeat(7, 2))
    assert rows == [140 if encoder.feature_dim else 10]


# The clock


@every_encoder
def test_unit_and_origin_of_time_do_not_matter(name):
    times, mask = streams(B=8, L=25)
    encoder = make(name, fit=(times, mask)).double()
    expected = encode(encoder, times, mask)
    for scale, shift in ((1e-6, 0.0), (86_400.0, 1.7e9), (3.7, -1e4)):
        moved = times * scale + shift
        other = make(name, fit=(moved, mask)).double()
        assert_same(encode(other, moved, mask), expected, 1e-5)


@every_encoder
@pytest.mark.parametrize("dtype", [torch.int64, torch.float64])
def test_unix_seconds_are_told_apart(name, dtype):
    whole = torch.arange(100).view(4, 25)
    near = make(name, fit=(whole,))
    far_times = (whole + 1_700_000_003).to(dtype)
    far = make(name, fit=(far_times,))
    expected = encode(near, whole)
    assert_same(encode(far, far_times), expected, 1e-6)
    apart = (expected.view(-1, 12)[1:] - expected.view(-1, 12)[:-1]).abs().max(-1).values
    assert apart.min() > 1e-3


@every_encoder
def test_nanoseconds_since_1970_are_told_apart(name):
    start = 1_700_000_000_000_000_000
    whole = 1000 * torch.arange(100).view(4, 25)
    near, far = make(name, fit=(whole,)), make(name, fit=(whole + start,))
    assert float(far.origin) == start
    assert_same(encode(far, whole + start), encode(near, whole), 1e-6)
    odd = start + 77 + torch.arange(0, 5000, 50)
    y = encode(make(name, fit=(odd,)), odd.view(4, 25)).view(-1, 12)
    assert (y[1:] - y[:-1]).abs().max(-1).values.min() > 1e-3


@every_encoder
def test_precision_of_the_module_does_not_touch_the_clock(name):
    times = 1_700_000_000 + 7 * torch.arange(100)
    encoder = make(name, fit=(times,))
    before = (encoder.origin, encoder.span, encoder.gap)
    assert before == (1_700_000_000, 693, 7)
    for convert in (nn.Module.half, nn.Module.bfloat16, nn.Module.float, nn.Module.double):
        convert(encoder)
        assert (encoder.origin, encoder.span, encoder.gap) == before
        assert encoder.origin.dtype == torch.float64
        y = encode(encoder, times.view(4, 25))
        assert y.isfinite().all()
        assert y.view(-1, 12).std(0).max() > 0.01


@every_encoder
def test_the_clock_of_no_and_of_one_event(name):
    encoder = make(name)
    assert (encoder.origin, encoder.span, encoder.gap, encoder.steps) == (0, 1, 1, 1)
    encoder.fit_scale(torch.tensor([5.0, 5.0]))
    assert (encoder.origin, encoder.span, encoder.gap) == (5, 1, 1)
    assert encode(encoder, torch.tensor([[5.0, 5.5, 6.0]])).abs().max() < 100


@every_encoder
def test_the_gap_is_the_median_wait_of_neighbours(name):
    times = torch.tensor([[0.0, 1.0, 3.0, 3.0, 100.0], [50.0, 52.0, 54.0, 0.0, 0.0]])
    mask = torch.tensor([[True] * 5, [True] * 3 + [False] * 2])
    encoder = make(name, fit=(times, mask))
    assert (encoder.gap, encoder.span, encoder.steps) == (2, 100, 50)


@every_encoder
def test_fit_scale_gives_the_encoder_back_and_trains_nothing(name):
    encoder = make(name)
    assert encoder.fit_scale(*streams()) is encoder
    assert all(p.grad is None for p in encoder.parameters())
    assert all(p.is_leaf for p in encoder.parameters())


@every_encoder
def test_fit_scale_refuses_word_by_word(name):
    cases = [
        (
            (torch.zeros(2, 3), torch.zeros(2, 3, dtype=torch.bool)),
            "fit_scale needs at least one valid time, got none",
        ),
        ((torch.zeros(2, 0),), "fit_scale needs at least one valid time, got none"),
        (
            (torch.tensor([0.0, math.nan]),),
            "fit_scale needs finite times, got NaN or infinity among the valid ones",
        ),
        (
            (torch.zeros(2, 3), torch.ones(2, 3)),
            "mask must be torch.bool in the shape of times, (2, 3), got torch.float32 of shape "
            "(2, 3)",
        ),
    ]
    for arguments, message in cases:
        encoder = make(name)
        with pytest.raises(InputError) as caught:
            encoder.fit_scale(*arguments)
        assert str(caught.value) == message
        assert (encoder.origin, encoder.span) == (0, 1), "left as it was"


@every_encoder
def test_outside_the_training_range_it_is_finite_and_bounded(name):
    times, mask = streams()
    encoder = make(name, fit=(times, mask))
    grid = torch.linspace(-1000, 1100, 400, dtype=torch.float64).view(4, 100)
    y = encode(encoder, grid).detach()
    assert y.isfinite().all()
    bounded = {
        "learned": encoder.table.weight.abs().max().item() if name == "learned" else 0,
        "sinusoidal": 1.0,
        "fourier": 1.0,
        "fourier-fixed": 1.0,
        "lete": math.sqrt(12),
        "kan-mammote": math.sqrt(12),
        "kan-mammote features": math.sqrt(12),
        "kmote sum": math.sqrt(12),
    }
    if name in bounded:
        assert y.abs().max() <= bounded[name] + 1e-5
    elif name == "time2vec":
        assert y[..., 1:].abs().max() <= 1
        assert y[..., 0].abs().max() == pytest.approx(10.9, rel=0.2)
    else:
        inside = encode(encoder, times, mask).abs().max()
        assert y.abs().max() < 1000 * inside, "like a straight line, not like a power"


# Files, copies, randomness


@every_encoder
def test_state_keeps_the_clock_and_all_that_was_fitted(name):
    times, mask = streams(B=8, L=40)
    times = 1.7e9 + times.square()
    encoder = make(name, fit=(times, mask))
    other = build(recipe_of(encoder))
    assert not torch.equal(encode(other, times, mask), encode(encoder, times, mask))
    other.load_state_dict(encoder.state_dict())
    assert torch.equal(encode(other, times, mask), encode(encoder, times, mask))
    assert torch.equal(encode(copy.deepcopy(encoder), times, mask), encode(encoder, times, mask))


@every_encoder
def test_a_classifier_in_a_file_keeps_it_too(name, tmp_path):
    times, mask = streams(B=8, L=40)
    encoder = make(name, fit=(1.7e9 + times.square(), mask))
    width = encoder.feature_dim
    model = ew.models.SequenceClassifier(encoder, 3, hidden_dim=5, feature_dim=width).eval()
    again = ew.load(ew.save(model, tmp_path / "model.safetensors")).eval()
    inputs = (1.7e9 + times.square(), mask.sum(-1), features_for(encoder, times.shape))
    assert torch.equal(again(*inputs), model(*inputs))
    for part in ("origin", "span", "gap"):
        assert getattr(again.encoder, part) == getattr(encoder, part)


@every_encoder
def test_the_seed_decides_and_nothing_else(name):
    first, again = make(name, seed=3), make(name, seed=3)
    state = first.state_dict()
    assert all(torch.equal(state[key], value) for key, value in again.state_dict().items())
    before = torch.random.get_rng_state()
    make(name, fit=streams())
    encode(first, streams()[0])
    assert torch.equal(torch.random.get_rng_state(), before)


@every_encoder
def test_reading_changes_neither_state_nor_inputs(name):
    times, mask = streams()
    encoder = make(name, fit=(times, mask))
    before, state = times.clone(), copy.deepcopy(encoder.state_dict())
    encode(encoder, times, mask)
    encoder.curves(times[0])
    assert torch.equal(times, before)
    assert all(torch.equal(state[key], value) for key, value in encoder.state_dict().items())


@every_encoder
def test_every_parameter_learns(name):
    times, mask = streams(B=8, L=30)
    encoder = make(name, fit=(times, mask))
    gradients = parameter_gradients(encoder, times, mask)
    assert set(gradients) == {n for n, _ in encoder.named_parameters()}
    for key, gradient in gradients.items():
        assert gradient.isfinite().all(), key
        assert gradient.abs().max() > 0, key


@every_encoder
def test_curves_are_functions_of_time_by_name(name):
    encoder = make(name, fit=streams())
    grid = torch.linspace(0, 100, 63, dtype=torch.float64)
    curves = encoder.curves(grid)
    assert curves
    for key, values in curves.items():
        assert isinstance(key, str)
        assert values.shape[0] == 63
        assert values.ndim == 2
        assert values.isfinite().all()
    if isinstance(encoder, AbstractPointwiseEncoder) and not isinstance(encoder, KMOTE):
        assert torch.equal(curves["embedding"], encoder(grid))


# What is refused


@every_encoder
def test_what_does_not_fit_is_refused_word_by_word(name):
    encoder = make(name)
    times = torch.zeros(2, 3)
    features = features_for(encoder, (2, 3))
    with pytest.raises(InputError) as caught:
        encoder(times, torch.ones(2, 4, dtype=torch.bool), features)
    assert str(caught.value) == (
        "mask must be torch.bool in the shape of times, (2, 3), got torch.bool of shape (2, 4)"
    )
    with pytest.raises(InputError) as caught:
        encoder(times, torch.ones(2, 3, dtype=torch.int64), features)
    assert str(caught.value) == (
        "mask must be torch.bool in the shape of times, (2, 3), got torch.int64 of shape (2, 3)"
    )
    if not encoder.feature_dim:
        encoder(times, None, torch.zeros(2, 3, 9))
        return
    kind = type(encoder).__name__
    for given, got in ((None, "none"), (torch.zeros(2, 3, 9), "shape (2, 3, 9)")):
        with pytest.raises(InputError) as caught:
            encoder(times, None, given)
        assert str(caught.value) == (
            f"{kind} was made for 2 event features and takes them in the shape (2, 3, 2), got {got}"
        )


@pytest.mark.parametrize("name", [n for n in RECIPES if "features" not in n])
@pytest.mark.parametrize("dim", [0, -1, 2.0, True, "8", None])
def test_a_dimension_is_a_whole_number(name, dim):
    with pytest.raises(InputError) as caught:
        make_encoder(name.partition(" ")[0], dim)
    assert str(caught.value) == f"dim must be a whole number of at least 1, got {dim!r}"


def test_make_encoder_says_what_is_wrong():
    listing = ", ".join(ENCODERS)
    with pytest.raises(InputError) as caught:
        make_encoder("kmot")
    message = f"unknown encoder 'kmot': did you mean 'kmote'? (known: {listing})"
    assert str(caught.value) == message
    with pytest.raises(InputError) as caught:
        make_encoder("raw", 4, expert="spline")
    assert str(caught.value).startswith("encoder 'raw' can't be made: ")
    assert "unexpected keyword argument 'expert'" in str(caught.value)
    with pytest.raises(InputError) as caught:
        make_encoder(RawTime(4), p=0.5)
    assert str(caught.value) == "options ['p'] go with an encoder name, not an object"
    with pytest.raises(InputError) as caught:
        make_encoder("builtins:range", 4)
    assert str(caught.value) == (
        "encoder 'builtins:range' must be a subclass of AbstractTimeEncoder, it made a range"
    )
    with pytest.raises(InputError, match="encoder must be a name or a time encoder, got 3"):
        make_encoder(3)


class Halved(AbstractPointwiseEncoder):
    def encode(self, tau, counts, features=None):
        return (tau / 2).unsqueeze(-1).expand(-1, self.dim).float()


def test_a_users_own_encoder_needs_one_method():
    encoder = make_encoder(f"{__name__}:Halved", 3).fit_scale(torch.arange(11))
    assert isinstance(encoder, AbstractTimeEncoder)
    assert encoder(torch.tensor([[0, 10]])).tolist() == [[[0.0] * 3, [0.5] * 3]]
