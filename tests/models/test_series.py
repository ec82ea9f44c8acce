import sys
import types

import pytest
import torch
from torch import nn

import edgewise as ew
from edgewise.core import InputError
from edgewise.models.backbones import BACKBONES, Transformer, make_backbone
from edgewise.models.pooling import HEADS, POOLS, PooledHead, mask_of
from edgewise.models.series import SeriesClassifier

every_backbone = pytest.mark.parametrize("backbone", list(BACKBONES))
every_pool = pytest.mark.parametrize("pool", POOLS)


def make(backbone, **options):
    return SeriesClassifier(3, 2, backbone, 8, **options)


def series(B=4, L=6):
    x = torch.randn(B, L, 3)
    return x, torch.linspace(L, 1, B).round().long()


@every_backbone
@every_pool
def test_padding_and_its_garbage_change_nothing(backbone, pool):
    model = make(backbone, pool=pool).double().eval()
    x, lengths = series()
    x = x.double()
    results = []
    for garbage in (0.0, torch.nan):
        y = model(x.masked_fill(~mask_of(lengths, 6).unsqueeze(-1), garbage), lengths)
        gradients = torch.autograd.grad(y.square().sum(), list(model.parameters()))
        results.append((y, *gradients))
    for clean, dirty in zip(*results, strict=True):
        assert torch.equal(clean, dirty)
    for b, n in enumerate(lengths.tolist()):
        one = model(x[b : b + 1, :n], lengths[b : b + 1])[0]
        torch.testing.assert_close(one, results[0][0][b], rtol=0, atol=1e-12)


@every_backbone
def test_it_is_saved_and_loaded(backbone, tmp_path):
    model = make(backbone, pool="last", head="kan", dropout=0.1).eval()
    x, lengths = series()
    again = ew.load(ew.save(model, tmp_path / "m.safetensors")).eval()
    assert torch.equal(again(x, lengths), model(x, lengths))


# torch's own LSTM, GRU and RNN: its compiler breaks the graph there, its exporter warns.
@pytest.mark.filterwarnings("ignore:The tensor attributes", "ignore:The .grad attribute")
@pytest.mark.parametrize("backbone", ["bag", "lstm", "kan-lstm"])
def test_it_is_compiled_and_exported(backbone):
    model = make(backbone, head="kan").eval()
    x, lengths = series(3, 2)
    lengths = lengths.clamp(max=2)
    expected = model(x, lengths)
    compiled = torch.compile(model, fullgraph=backbone != "lstm", backend="eager")
    torch.testing.assert_close(compiled(x, lengths), expected)
    batch = torch.export.Dim("batch", min=2)
    program = torch.export.export(model, (x, lengths), dynamic_shapes=({0: batch}, {0: batch}))
    torch.testing.assert_close(program.module()(x[:2], lengths[:2]), expected[:2])


@every_backbone
def test_it_learns_which_came_first(backbone):
    draw = torch.Generator().manual_seed(0)
    B, L = 128, 4
    x = 0.1 * torch.randn(B, L, 3, generator=draw)
    places = torch.stack([torch.randperm(L, generator=draw)[:2] for _ in range(B)])
    x[torch.arange(B), places[:, 0], 0] += 1
    x[torch.arange(B), places[:, 1], 1] += 1
    y = (places[:, 0] < places[:, 1]).long()
    if backbone == "bag":  # which knows no order
        y = (x[:, :, 2].mean(1) > 0).long()
    torch.manual_seed(0)
    model = SeriesClassifier(3, 2, backbone, 16)
    optimiser = torch.optim.Adam(model.parameters(), lr=0.02)
    for _ in range(40):
        optimiser.zero_grad()
        nn.functional.cross_entropy(model(x, torch.full((B,), L)), y).backward()
        optimiser.step()
    assert (model.eval()(x, torch.full((B,), L)).argmax(-1) == y).float().mean() > 0.9


