import copy

import pytest
import torch
from torch import nn
from torch.nn import functional as F
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

from edgewise.core import InputError, generator, seeded
from edgewise.encoders import ENCODERS, KANMAMMOTE, KMOTE, make_encoder
from edgewise.models import SequenceClassifier
from edgewise.models.sequence import BACKBONES

CASES = [(backbone, "time2vec") for backbone in BACKBONES]
CASES += [("gru", encoder) for encoder in ENCODERS if encoder != "time2vec"]

every_case = pytest.mark.parametrize(("backbone", "encoder"), CASES)
every_backbone = pytest.mark.parametrize("backbone", BACKBONES)


def streams(B=6, L=27, seed=0):
    times = 50 * torch.rand(B, L, generator=generator(seed, "t"), dtype=torch.float64)
    lengths = torch.linspace(L, 0, B).round().long()
    return times.sort(-1).values * (torch.arange(L) < lengths[:, None]), lengths


def make(encoder="time2vec", seed=0, **options):
    options = {"num_classes": 3, "hidden_dim": 8, **options}
    with seeded(seed, "sequence"):
        model = SequenceClassifier(encoder, dim=12, **options)
    times, lengths = streams()
    model.encoder.fit_scale(times, torch.arange(27) < lengths[:, None])
    return model.double().eval()


def pad(x, more):
    return F.pad(x, (0, more) if x.ndim == 2 else (0, 0, 0, more))


@every_case
@pytest.mark.parametrize("num_layers", [1, 2])
def test_padding_further_shuffling_and_splitting_change_nothing(backbone, encoder, num_layers):
    model = make(encoder, backbone=backbone, num_layers=num_layers, feature_dim=2)
    times, lengths = streams()
    features = torch.randn(6, 27, 2, generator=generator(1), dtype=torch.float64)
    whole = model(times, lengths, features)
    assert whole.shape == (6, 3)
    assert whole.isfinite().all()
    further = model(pad(times, 36), lengths, pad(features, 36))
    torch.testing.assert_close(further, whole, rtol=1e-9, atol=1e-9)
    order = torch.tensor([3, 0, 5, 1, 4, 2])
    shuffled = model(times[order], lengths[order], features[order])
    torch.testing.assert_close(shuffled, whole[order], rtol=1e-9, atol=1e-9)
    for b in range(6):
        n = max(1, int(lengths[b]))
        one = model(times[b : b + 1, :n], lengths[b : b + 1], features[b : b + 1, :n])
        torch.testing.assert_close(one[0], whole[b], rtol=1e-9, atol=1e-9)


@every_case
def test_in_float32_it_is_the_same_to_six_digits(backbone, encoder):
    model = make(encoder, backbone=backbone).float()
    times, lengths = streams()
    torch.testing.assert_close(
        model(pad(times, 9), lengths), model(times, lengths), rtol=1e-5, atol=1e-6
    )


@every_backbone
def test_garbage_at_padding_reaches_neither_logits_nor_gradients(backbone):
    encoder = KANMAMMOTE(12, feature_dim=2)
    model = make(encoder, backbone=backbone, feature_dim=2)
    times, lengths = streams()
    features = torch.randn(6, 27, 2, generator=generator(1), dtype=torch.float64)
    padding = torch.arange(27) >= lengths[:, None]
    results = []
    for garbage in (0.0, torch.nan):
        f = features.masked_fill(padding[..., None], garbage)
        y = model(times.masked_fill(padding, garbage), lengths, f)
        parameters = list(model.parameters())
        gradients = torch.autograd.grad(y.square().sum(), parameters, materialize_grads=True)
        results.append((y, *gradients))
    for clean, dirty in zip(*results, strict=True):
        torch.testing.assert_close(dirty, clean, rtol=1e-9, atol=1e-9)


@every_backbone
def test_a_stream_without_events_gets_the_heads_bias(backbone):
    model = make(backbone=backbone)
    times, lengths = streams()
    assert lengths[-1] == 0
    torch.testing.assert_close(model(times, lengths)[-1], model.head.bias)
    # A batch of nothing but empty streams, padded to any length or to none.
    for L in (0, 1, 5):
        y = model(torch.zeros(2, L), torch.zeros(2, dtype=torch.int64))
        torch.testing.assert_close(y, model.head.bias.expand(2, -1))
    y.sum().backward()
    assert all(p.grad is None or p.grad.isfinite().all() for p in model.parameters())


