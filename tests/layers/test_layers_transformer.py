import sys
import types

import pytest
import torch
from torch import nn

import edgewise as ew
from edgewise.core import InputError
from edgewise.layers.feed_forward import FEED_FORWARDS, make_feed_forward
from edgewise.layers.group_rational import GroupRational
from edgewise.layers.linear import KANLinear
from edgewise.layers.transformer import SelfAttention, TransformerBlock

every_filling = pytest.mark.parametrize("feed_forward", list(FEED_FORWARDS))


def make(feed_forward="mlp", dim=8, heads=2, hidden=6, **options):
    return TransformerBlock(dim, heads, feed_forward, hidden, **options).double().eval()


def sequences(B=4, L=6, size=8):
    x = torch.randn(B, L, size, dtype=torch.float64)
    lengths = torch.linspace(L, 0, B).round().long()
    return x, torch.arange(L) < lengths[:, None], lengths


@pytest.mark.parametrize("causal", [False, True])
@pytest.mark.parametrize("masked", [False, True])
def test_with_an_mlp_it_is_torchs_own_in_value_and_gradient(causal, masked):
    block = make(causal=causal)
    own = nn.TransformerEncoderLayer(
        8, 2, 6, 0.0, nn.functional.silu, batch_first=True, norm_first=True
    ).double()
    names = {
        "self_attn.in_proj_weight": "attention.qkv.weight",
        "self_attn.in_proj_bias": "attention.qkv.bias",
        "self_attn.out_proj.weight": "attention.out.weight",
        "self_attn.out_proj.bias": "attention.out.bias",
        "linear1.weight": "feed_forward.0.weight",
        "linear1.bias": "feed_forward.0.bias",
        "linear2.weight": "feed_forward.3.weight",
        "linear2.bias": "feed_forward.3.bias",
        "norm1.weight": "norms.0.weight",
        "norm1.bias": "norms.0.bias",
        "norm2.weight": "norms.1.weight",
        "norm2.bias": "norms.1.bias",
    }
    ours = block.state_dict()
    own.load_state_dict({theirs: ours[name] for theirs, name in names.items()})
    x, mask, _ = sequences()
    x, mask = x[:3], mask[:3]  # of the last every step is padding, which torch's can't
    hidden = torch.triu(torch.ones(6, 6, dtype=torch.bool), 1) if causal else None
    results = []
    for call in (
        lambda: block(x, mask if masked else None),
        lambda: own(x, hidden, ~mask if masked else None),
    ):
        y = call()
        y = y[mask] if masked else y
        parameters = dict((block if not results else own).named_parameters())
        ordered = [parameters[t if results else n] for t, n in names.items()]
        results.append((y, *torch.autograd.grad(y.square().sum(), ordered)))
    for found, expected in zip(*results, strict=True):
        torch.testing.assert_close(found, expected, rtol=0, atol=1e-10)


@every_filling
def test_padding_reaches_no_real_step_whatever_it_holds(feed_forward):
    block = make(feed_forward)
    x, mask, lengths = sequences()
    results = []
    for garbage in (0.0, torch.nan):
        y = block(x.masked_fill(~mask.unsqueeze(-1), garbage), mask)
        assert y.isfinite().all()
        gradients = torch.autograd.grad(y[mask].square().sum(), list(block.parameters()))
        results.append((y, *gradients))
    for clean, dirty in zip(*results, strict=True):
        assert torch.equal(clean, dirty)
    for b, n in enumerate(lengths.tolist()):
        if n:
            one = block(x[b : b + 1, :n])[0]
            torch.testing.assert_close(results[0][0][b, :n], one, rtol=0, atol=1e-12)


@every_filling
def test_a_causal_block_sees_no_later_step(feed_forward):
    block = make(feed_forward, causal=True)
    x, _, _ = sequences()
    x.requires_grad_()
    y = block(x)
    for t in range(6):
        (gradient,) = torch.autograd.grad(y[:, t].sum(), x, retain_graph=True)
        assert (gradient[:, t + 1 :] == 0).all()
        assert (gradient[:, : t + 1] != 0).any(-1).all()


@every_filling
def test_every_filling_is_saved_and_exported(feed_forward, tmp_path):
    block = TransformerBlock(8, 2, feed_forward, 6, dropout=0.1).eval()
    x, mask, _ = sequences()
    x = x.float()
    expected = block(x, mask)
    again = ew.load(ew.save(block, tmp_path / "m.safetensors")).eval()
    assert torch.equal(again(x, mask), expected)
    batch = torch.export.Dim("batch")
    program = torch.export.export(block, (x, mask), dynamic_shapes=({0: batch}, {0: batch}))
    torch.testing.assert_close(program.module()(x[:3], mask[:3]), expected[:3])


@pytest.mark.parametrize("feed_forward", ["kan", "kernel"])
def test_it_is_compiled(feed_forward):
    block = TransformerBlock(8, 2, feed_forward, 6).eval()
    x, mask, _ = sequences()
    compiled = torch.compile(block, fullgraph=True, backend="eager")
    torch.testing.assert_close(compiled(x.float(), mask), block(x.float(), mask))


def test_grkan_starts_as_the_mlp():
    ours, plain = make("grkan", 16, 4, 24), make("mlp", 16, 4, 24)
    for place, other in ((1, 0), (4, 3)):
        ours.feed_forward[place].load_state_dict(plain.feed_forward[other].state_dict())
    ours.attention.load_state_dict(plain.attention.state_dict())
    x = torch.randn(5, 7, 16, dtype=torch.float64)
    torch.testing.assert_close(ours(x), plain(x), rtol=0, atol=1e-3)


