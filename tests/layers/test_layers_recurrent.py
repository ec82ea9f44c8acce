import pytest
import torch
from torch import nn

import edgewise as ew
from edgewise.bases import BSpline
from edgewise.core import InputError
from edgewise.layers.recurrent import KANGRU, KANLSTM, KANRNN
from edgewise.layers.recurrent_cells import KANGRUCell, KANLSTMCell, KANRNNCell

KINDS = {
    KANRNN: (KANRNNCell, nn.RNN),
    KANGRU: (KANGRUCell, nn.GRU),
    KANLSTM: (KANLSTMCell, nn.LSTM),
}
FORMS = [(KANRNN, {}), *((k, {"gates": g}) for k in (KANGRU, KANLSTM) for g in ("linear", "kan"))]
every_kind = pytest.mark.parametrize("kind", KINDS)
every_form = pytest.mark.parametrize(("kind", "options"), FORMS)


def make(kind, *sizes, **options):
    layer = kind(*sizes, **options).double()
    with torch.no_grad():
        for p in layer.parameters():
            p.add_(0.3 * torch.randn_like(p))
    return layer.eval()


def sequences(B=4, L=6, size=3):
    x = torch.randn(B, L, size, dtype=torch.float64)
    lengths = torch.linspace(L, 0, B).round().long()
    return x, torch.arange(L) < lengths[:, None], lengths


@every_form
@pytest.mark.parametrize("num_layers", [1, 2])
def test_without_functions_it_is_torchs_own(kind, options, num_layers):
    layer = make(kind, 3, 5, num_layers, **options)
    own = KINDS[kind][1](3, 5, num_layers, batch_first=True).double()
    # From our order of parts to torch's: LSTM i, f, o, g to i, f, g, o.
    order = [0, 1, 3, 2] if kind is KANLSTM else list(range(layer.cells[0].parts))
    with torch.no_grad():
        for place, cell in enumerate(layer.cells):
            for side, part in (("ih", cell.U), ("hh", cell.V)):
                part.functions.coefficients.zero_()
                weights, biases = [], []
                if part.linear is not None:
                    weights, biases = [part.linear.weight], [part.linear.bias]
                weight = torch.cat([*weights, part.functions.base_weight.T])
                bias = torch.cat([*biases, part.functions.bias])
                for name, value in (("weight", weight), ("bias", bias)):
                    parts = value.split(5)
                    target = getattr(own, f"{name}_{side}_l{place}")
                    target.copy_(torch.cat([parts[k] for k in order]))
    x, _, _ = sequences()
    states, ends = layer(x)
    expected, last = own(x)
    torch.testing.assert_close(states, expected, rtol=0, atol=1e-12)
    last = last if kind is KANLSTM else (last,)
    for k, end in enumerate(zip(*ends, strict=True)):
        torch.testing.assert_close(torch.stack(end), last[k], rtol=0, atol=1e-12)


def test_the_gru_is_its_formula_with_functions():
    cell = make(KANGRUCell, 3, 4, gates="kan")
    x, h = torch.randn(2, 3, dtype=torch.float64), torch.rand(2, 4, dtype=torch.float64)
    u, v = (m.functions.curves(t).sum(-1).split(4, -1) for m, t in ((cell.U, x), (cell.V, h)))
    r, z = torch.sigmoid(u[0] + v[0]), torch.sigmoid(u[1] + v[1])
    n = torch.tanh(u[2] + r * v[2])
    torch.testing.assert_close(cell(x, (h,))[0], (1 - z) * n + z * h, rtol=0, atol=1e-12)


@every_form
def test_a_layer_is_its_cells_step_by_step(kind, options):
    layer = make(kind, 3, 5, 2, **options)
    x, _, _ = sequences()
    states, ends = layer(x)
    below = above = None
    for t in range(x.shape[1]):
        below = layer.cells[0](x[:, t], below)
        above = layer.cells[1](below[0], above)
        torch.testing.assert_close(states[:, t], above[0], rtol=0, atol=1e-12)
    for ours, theirs in zip(ends, (below, above), strict=True):
        for a, b in zip(ours, theirs, strict=True):
            torch.testing.assert_close(a, b, rtol=0, atol=1e-12)
    # In two halves, the state handed over.
    _, middle = layer(x[:, :2])
    rest, _ = layer(x[:, 2:], state=middle)
    torch.testing.assert_close(rest, states[:, 2:], rtol=0, atol=1e-12)


@every_form
def test_padding_on_either_side_changes_nothing_and_garbage_goes_nowhere(kind, options):
    layer = make(kind, 3, 4, 2, **options)
    x, mask, lengths = sequences()
    _, ends = layer(x, mask)
    for b, n in enumerate(lengths.tolist()):
        one = [layer(x[b : b + 1, :n])[1]] if n else []
        for own in one:
            for ours, theirs in zip(ends, own, strict=True):
                for a, c in zip(ours, theirs, strict=True):
                    torch.testing.assert_close(a[b], c[0], rtol=0, atol=1e-12)
    assert all((end[-1] == 0).all() for layer_end in ends for end in layer_end)
    rolled = [row.roll(6 - n, 0) for row, n in zip(x, lengths.tolist(), strict=True)]
    _, flipped = layer(torch.stack(rolled), mask.flip(1))
    torch.testing.assert_close(flipped, ends, rtol=0, atol=1e-12)
    results = []
    for garbage in (0.0, torch.nan):
        y, _ = layer(x.masked_fill(~mask.unsqueeze(-1), garbage), mask)
        gradients = torch.autograd.grad(y.sum(), list(layer.parameters()))
        results.append((y, *gradients))
    for clean, dirty in zip(*results, strict=True):
        assert torch.equal(clean, dirty)