@pytest.mark.parametrize(("backbone", "kind"), [("lstm", nn.LSTM), ("gru", nn.GRU)])
@pytest.mark.parametrize("num_layers", [1, 3])
def test_it_is_the_packed_network_in_value_and_gradient(backbone, kind, num_layers):
    model = make(backbone=backbone, num_layers=num_layers)
    times, lengths = streams()
    times, lengths = times[:-1], lengths[:-1]
    mask = torch.arange(27) < lengths[:, None]
    assert isinstance(model.backbone.rnn, kind)

    def packed(times, lengths):
        x = pack_padded_sequence(model.encoder(times, mask), lengths, batch_first=True)
        states, _ = pad_packed_sequence(model.backbone.rnn(x)[0], batch_first=True)
        last = torch.stack([s[n - 1] for s, n in zip(states, lengths, strict=True)])
        return model.head(last)

    results = []
    for read in (model, packed):
        y = read(times, lengths)
        parameters = list(model.parameters())
        results.append((y, *torch.autograd.grad(y.square().sum(), parameters)))
    for found, expected in zip(*results, strict=True):
        torch.testing.assert_close(found, expected, rtol=1e-12, atol=1e-12)


@every_backbone
def test_dropout_is_for_training_only(backbone):
    model = make(backbone=backbone, num_layers=2, dropout=0.5)
    times, lengths = streams()
    assert torch.equal(model(times, lengths), model(times, lengths))
    model.train()
    assert not torch.allclose(model(times, lengths), model(times, lengths))
    with seeded(1):
        first = model(times, lengths)
    with seeded(1):
        assert torch.equal(model(times, lengths), first)
    without = make(backbone=backbone, num_layers=2, dropout=0.0)
    assert torch.equal(without.train()(times, lengths), without.eval()(times, lengths))


@every_backbone
def test_features_are_joined_to_the_vectors(backbone):
    model = make(backbone=backbone, feature_dim=2)
    times, lengths = streams()
    features = torch.randn(6, 27, 2, dtype=torch.float64, requires_grad=True)
    y = model(times, lengths, features)
    (gradient,) = torch.autograd.grad(y.sum(), features)
    real = torch.arange(27) < lengths[:, None]
    assert (gradient[~real] == 0).all()
    assert (gradient[real].abs().sum(-1) > 0).all()


def test_an_encoder_may_look_at_the_features_too():
    model = make(KMOTE(12, router_features=2), feature_dim=2)
    times, lengths = streams()
    features = torch.randn(6, 27, 2, dtype=torch.float64, requires_grad=True)
    model(times, lengths, features).sum().backward()
    first = model.encoder.mixture.router[0].weight.grad
    assert (first[:, -2:] != 0).any()


@pytest.mark.parametrize("dtype", [torch.int32, torch.int64, torch.float32])
def test_times_of_any_dtype(dtype):
    model = make()
    times, lengths = streams()
    whole = times.round()
    torch.testing.assert_close(model(whole.to(dtype), lengths), model(whole, lengths))
    assert torch.equal(model(whole, lengths.to(torch.int32)), model(whole, lengths))


@every_case
def test_bfloat16_autocast_runs_forward_and_backward(backbone, encoder):
    model = make(encoder, backbone=backbone).float()
    times, lengths = streams()
    expected = model(times, lengths)
    with torch.autocast("cpu", torch.bfloat16):
        y = model(times, lengths)
    assert y.dtype == torch.bfloat16
    torch.testing.assert_close(y.float(), expected, rtol=0.1, atol=0.1)
    y.float().square().sum().backward()
    gradients = [p.grad for p in model.parameters() if p.grad is not None]
    assert gradients
    assert all(g.isfinite().all() for g in gradients)


@every_case
def test_the_precision_of_the_model_is_that_of_all_of_it(backbone, encoder):
    times, lengths = streams()
    for dtype in (torch.float64, torch.float32, torch.bfloat16):
        y = make(encoder, backbone=backbone).to(dtype)(times, lengths)
        assert y.dtype == dtype
        assert y.isfinite().all()


@every_backbone
def test_state_and_copies(backbone, tmp_path):
    model = make("kmote", backbone=backbone)
    times, lengths = streams()
    y = model(times, lengths)
    torch.save(model.state_dict(), tmp_path / "state.pt")
    other = make("kmote", seed=1, backbone=backbone)
    assert not torch.allclose(other(times, lengths), y)
    other.load_state_dict(torch.load(tmp_path / "state.pt", weights_only=True))
    assert torch.equal(other(times, lengths), y)
    assert torch.equal(copy.deepcopy(model)(times, lengths), y)