def explicit_rational(layer, x):
    b = layer.basis.b.repeat_interleave(layer.features // layer.basis.groups, 0)
    P = sum(layer.a[m] * x**m for m in range(6))
    A = sum(b[:, n] * x ** (n + 1) for n in range(4))
    return P / (1 + A.abs())


def test_the_group_rational_is_its_formula():
    layer = GroupRational(6, 3, "silu").double()
    with torch.no_grad():
        for p in layer.parameters():
            p.add_(0.1 * torch.randn_like(p))
    x = torch.randn(4, 5, 6, dtype=torch.float64, requires_grad=True)
    found, expected = layer(x), explicit_rational(layer, x)
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-12)
    own = [x, *layer.parameters()]
    for a, b in zip(
        torch.autograd.grad(found.sin().sum(), own),
        torch.autograd.grad(expected.sin().sum(), own),
        strict=True,
    ):
        torch.testing.assert_close(a, b, rtol=0, atol=1e-10)
    (slope,) = torch.autograd.grad(explicit_rational(layer, x).sum(), x)
    torch.testing.assert_close(layer.derivative(x), slope, rtol=0, atol=1e-10)
    assert [p.numel() for p in layer.parameters()] == [6, 12]


def test_what_the_group_rational_starts_as():
    x = torch.linspace(-6, 6, 2001, dtype=torch.float64).unsqueeze(-1)
    same = GroupRational(1, 1).double()(x)
    # The table is kept in float32.
    torch.testing.assert_close(same, x, rtol=0, atol=1e-6)
    error = (GroupRational(1, 1, "silu").double()(x) - nn.functional.silu(x)).abs()
    assert error[500:1501].max() < 4e-5
    assert error.max() < 4e-4


def test_a_filling_of_the_users_own(monkeypatch, tmp_path):
    module = types.ModuleType("my_fillings")
    module.one = lambda dim, hidden, dropout: KANLinear(dim, dim)
    module.none = lambda dim, hidden, dropout: "nothing"
    monkeypatch.setitem(sys.modules, "my_fillings", module)
    block = TransformerBlock(8, 2, "my_fillings:one").eval()
    assert isinstance(block.feed_forward, KANLinear)
    x = torch.randn(2, 3, 8)
    again = ew.load(ew.save(block, tmp_path / "m.safetensors"), trust=("my_fillings",)).eval()
    assert torch.equal(again(x), block(x))
    # Given as a module it is copied, so that two blocks do not share it.
    layer = KANLinear(8, 8, "gaussian")
    block = TransformerBlock(8, 2, layer).eval()
    assert block.feed_forward is not layer
    again = ew.load(ew.save(block, tmp_path / "m.safetensors")).eval()
    assert torch.equal(again(x), block(x))
    with pytest.raises(InputError) as caught:
        make_feed_forward("my_fillings:none", 2, 2)
    assert (
        str(caught.value) == "the feed-forward 'my_fillings:none' must make a module, it gave str"
    )


def test_dropout_is_for_training_only():
    block = TransformerBlock(8, 2, dropout=0.5)
    x = torch.randn(2, 3, 8)
    assert not torch.equal(block(x), block(x))
    block.eval()
    assert torch.equal(block(x), block(x))


@every_filling
@pytest.mark.parametrize("autocast", [False, True])
def test_half_precision(feed_forward, autocast):
    block = TransformerBlock(8, 2, feed_forward, 6)
    x = torch.randn(2, 3, 8)
    expected = block(x)
    if autocast:
        with torch.autocast("cpu", dtype=torch.bfloat16):
            y = block(x)
    else:
        y = block.bfloat16()(x.bfloat16())
        assert y.dtype == torch.bfloat16
    torch.testing.assert_close(y.float(), expected, atol=0.15, rtol=0.1)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: TransformerBlock(8, 3), "dim is 8: it must be a multiple of heads=3"),
        (lambda: TransformerBlock(0, 3), "dim must be a whole number of at least 1, got 0"),
        (
            lambda: TransformerBlock(8, 2, hidden=0),
            "hidden must be a whole number of at least 1, got 0",
        ),
        (lambda: TransformerBlock(8, 2, dropout=1.0), "dropout must lie in [0, 1), got 1.0"),
        (
            lambda: TransformerBlock(8, 2, "mpl"),
            "unknown feed-forward 'mpl': did you mean 'mlp'? (known: mlp, kan, kernel, kaf, grkan)",
        ),
        (
            lambda: TransformerBlock(8, 2)(torch.zeros(2, 3, 7)),
            "TransformerBlock takes x of shape (batch, steps, 8), got (2, 3, 7)",
        ),
        (
            lambda: SelfAttention(8, 2)(torch.zeros(2, 3, 8), torch.ones(2, 3)),
            "mask must be (2, 3) truth values, got torch.float32 of shape (2, 3)",
        ),
        (
            lambda: TransformerBlock(8, 2, KANLinear(8, 7))(torch.zeros(2, 3, 8)),
            "the feed-forward must keep the shape (2, 3, 8), it gave (2, 3, 7)",
        ),
        (lambda: GroupRational(9), "features is 9: it must be a multiple of groups=8"),
        (
            lambda: GroupRational(8, start="swish"),
            "unknown start 'swish': known: identity, silu",
        ),
        (
            lambda: GroupRational(8)(torch.zeros(2, 7)),
            "GroupRational takes 8 features on the last axis, got x of shape (2, 7)",
        ),
    ],
)
def test_what_makes_no_sense(make, message):
    with pytest.raises(InputError) as caught:
        make()
    assert str(caught.value) == message