@every_kind
def test_states_stay_in_the_domain_of_their_functions(kind):
    layer = make(kind, 3, 5)
    states, _ = layer(100 * torch.randn(2, 50, 3, dtype=torch.float64))
    assert (states.abs() <= 1).all()


@every_kind
def test_layers_start_with_different_weights_and_bases_of_their_own(kind):
    basis = BSpline(4)
    layer = kind(3, 5, 3, basis, basis)
    _, second, third = layer.cells
    assert not torch.equal(second.V.functions.coefficients, third.V.functions.coefficients)
    bases = [m.functions.basis for c in layer.cells for m in (c.U, c.V)]
    assert len({id(b) for b in [basis, *bases]}) == 7
    for matrix in second.V.matrices():
        for part in matrix.split(5):
            torch.testing.assert_close(part @ part.T, torch.eye(5), atol=1e-5, rtol=0)


def test_the_forget_gate_starts_open():
    for gates in ("linear", "kan"):
        cell = KANLSTMCell(3, 4, gates=gates)
        bias = (cell.U.functions if gates == "kan" else cell.U.linear).bias
        expected = [0] * 4 + [1] * 4 + [0] * (4 if gates == "linear" else 8)
        assert bias.tolist() == expected


@every_form
def test_second_derivatives(kind, options):
    layer = make(kind, 2, 2, **options)
    x = torch.randn(1, 2, 2, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradgradcheck(lambda x: layer(x)[0], x)


@every_kind
def test_compile_and_export(kind):
    layer = make(kind, 2, 3)
    x, mask, _ = sequences(4, 2, 2)
    expected = layer(x, mask)[0]
    compiled = torch.compile(layer, fullgraph=True, backend="eager")
    torch.testing.assert_close(compiled(x, mask)[0], expected, rtol=0, atol=1e-12)
    batch = torch.export.Dim("batch")
    program = torch.export.export(layer, (x, mask), dynamic_shapes=({0: batch}, {0: batch}))
    torch.testing.assert_close(program.module()(x[:3], mask[:3])[0], expected[:3])


@every_form
def test_it_is_saved_and_loaded_and_dropout_falls_between_layers(kind, options, tmp_path):
    layer = kind(3, 4, 2, BSpline(3), dropout=0.5, **options)
    again = ew.load(ew.save(layer, tmp_path / "m.safetensors")).eval()
    x = torch.randn(2, 5, 3)
    assert not torch.equal(layer.train()(x)[0], layer(x)[0])
    assert torch.equal(layer.eval()(x)[0], again(x)[0])
    one = kind(3, 4, 1, dropout=0.5, **options).train()
    assert torch.equal(one(x)[0], one(x)[0])


@every_kind
def test_bfloat16(kind):
    layer = kind(3, 4).bfloat16()
    x = torch.randn(2, 5, 3).bfloat16()
    y = layer(x)[0]
    assert y.dtype == torch.bfloat16
    torch.testing.assert_close(y.float(), layer.float()(x.float())[0], atol=0.05, rtol=0.05)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: KANGRU(0, 4), "in_features must be a whole number of at least 1, got 0"),
        (lambda: KANGRU(3, 0), "hidden_features must be a whole number of at least 1, got 0"),
        (lambda: KANRNN(3, 4, 0), "num_layers must be a whole number of at least 1, got 0"),
        (lambda: KANLSTM(3, 4, dropout=1), "dropout must lie in [0, 1), got 1"),
        (
            lambda: KANGRU(3, 4, gates="kann"),
            "unknown gates 'kann': did you mean 'kan'? (known: linear, kan)",
        ),
        (
            lambda: KANGRU(3, 4)(torch.zeros(2, 5, 4)),
            "KANGRU takes x of shape (batch, steps, 3) with at least one step, got (2, 5, 4)",
        ),
        (
            lambda: KANGRU(3, 4)(torch.zeros(2, 0, 3)),
            "KANGRU takes x of shape (batch, steps, 3) with at least one step, got (2, 0, 3)",
        ),
        (
            lambda: KANGRU(3, 4)(torch.zeros(2, 5, 3), torch.ones(2, 5)),
            "mask must be (2, 5) truth values, got torch.float32 of shape (2, 5)",
        ),
        (
            lambda: KANGRU(3, 4, 2)(torch.zeros(2, 5, 3), state=[(torch.zeros(2, 4),)]),
            "state must have one entry for each of the 2 layers, got 1",
        ),
        (
            lambda: KANLSTMCell(3, 4)(torch.zeros(3)),
            "KANLSTMCell takes x of shape (batch, 3), got (3,)",
        ),
    ],
)
def test_what_makes_no_sense(make, message):
    with pytest.raises(InputError) as caught:
        make()
    assert str(caught.value) == message
