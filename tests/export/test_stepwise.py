import pytest
import torch
from torch import nn

from edgewise.export.stepwise import over_steps
from edgewise.export.traceable import traceable
from edgewise.layers import KANGRU, KANLSTM, KANRNN, Mamba
from edgewise.models.sequence import Recurrent

MASK = torch.tensor(
    [[True] * 5, [True, True, False, False, False], [False, True, True, True, False]]
)


def same(found, expected):
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-12)


def test_one_step_after_another():
    x = torch.randn(2, 4, 3, dtype=torch.float64)

    def step(state, now):
        return (state[0] + now[0], state[1] + 1), state[0] * now[0]

    y, (total, count) = over_steps(step, (x.new_zeros(2, 3), x.new_zeros(2)), x)
    same(y, (x.cumsum(1) - x) * x)
    same(total, x.sum(1))
    assert count.tolist() == [4, 4]


@pytest.mark.parametrize("kind", [nn.RNN, nn.GRU, nn.LSTM])
@pytest.mark.parametrize("layers", [1, 2])
def test_torchs_recurrent_networks(kind, layers):
    model = Recurrent(kind, 3, hidden_size=4, num_layers=layers).double()
    for parameter in model.parameters():
        nn.init.normal_(parameter)
    x = torch.randn(3, 5, 3, dtype=torch.float64)
    same(traceable(model)(x, MASK), model(x, MASK).detach())


@pytest.mark.parametrize("kind", [KANRNN, KANGRU, KANLSTM])
@pytest.mark.parametrize("mask", [None, MASK])
def test_recurrent_networks_of_functions(kind, mask):
    model = kind(3, 4, num_layers=2).double()
    x = torch.randn(3, 5, 3, dtype=torch.float64)
    x[1, 3] = torch.nan if mask is not None else 0.0
    with torch.no_grad():
        expected, ends = model(x, mask)
        found, other_ends = traceable(model)(x, mask)
    same(found, expected)
    for own, other in zip(ends, other_ends, strict=True):
        for a, b in zip(own, other, strict=True):
            same(b, a)


@pytest.mark.parametrize("gap_dim", [0, 2])
@pytest.mark.parametrize("length", [1, 5, 60])
def test_mamba(gap_dim, length):
    model = Mamba(4, 3, gap_dim=gap_dim).double()
    x = torch.randn(2, length, 4, dtype=torch.float64)
    gap = torch.rand(2, length, gap_dim, dtype=torch.float64) if gap_dim else None
    mask = torch.arange(length) < torch.tensor([[length], [(length + 1) // 2]])
    x[~mask] = torch.nan
    with torch.no_grad():
        same(traceable(model)(x, mask, gap), model(x, mask, gap))
