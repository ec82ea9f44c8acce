import pytest
import torch
import torch.nn.functional as F
from torch import nn

from edgewise.core import InputError, generator, seeded
from edgewise.layers.mamba import Mamba
from edgewise.layers.scan import selective_scan_sequential

pytestmark = pytest.mark.usefixtures("each_path")


def make(dim=6, *, seed=0, dtype=torch.float64, **options):
    with seeded(seed, "mamba"):
        return Mamba(dim, **options).to(dtype)


def sequences(batch, length, dim, seed=0):
    return torch.randn(batch, length, dim, generator=generator(seed, "x"), dtype=torch.float64)


def slowly(mamba, w, gap=None):
    """The formula of the docstring, with conv1d and the plain loop."""
    channels = mamba.inner + 2 * mamba.state_dim
    z, xBC, r = (w @ mamba.in_proj.weight.T).split([mamba.inner, channels, mamba.heads], -1)
    left = F.pad(xBC.mT, (mamba.conv_width - 1, 0))
    weight = mamba.conv_weight[:, None]
    xBC = F.silu(F.conv1d(left, weight, mamba.conv_bias, groups=channels)).mT
    x, B, C = xBC.split([mamba.inner, mamba.state_dim, mamba.state_dim], -1)
    x = x.reshape(*x.shape[:2], mamba.heads, mamba.head_dim)
    r = r + mamba.delta_bias
    if gap is not None:
        r = r + gap @ mamba.gap_proj.weight.T
    delta = torch.log1p(r.exp())
    y, _ = selective_scan_sequential(x, delta, -mamba.log_rate.exp(), B, C)
    y = (y + mamba.D[None, None, :, None] * x).flatten(2) * z * z.sigmoid()
    y = y / (y.square().mean(-1, keepdim=True) + 1e-5).sqrt() * mamba.norm.weight
    return y @ mamba.out_proj.weight.T


@pytest.mark.parametrize("length", [1, 63, 100])
@pytest.mark.parametrize("options", [{}, {"conv_width": 1, "chunk": 7, "head_dim": 3}])
def test_the_layer_is_its_formula_in_value_and_gradient(length, options):
    mamba, w = make(**options), sequences(2, length, 6).requires_grad_()
    weights = torch.randn(2, length, 6, generator=generator(1), dtype=torch.float64)
    results = []
    for read in (mamba, lambda w: slowly(mamba, w)):
        y = read(w)
        results.append((y, *torch.autograd.grad((y * weights).sum(), [w, *mamba.parameters()])))
    for fast, slow in zip(*results, strict=True):
        torch.testing.assert_close(fast, slow, rtol=1e-9, atol=1e-10)


def test_the_gap_drives_the_step():
    mamba, w = make(gap_dim=2), sequences(2, 10, 6)
    gap = sequences(2, 10, 2, seed=1)
    y = mamba(w, gap=gap)
    torch.testing.assert_close(y, slowly(mamba, w, gap), rtol=1e-9, atol=1e-10)
    change = (y - mamba(w, gap=torch.zeros_like(gap))).abs().max()
    assert 0 < change < 0.1 * y.abs().max()


def test_a_longer_gap_forgets_more():
    mamba = make(gap_dim=1, conv_width=1)
    with torch.no_grad():
        mamba.gap_proj.weight.fill_(5.0)
        mamba.conv_bias.zero_()
    state = mamba.initial_state(1)
    state = state._replace(memory=torch.ones_like(state.memory))
    for gap in (-1.0, 0.0, 1.0):
        # A step without input writes nothing: what is in the memory is what the gap let through.
        nothing, gap = sequences(1, 1, 6)[:, 0] * 0, torch.tensor([[gap]], dtype=torch.float64)
        _, after = mamba.step(nothing, state, gap)
        delta = torch.log1p((mamba.delta_bias + 5.0 * gap).exp())
        kept = torch.exp(-delta * mamba.log_rate.exp())
        torch.testing.assert_close(after.memory, kept[0, :, None, None].expand(1, 1, 12, 16))


@pytest.mark.parametrize("gap_dim", [0, 2])
def test_step_by_step_is_the_whole(gap_dim):
    mamba, w = make(gap_dim=gap_dim), sequences(3, 65, 6)
    gap = sequences(3, 65, gap_dim, seed=1) if gap_dim else None
    state, outputs = mamba.initial_state(3), []
    for k in range(65):
        y, state = mamba.step(w[:, k], state, None if gap is None else gap[:, k])
        outputs.append(y)
    whole = mamba(w, gap=gap)
    torch.testing.assert_close(torch.stack(outputs, dim=1), whole, rtol=1e-9, atol=1e-10)
    assert state.window.shape == (3, 3, 12 + 32)
    assert state.memory.shape == (3, 1, 12, 16)