@every_pool
@pytest.mark.parametrize("head", HEADS)
def test_pooling_is_over_the_real_states(pool, head):
    layer = PooledHead(4, 3, pool, head).double()
    states = torch.randn(3, 5, 4, dtype=torch.float64)
    mask = mask_of(torch.tensor([5, 2, 0]), 5)
    found = layer(states, mask)
    for b, n in ((0, 5), (1, 2)):
        own = states[b, :n]
        pooled = {"mean": own.mean(0), "last": own[-1], "max": own.amax(0)}[pool]
        torch.testing.assert_close(found[b], layer.layer(pooled))
    torch.testing.assert_close(found[2], layer.layer(torch.zeros(4, dtype=torch.float64)))
    # Padding may be on the left, too.
    turned = layer(states.flip(1), mask.flip(1))
    if pool != "last":
        torch.testing.assert_close(turned, found)


def test_a_transformer_tells_positions_apart():
    model = Transformer(3, 8, heads=2).eval()
    x = torch.randn(1, 4, 3)
    assert not torch.allclose(model(x).mean(1), model(x.flip(1)).mean(1), atol=1e-4)
    causal = Transformer(3, 8, 2, "kan", heads=2, hidden=4, causal=True).eval()
    torch.testing.assert_close(causal(x)[:, :2], causal(x[:, :2]))


def test_a_backbone_of_the_users_own(monkeypatch, tmp_path):
    module = types.ModuleType("my_backbones")

    class Mean(nn.Module):
        def __init__(self, width, hidden):
            super().__init__()
            self.linear = nn.Linear(width, hidden)

        def forward(self, x, mask):
            return self.linear(x)

    module.mean = lambda width, hidden, layers, dropout: Mean(width, hidden)
    module.none = lambda width, hidden, layers, dropout: None
    monkeypatch.setitem(sys.modules, "my_backbones", module)
    model = SeriesClassifier(3, 2, "my_backbones:mean").eval()
    x, lengths = series()
    again = ew.load(ew.save(model, tmp_path / "m.safetensors"), trust=("my_backbones",)).eval()
    assert torch.equal(again(x, lengths), model(x, lengths))
    with pytest.raises(InputError) as caught:
        make_backbone("my_backbones:none", 3, 4, 1, 0.0)
    assert str(caught.value) == (
        "the backbone 'my_backbones:none' must make a module, it gave NoneType"
    )


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: SeriesClassifier(0), "feature_dim must be a whole number of at least 1, got 0"),
        (
            lambda: SeriesClassifier(3, 0),
            "num_classes must be a whole number of at least 1, got 0",
        ),
        (
            lambda: SeriesClassifier(3, backbone="kan-gro"),
            "unknown backbone 'kan-gro': did you mean 'kan-gru'? (known: bag, rnn, gru, lstm, "
            "kan-rnn, kan-gru, kan-lstm, transformer, kan-transformer, kaf-transformer, "
            "grkan-transformer)",
        ),
        (
            lambda: SeriesClassifier(3, backbone="bag", num_layers=2),
            "a bag has no layers to stack: num_layers must be 1, got 2",
        ),
        (
            lambda: SeriesClassifier(3, num_layers=0),
            "num_layers must be a whole number of at least 1, got 0",
        ),
        (
            lambda: SeriesClassifier(3, pool="men"),
            "unknown pool 'men': did you mean 'mean'? (known: mean, last, max)",
        ),
        (
            lambda: SeriesClassifier(3, head="kann"),
            "unknown head 'kann': did you mean 'kan'? (known: linear, kan)",
        ),
        (lambda: SeriesClassifier(3, dropout=1), "dropout must lie in [0, 1), got 1"),
        (
            lambda: SeriesClassifier(3)(torch.zeros(2, 3), torch.tensor([1, 1])),
            "SeriesClassifier takes x of shape (batch, steps, 3), got (2, 3)",
        ),
        (
            lambda: SeriesClassifier(3)(torch.zeros(2, 4, 3), torch.ones(2)),
            "lengths must be 2 whole numbers, one for each sequence, got torch.float32 of "
            "shape (2,)",
        ),
        (
            lambda: SeriesClassifier(3)(torch.zeros(2, 4, 3), torch.tensor([5, 1])),
            "lengths must lie between 1 and 4, the padded length, got 1 to 5",
        ),
        (
            lambda: SeriesClassifier(3)(torch.zeros(2, 4, 3), torch.tensor([3, 0])),
            "sequence 1 of the batch has no step, only padding: leave it out",
        ),
    ],
)
def test_what_makes_no_sense(make, message):
    with pytest.raises(InputError) as caught:
        make()
    assert str(caught.value) == message
