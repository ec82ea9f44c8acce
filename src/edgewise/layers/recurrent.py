"""Recurrent layers whose cells have functions on edges, over sequences with padding."""

from abc import ABC

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from edgewise.bases import AbstractBasis
from edgewise.core import InputError, check_count, remembers
from edgewise.layers.recurrent_cells import (
    AbstractKANCell,
    KANGRUCell,
    KANLSTMCell,
    KANRNNCell,
    State,
    five_splines,
)


class AbstractKANRecurrent(nn.Module, ABC):
    """Layers of one kind of cell, over sequences.

    What needs no state, U of all steps, is made before the loop. Where a mask says so a step is
    padding: the state stays as it was, whatever x holds there, so padding may lie on either side
    and the last state is that after the last real step.

    Args:
        in_features: The number of inputs, I.
        hidden_features: The number of hidden units, H.
        num_layers: How many layers, each reading the states of the one before.
        basis: The functions of the inputs, see `KANRNNCell`.
        state_basis: The functions of the states, also where a layer reads those of another.
        dropout: The probability of dropping a unit between layers.
        options: What else the cell takes.

    Attributes:
        cells: The cells.

    Shape:
        x ``(B, L, I)`` [, mask ``(B, L)``, true where a step is real] to the last layer's states
        ``(B, L, H)`` and the last state of each layer, (h,) or (h, c) of ``(B, H)`` each.

    Raises:
        InputError: If an argument or an input makes no sense.

    """

    cell: type[AbstractKANCell]

    def __init__(
        self,
        in_features: int,
        hidden_features: int,
        num_layers: int = 1,
        basis: str | AbstractBasis | None = None,
        state_basis: str | AbstractBasis | None = None,
        dropout: float = 0.0,
        **options: str,
    ) -> None:
        super().__init__()
        check_count("num_layers", num_layers)
        number = isinstance(dropout, (int, float)) and not isinstance(dropout, bool)
        if not number or not 0 <= dropout < 1:
            raise InputError(f"dropout must lie in [0, 1), got {dropout!r}")
        self.in_features, self.hidden_features = in_features, hidden_features
        cells = [self.cell(in_features, hidden_features, basis, state_basis, **options)]
        inner = five_splines(1.0) if state_basis is None else state_basis
        for _ in range(num_layers - 1):
            cells.append(self.cell(hidden_features, hidden_features, inner, inner, **options))
        self.cells = nn.ModuleList(cells)
        self.dropout = nn.Dropout(dropout)

    def forward(
        self,
        x: Float[Tensor, "B L I"],
        mask: Bool[Tensor, "B L"] | None = None,
        state: list[State] | None = None,
    ) -> tuple[Float[Tensor, "B L H"], list[State]]:
        """The states of the last layer, and each layer's last."""
        self._check(x, mask, state)
        x = x.to(self.cells[0].V.functions.coefficients.dtype)
        if mask is not None:
            # Not a product: NaN at padding would survive it.
            x = x.masked_fill(~mask.unsqueeze(-1), 0.0)
        ends = []
        for place, cell in enumerate(self.cells):
            x = self.dropout(x) if place else x
            own = cell.start(x) if state is None else state[place]
            x, end = _run(cell, x, mask, own)
            ends.append(end)
        return x, ends

    def _check(self, x: Tensor, mask: Tensor | None, state: list[State] | None) -> None:
        name = type(self).__name__
        if x.ndim != 3 or x.shape[-1] != self.in_features or not x.shape[1]:
            raise InputError(
                f"{name} takes x of shape (batch, steps, {self.in_features}) with at least one "
                f"step, got {tuple(x.shape)}"
            )
        if mask is not None and (mask.shape != x.shape[:2] or mask.dtype != torch.bool):
            raise InputError(
                f"mask must be {tuple(x.shape[:2])} truth values, got {mask.dtype} of shape "
                f"{tuple(mask.shape)}"
            )
        if state is not None and len(state) != len(self.cells):
            raise InputError(
                f"state must have one entry for each of the {len(self.cells)} layers, "
                f"got {len(state)}"
            )

    def extra_repr(self) -> str:
        return f"{self.in_features}, {self.hidden_features}"


def _run(
    cell: AbstractKANCell, x: Tensor, mask: Tensor | None, state: State
) -> tuple[Tensor, State]:
    """All states of one layer, and the last."""
    outputs = []
    for step, u in enumerate(cell.U(x).unbind(1)):
        new = cell.step(u, state)
        if mask is not None:
            real = mask[:, step, None]
            new = tuple(torch.where(real, n, s) for n, s in zip(new, state, strict=True))
        state = new
        outputs.append(state[0])
    return torch.stack(outputs, dim=1), state


@remembers
class KANRNN(AbstractKANRecurrent):
    r"""A recurrent network, :math:`h_t = \tanh(U(x_t) + V(h_{t-1}))`.

    See `AbstractKANRecurrent` for arguments and shapes, and `KANRNNCell` for U and V.

    Example:
        >>> layer, x = KANRNN(3, 4, num_layers=2), torch.randn(2, 5, 3)
        >>> states, ends = layer(x)
        >>> torch.equal(states[:, -1], ends[-1][0])
        True

    """

    cell = KANRNNCell

    def __init__(
        self,
        in_features: int,
        hidden_features: int,
        num_layers: int = 1,
        basis: str | AbstractBasis | None = None,
        state_basis: str | AbstractBasis | None = None,
        dropout: float = 0.0,
    ) -> None:
        super().__init__(in_features, hidden_features, num_layers, basis, state_basis, dropout)


class AbstractGatedKAN(AbstractKANRecurrent):
    """A recurrent network whose cells have gates.

    Args:
        in_features, hidden_features, num_layers, basis, state_basis, dropout: As in
            `AbstractKANRecurrent`.
        gates: ``"linear"``: functions on edges make the candidate only; ``"kan"``: the gates too.

    """

    def __init__(
        self,
        in_features: int,
        hidden_features: int,
        num_layers: int = 1,
        basis: str | AbstractBasis | None = None,
        state_basis: str | AbstractBasis | None = None,
        dropout: float = 0.0,
        gates: str = "linear",
    ) -> None:
        sizes = (in_features, hidden_features, num_layers)
        super().__init__(*sizes, basis, state_basis, dropout, gates=gates)


@remembers
class KANGRU(AbstractGatedKAN):
    """A GRU whose candidate (and gates, with ``gates="kan"``) is made by functions on edges.

    See `AbstractGatedKAN` for the arguments, and `KANGRUCell` for the formula.

    Example:
        >>> layer, x = KANGRU(3, 4), torch.randn(1, 5, 3)
        >>> mask = torch.tensor([[True, True, True, False, False]])
        >>> torch.equal(layer(x, mask)[1][0][0], layer(x[:, :3])[1][0][0])
        True

    """

    cell = KANGRUCell


@remembers
class KANLSTM(AbstractGatedKAN):
    """An LSTM whose candidate (and gates, with ``gates="kan"``) is made by functions on edges.

    See `AbstractGatedKAN` for the arguments, and `KANLSTMCell` for the formula.

    Example:
        >>> states, [(h, c)] = KANLSTM(3, 4)(torch.randn(2, 5, 3))
        >>> torch.equal(states[:, -1], h)
        True

    """

    cell = KANLSTMCell