def test_an_output_depends_on_no_later_input():
    mamba = make(chunk=4)
    J = torch.autograd.functional.jacobian(lambda w: mamba(w).sum(-1), sequences(1, 11, 6))
    influence = J[0, :, 0].abs().sum(-1)
    assert torch.equal(influence.triu(1), torch.zeros_like(influence))
    assert (influence + torch.ones_like(influence).triu(1) > 0).all()


@pytest.mark.parametrize("filling", [0.0, 1e6, float("nan")])
def test_padding_reaches_nothing(filling):
    mamba, lengths = make(gap_dim=1), torch.tensor([63, 1, 40])
    mask = torch.arange(63) < lengths[:, None]
    w, gap = sequences(3, 63, 6), sequences(3, 63, 1, seed=1)
    padded = [t.masked_fill(~mask[..., None], filling).requires_grad_() for t in (w, gap)]
    y = mamba(padded[0], mask, padded[1])
    assert torch.equal(y[~mask], torch.zeros_like(y[~mask]))
    for i, n in enumerate(lengths):
        alone = mamba(w[i : i + 1, :n], gap=gap[i : i + 1, :n])
        torch.testing.assert_close(y[i : i + 1, :n], alone, rtol=1e-9, atol=1e-10)
    y.sum().backward()
    for t in padded:
        assert (t.grad[~mask] == 0).all()
        assert (t.grad[mask].abs().sum(-1) > 0).all()
    assert all(p.grad.isfinite().all() for p in mamba.parameters())


def test_a_masked_step_freezes_the_state():
    # Without a convolution that looks back, reading on after a gap is as if it were not there.
    mamba, w = make(conv_width=1), sequences(1, 20, 6)
    mask = torch.rand(1, 20, generator=generator(2)) > 0.4
    torch.testing.assert_close(mamba(w, mask)[mask], mamba(w[mask][None])[0], rtol=1e-9, atol=1e-10)


def test_it_can_be_differentiated_twice():
    mamba = make(2, state_dim=2, conv_width=2, chunk=2)
    w = sequences(1, 3, 2).requires_grad_()
    assert torch.autograd.gradcheck(mamba, w)
    assert torch.autograd.gradgradcheck(mamba, w)


def test_the_initial_values_are_those_promised():
    mamba = make(64, head_dim=1, gap_dim=3, delta_range=(1e-3, 1e-1))
    delta = F.softplus(mamba.delta_bias)
    assert 0.99e-3 < delta.min() < delta.max() < 1.01e-1
    # Log-uniform: half of the steps are below the geometric mean of the ends.
    assert 0.4 < (delta < 1e-2).double().mean() < 0.6
    rates = mamba.log_rate.exp()
    torch.testing.assert_close(
        rates[[0, -1]], torch.tensor([1.0, 16.0]).double(), rtol=1e-6, atol=0
    )
    assert (mamba.D == 1).all()
    assert 0.015 < mamba.gap_proj.weight.std() < 0.025


@pytest.mark.parametrize(("dim", "head_dim"), [(32, 16), (5, 10), (17, 2), (50, 10)])
def test_the_default_head_divides_the_width(dim, head_dim):
    mamba = Mamba(dim)
    assert mamba.head_dim == head_dim
    assert mamba.heads * head_dim == 2 * dim


def test_bfloat16_is_finite_and_near():
    mamba, w = make(32, dtype=torch.float32), sequences(2, 100, 32).float()
    y = mamba(w)
    low = make(32, dtype=torch.bfloat16)(w.bfloat16())
    assert low.dtype == torch.bfloat16
    with torch.autocast("cpu", dtype=torch.bfloat16):
        mixed = mamba(w)
        mixed.float().square().mean().backward()
    for other in (low, mixed):
        assert (other.float() - y).abs().max() < 0.05 * y.abs().max()
    assert all(p.grad.isfinite().all() for p in mamba.parameters())


class Recall(nn.Module):
    """A symbol is shown once, at a marked moment among noise, and asked for at the end."""

    def __init__(self):
        super().__init__()
        self.embed, self.mamba, self.head = nn.Linear(5, 16), Mamba(16), nn.Linear(16, 4)

    def forward(self, x, mask, last):
        h = self.embed(x)
        h = h + self.mamba(h, mask)
        return self.head(h[torch.arange(len(x)), last])