def task(B=128, L=12, seed=0):
    """Streams whose events come in a fast or in a slow rhythm, from a random start."""
    g = generator(seed, "task")
    label = torch.arange(B) % 2
    wait = torch.where(label == 1, 1.0, 2.0)[:, None] * (
        0.8 + 0.4 * torch.rand(B, L, generator=g, dtype=torch.float64)
    )
    return 5 * torch.rand(B, 1, generator=g) + wait.cumsum(-1), torch.full((B,), L), label


@every_backbone
def test_a_few_seconds_of_training_learn_to_tell_rhythms_apart(backbone):
    times, lengths, label = task()
    with seeded(0):
        model = SequenceClassifier("kmote", 2, hidden_dim=16, backbone=backbone, dim=16)
        model.encoder.fit_scale(times)
        optimiser = torch.optim.Adam(model.parameters(), lr=0.01)
        for _ in range(40):
            optimiser.zero_grad()
            F.cross_entropy(model(times, lengths), label).backward()
            optimiser.step()
    fresh = task(seed=1)
    model.eval()
    right = (model(*fresh[:2]).argmax(-1) == fresh[2]).double().mean()
    assert right > 0.95


@every_backbone
def test_at_the_start_the_states_have_a_size(backbone):
    times, lengths = streams()
    model = make("fourier", backbone=backbone, hidden_dim=64)
    x = model.encoder(times, torch.arange(27) < lengths[:, None])
    states = model.backbone(x, torch.arange(27) < lengths[:, None])
    assert 0.1 < states[:3].std() < 2


def test_the_forget_gate_starts_open():
    rnn = make(backbone="lstm", hidden_dim=8, num_layers=2).backbone.rnn
    for layer in range(2):
        bias = getattr(rnn, f"bias_ih_l{layer}") + getattr(rnn, f"bias_hh_l{layer}")
        assert bias.tolist() == [0.0] * 8 + [1.0] * 8 + [0.0] * 16
        for gate in getattr(rnn, f"weight_hh_l{layer}").split(8):
            torch.testing.assert_close(gate @ gate.T, torch.eye(8).double(), rtol=0, atol=1e-5)


def test_an_encoder_is_given_by_name_or_as_an_object():
    encoder = make_encoder("raw", 5)
    model = SequenceClassifier(encoder, dim=99)
    assert model.encoder is encoder
    assert model.head.out_features == 10
    assert SequenceClassifier("raw", dim=7).encoder.dim == 7


WHOLE = "must be a whole number of at least"
T, N = torch.zeros(2, 3), torch.tensor([3, 1])


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (
            lambda: make(backbone="rnn"),
            "unknown backbone 'rnn': known: lstm, gru, mamba",
        ),
        (
            lambda: make(backbone="lstmm"),
            "unknown backbone 'lstmm': did you mean 'lstm'? (known: lstm, gru, mamba)",
        ),
        (lambda: make(dropout=1.0), "dropout must lie in [0, 1), got 1.0"),
        (lambda: make(dropout=-0.1), "dropout must lie in [0, 1), got -0.1"),
        (lambda: make(num_classes=0), f"num_classes {WHOLE} 1, got 0"),
        (lambda: make(hidden_dim=8.0), f"hidden_dim {WHOLE} 1, got 8.0"),
        (lambda: make(num_layers=0), f"num_layers {WHOLE} 1, got 0"),
        (lambda: make(feature_dim=-1), f"feature_dim {WHOLE} 0, got -1"),
        (lambda: make(3), "encoder must be a name or a time encoder, got 3"),
        (lambda: make()(torch.zeros(3), N), "times must have the shape (B, L), got (3,)"),
        (
            lambda: make()(T, torch.tensor([3, 1, 2])),
            "lengths must be 2 whole numbers, one for each sequence, got torch.int64 of shape (3,)",
        ),
        (
            lambda: make()(T, torch.tensor([3.0, 1.0])),
            "lengths must be 2 whole numbers, one for each sequence, got torch.float32 of shape "
            "(2,)",
        ),
        (
            lambda: make()(T, torch.tensor([4, 1])),
            "lengths must lie between 0 and 3, the length of the padded times, got 1 to 4",
        ),
        (
            lambda: make()(T, torch.tensor([3, -1])),
            "lengths must lie between 0 and 3, the length of the padded times, got -1 to 3",
        ),
        (
            lambda: make(feature_dim=2)(T, N),
            "the model was made for 2 event features, got none",
        ),
        (
            lambda: make(feature_dim=2)(T, N, torch.zeros(2, 3, 1)),
            "features must have the shape (2, 3, 2), got (2, 3, 1)",
        ),
    ],
)
def test_bad_input_is_refused_word_by_word(call, message):
    with pytest.raises(InputError) as caught:
        call()
    assert str(caught.value) == message
