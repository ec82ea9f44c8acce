"""Recurrent modules as one operation: a traced graph holds one step, not a number of them."""

from collections.abc import Callable
from functools import partial

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn
from torch._higher_order_ops.scan import scan  # no public name yet; both exporters know it
from torch.nn import functional as F

from edgewise.layers.mamba import Mamba, MambaState
from edgewise.layers.recurrent import AbstractKANRecurrent
from edgewise.models.sequence import Recurrent

State = tuple[Tensor, ...]
Step = Callable[[State, State], tuple[State, Tensor]]


def over_steps(step: Step, state: State, *sequences: Tensor) -> tuple[Tensor, State]:
    """Takes ``step`` along the second axis; in a trace how many steps there are stays unknown.

    Args:
        step: From the state and the slices of now to the next state and what is given out.
        state: The state before the first step.
        sequences: Tensors (B, L, ...).

    Returns:
        What the steps gave, (B, L, ...), and the last state.

    Example:
        >>> add = lambda state, now: ((state[0] + now[0],), state[0] + now[0])
        >>> over_steps(add, (torch.zeros(1),), torch.tensor([[1.0, 2.0, 3.0]]))[0].tolist()
        [[1.0, 3.0, 6.0]]

    """

    def combine(carry: State, now: State) -> tuple[State, Tensor]:
        carry, given = step(carry, now)
        # The operation refuses to give out the state itself.
        return carry, given.clone()

    if not torch.compiler.is_compiling():
        found = []
        for now in zip(*(s.unbind(1) for s in sequences), strict=True):
            state, given = step(state, now)
            found.append(given)
        return torch.stack(found, dim=1), state
    along = tuple(s.transpose(0, 1) for s in sequences)
    state, given = scan(combine, tuple(s.clone() for s in state), along)
    return given.transpose(0, 1), state


class StepwiseKAN(AbstractKANRecurrent):
    """A `KANRNN`, `KANGRU` or `KANLSTM` of any length."""

    def forward(
        self,
        x: Float[Tensor, "B L I"],
        mask: Bool[Tensor, "B L"] | None = None,
        state: list[State] | None = None,
    ) -> tuple[Float[Tensor, "B L H"], list[State]]:
        self._check(x, mask, state)
        x = x.to(self.cells[0].V.functions.coefficients.dtype)
        real = torch.ones_like(x[..., 0], dtype=torch.bool) if mask is None else mask
        x = x.masked_fill(~real.unsqueeze(-1), 0.0)
        ends = []
        for place, cell in enumerate(self.cells):
            start = cell.start(x) if state is None else state[place]
            x, end = over_steps(partial(_kan_step, cell), start, cell.U(x), real)
            ends.append(end)
        return x, ends


def _kan_step(cell: nn.Module, state: State, now: State) -> tuple[State, Tensor]:
    u, real = now
    new = cell.step(u, state)
    kept = tuple(torch.where(real.unsqueeze(-1), n, s) for n, s in zip(new, state, strict=True))
    return kept, kept[0]


class StepwiseRecurrent(Recurrent):
    """torch's RNN, GRU or LSTM of any length; its own are traced for one length only."""

    def forward(self, x: Float[Tensor, "B L d"], mask: Tensor) -> Float[Tensor, "B L H"]:
        step, memories = _CELLS[type(self.rnn)]
        for w_x, w_h, b_x, b_h in self.rnn.all_weights:
            zeros = x.new_zeros(x.shape[0], self.rnn.hidden_size)
            u = F.linear(x, w_x, b_x)
            x, _ = over_steps(partial(step, w_h, b_h), (zeros,) * memories, u)
        return x


def _rnn_step(w_h: Tensor, b_h: Tensor, state: State, now: State) -> tuple[State, Tensor]:
    h = (now[0] + F.linear(state[0], w_h, b_h)).tanh()
    return (h,), h


def _gru_step(w_h: Tensor, b_h: Tensor, state: State, now: State) -> tuple[State, Tensor]:
    (h,) = state
    u_r, u_z, u_n = now[0].chunk(3, dim=-1)
    v_r, v_z, v_n = F.linear(h, w_h, b_h).chunk(3, dim=-1)
    z = (u_z + v_z).sigmoid()
    n = (u_n + (u_r + v_r).sigmoid() * v_n).tanh()
    h = n + z * (h - n)
    return (h,), h


def _lstm_step(w_h: Tensor, b_h: Tensor, state: State, now: State) -> tuple[State, Tensor]:
    h, c = state
    i, f, g, o = (now[0] + F.linear(h, w_h, b_h)).chunk(4, dim=-1)
    c = f.sigmoid() * c + i.sigmoid() * g.tanh()
    h = o.sigmoid() * c.tanh()
    return (h, c), h


# The step of each kind, and the number of tensors in its state.
_CELLS = {nn.RNN: (_rnn_step, 1), nn.GRU: (_gru_step, 1), nn.LSTM: (_lstm_step, 2)}


class StepwiseMamba(Mamba):
    """The recurrence as it is written: how many chunks there are depends on the length."""

    def forward(
        self,
        x: Float[Tensor, "batch length dim"],
        mask: Bool[Tensor, "batch length"] | None = None,
        gap: Float[Tensor, "batch length gap_dim"] | None = None,
    ) -> Float[Tensor, "batch length dim"]:
        self._check_input(x, mask, gap)
        if mask is not None:
            x = x.masked_fill(~mask.unsqueeze(-1), 0.0)
            gap = None if gap is None else gap.masked_fill(~mask.unsqueeze(-1), 0.0)
        # Not len(x), which makes a fixed number of a traced size.
        return self._read(x, mask, gap, self.initial_state(x.shape[0], x.dtype))[0]

    def _read(
        self, w: Tensor, mask: Tensor | None, gap: Tensor | None, state: MambaState
    ) -> tuple[Tensor, MambaState]:
        z, xBC, r = self.in_proj(w).split([self.inner, self._channels, self.heads], dim=-1)
        xBC, window = self._convolve(xBC, state.window)
        x, B, C = xBC.split([self.inner, self.state_dim, self.state_dim], dim=-1)
        x = x.unflatten(-1, (self.heads, self.head_dim))
        delta = self._delta(r, gap, mask)
        kept = (-delta * self.log_rate.exp()).exp()
        y, (memory,) = over_steps(_scan_step, (state.memory,), kept, delta.unsqueeze(-1) * x, B, C)
        y = self.norm((y + self.D[:, None] * x).flatten(-2) * F.silu(z))
        return self.out_proj(y), MambaState(window, memory)


def _scan_step(state: State, now: State) -> tuple[State, Tensor]:
    kept, u, B, C = now
    H = kept[..., None, None] * state[0] + u.unsqueeze(-1) * B[:, None, None, :]
    return (H,), (H * C[:, None, None, :]).sum(-1)