def recall_task(batch, g):
    symbols = torch.randint(4, (batch, 20), generator=g)
    last = torch.randint(15, 20, (batch,), generator=g)
    marked = torch.randint(8, (batch,), generator=g)
    x = F.one_hot(symbols, 5).float()
    x[torch.arange(batch), marked, 4] = 3.0
    target = symbols[torch.arange(batch), marked]
    return x, torch.arange(20) <= last[:, None], last, target


def test_it_learns_to_keep_what_matters():
    with seeded(0, "recall"):
        model = Recall()
    g = generator(0, "task")
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3, weight_decay=0.0)
    for _ in range(300):
        *inputs, target = recall_task(64, g)
        loss = F.cross_entropy(model(*inputs), target)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    *inputs, target = recall_task(500, g)
    with torch.no_grad():
        accuracy = (model(*inputs).argmax(-1) == target).float().mean()
    assert accuracy > 0.95  # guessing is right a quarter of the time


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"dim": 0}, "dim is 0: it must be a whole number of at least 1"),
        ({"dim": 2.5}, "dim is 2.5: it must be a whole number of at least 1"),
        ({"state_dim": -1}, "state_dim is -1: it must be a whole number of at least 1"),
        ({"expand": 0}, "expand is 0: it must be a whole number of at least 1"),
        ({"conv_width": 0}, "conv_width is 0: it must be a whole number of at least 1"),
        ({"chunk": 0}, "chunk is 0: it must be a whole number of at least 1"),
        ({"gap_dim": -1}, "gap_dim is -1: it must be a whole number of at least 0"),
        ({"head_dim": 0}, "head_dim is 0: it must be a whole number of at least 1"),
        ({"head_dim": 5}, "head_dim is 5: it must divide the inner width expand * dim = 12"),
        (
            {"delta_range": (0.1, 0.01)},
            "delta_range is (0.1, 0.01): it must be 0 < low ≤ high < ∞",
        ),
    ],
)
def test_a_wrong_option_is_named(options, message):
    with pytest.raises(InputError) as error:
        Mamba(**{"dim": 6, **options})
    assert str(error.value) == message


@pytest.mark.parametrize(
    ("gap_dim", "x", "mask", "gap", "message"),
    [
        (
            0,
            (2, 6),
            None,
            None,
            "x has shape (2, 6): this layer reads (batch, length, 6) with length ≥ 1",
        ),
        (
            0,
            (2, 3, 5),
            None,
            None,
            "x has shape (2, 3, 5): this layer reads (batch, length, 6) with length ≥ 1",
        ),
        (
            0,
            (2, 0, 6),
            None,
            None,
            "x has shape (2, 0, 6): this layer reads (batch, length, 6) with length ≥ 1",
        ),
        (
            0,
            (2, 3, 6),
            torch.ones(2, 3),
            None,
            "mask is torch.float32 of shape (2, 3): it must be torch.bool of shape (2, 3), "
            "True at real steps",
        ),
        (
            0,
            (2, 3, 6),
            torch.ones(2, 4, dtype=torch.bool),
            None,
            "mask is torch.bool of shape (2, 4): it must be torch.bool of shape (2, 3), "
            "True at real steps",
        ),
        (1, (2, 3, 6), None, None, "gap is missing: this layer was made with gap_dim=1"),
        (
            0,
            (2, 3, 6),
            None,
            torch.ones(2, 3, 1),
            "gap is given: this layer was made with gap_dim=0",
        ),
        (
            1,
            (2, 3, 6),
            None,
            torch.ones(2, 3),
            "gap has shape (2, 3): beside x (2, 3, 6) it must be (2, 3, 1)",
        ),
    ],
)
def test_a_wrong_input_is_named(gap_dim, x, mask, gap, message):
    with pytest.raises(InputError) as error:
        Mamba(6, gap_dim=gap_dim)(torch.zeros(x), mask, gap)
    assert str(error.value) == message


def test_a_wrong_step_is_named():
    mamba = Mamba(6)
    with pytest.raises(InputError) as error:
        mamba.step(torch.zeros(2, 3, 6), mamba.initial_state(2))
    assert str(error.value) == (
        "x has shape (2, 3, 6): a step must be (batch, 6); "
        "call the layer itself for whole sequences"
    )
    with pytest.raises(InputError) as error:
        mamba.step(torch.zeros(2, 6), mamba.initial_state(3))
    assert str(error.value) == (
        "the state is of 3 sequences and x of 2: start with initial_state(2)"
    )
