"""Recurrent cells in which functions on edges make the next state."""

import copy
from abc import ABC, abstractmethod

import torch
from jaxtyping import Float
from torch import Tensor, nn

from edgewise.bases import AbstractBasis, BSpline, make_basis
from edgewise.core import InputError, check_count, did_you_mean, remembers
from edgewise.layers.linear import KANLinear

GATES = ("linear", "kan")
State = tuple[Tensor, ...]


class AbstractKANCell(nn.Module, ABC):
    """One step: the input's part u, which needs no state, and the step from state to state.

    The maps U of the input and V of the state give the gates and, last, the candidate. In the
    candidate both are `KANLinear` layers with a straight base, a x + Φ(x) with Φ small at first, so
    that with Φ = 0 the cell is the ordinary one; so are they in the gates with ``gates="kan"``.

    States lie in (-1, 1) as tanh leaves them, so the state's functions need no normalisation. The
    candidate is a tanh: the cell of TKAN (Genet & Inzirillo 2024, arXiv 2405.07344) has a sigmoid
    there in some of its backends, which can only be positive.

    Args:
        in_features: The number of inputs, I.
        hidden_features: The number of hidden units, H.
        basis: The functions of the inputs, by name or as an object, which is copied; None is five
            cubic B-splines on [-2, 2].
        state_basis: The functions of the state; None is five cubic B-splines on [-1, 1].
        gates: ``"linear"`` or ``"kan"``.

    Raises:
        InputError: If an argument or an input makes no sense.

    """

    parts: int
    """The number of parts of the maps: gates and candidate."""

    memories: int = 1
    """The number of tensors in a state: (h,) or (h, c)."""

    def __init__(
        self,
        in_features: int,
        hidden_features: int,
        basis: str | AbstractBasis | None = None,
        state_basis: str | AbstractBasis | None = None,
        gates: str = "linear",
    ) -> None:
        super().__init__()
        check_count("in_features", in_features)
        check_count("hidden_features", hidden_features)
        if gates not in GATES:
            raise InputError(f"unknown gates {gates!r}: {did_you_mean(gates, GATES)}")
        self.in_features, self.hidden_features = in_features, hidden_features
        basis = five_splines(2.0) if basis is None else basis
        state_basis = five_splines(1.0) if state_basis is None else state_basis
        plain = self.parts - 1 if gates == "linear" else 0
        parts = (hidden_features, plain, self.parts - plain)
        self.U = SplitMap(in_features, *parts, basis)
        self.V = SplitMap(hidden_features, *parts, state_basis)
        self.reset_parameters()

    @torch.no_grad()
    def reset_parameters(self) -> None:
        """Straight parts of unit gain, orthogonal for the state; draws from torch's generator."""
        for matrix in self.U.matrices():
            nn.init.normal_(matrix, std=self.in_features**-0.5)
        for matrix in self.V.matrices():
            for part in matrix.split(self.hidden_features):
                nn.init.orthogonal_(part)

    def forward(self, x: Float[Tensor, "B I"], state: State | None = None) -> State:
        """The next state, (h,) or (h, c), each (B, H); None starts from zeros."""
        if x.ndim != 2 or x.shape[-1] != self.in_features:
            raise InputError(
                f"{type(self).__name__} takes x of shape (batch, {self.in_features}), "
                f"got {tuple(x.shape)}"
            )
        x = x.to(self.V.functions.coefficients.dtype)
        return self.step(self.U(x), self.start(x) if state is None else state)

    def start(self, x: Tensor) -> State:
        """The state of zeros for a batch like x."""
        return (x.new_zeros(x.shape[0], self.hidden_features),) * self.memories

    @abstractmethod
    def step(self, u: Float[Tensor, "B P*H"], state: State) -> State:
        """From the state to the next, given the input's part u = U(x)."""

    def extra_repr(self) -> str:
        return f"{self.in_features}, {self.hidden_features}"


def five_splines(reach: float) -> BSpline:
    """What cells have for functions where nothing else is said, on [-reach, reach]."""
    # A step is a small call, and B-splines have the leanest: a step of KANLSTM takes half the time
    # that it takes with as many Gaussians, one of KANRNN a third.
    return BSpline(2, 3, (-reach, reach))


class SplitMap(nn.Module):
    """A linear map to the first parts of the output beside a KAN layer to the rest."""

    def __init__(
        self, inputs: int, width: int, plain: int, bent: int, basis: str | AbstractBasis
    ) -> None:
        super().__init__()
        self.linear = nn.Linear(inputs, plain * width) if plain else None
        own = copy.deepcopy(make_basis(basis))
        self.functions = KANLinear(inputs, bent * width, own, base="identity", bias=True)
        if self.linear is not None:
            nn.init.zeros_(self.linear.bias)

    def forward(self, x: Tensor) -> Tensor:
        bent = self.functions(x)
        return bent if self.linear is None else torch.cat([self.linear(x), bent], dim=-1)

    def matrices(self) -> list[Tensor]:
        """The weights of the straight parts, (out, in)."""
        plain = [] if self.linear is None else [self.linear.weight]
        return [*plain, self.functions.base_weight.T]


@remembers
class KANRNNCell(AbstractKANCell):
    r"""A recurrent cell, :math:`h' = \tanh(U(x) + V(h))`; see `AbstractKANCell`.

    Example:
        >>> cell, x = KANRNNCell(3, 4), torch.randn(2, 3)
        >>> h = cell(x)[0]
        >>> torch.allclose(cell(x, (h,))[0], torch.tanh(cell.U(x) + cell.V(h)))
        True

    """

    parts = 1

    def __init__(
        self,
        in_features: int,
        hidden_features: int,
        basis: str | AbstractBasis | None = None,
        state_basis: str | AbstractBasis | None = None,
    ) -> None:
        super().__init__(in_features, hidden_features, basis, state_basis)

    def step(self, u: Tensor, state: State) -> State:
        return ((u + self.V(state[0])).tanh(),)


@remembers
class KANGRUCell(AbstractKANCell):
    r"""A gated cell (Cho et al. 2014) whose candidate n is made by functions on edges.

    .. math::
        r = σ(U_r(x) + V_r(h)), \quad z = σ(U_z(x) + V_z(h)), \quad
        n = \tanh(U_n(x) + r\, V_n(h)), \quad h' = (1 - z)\, n + z\, h

    See `AbstractKANCell` for the arguments and the maps.

    Example:
        >>> cell = KANGRUCell(3, 4)
        >>> (h,) = cell(torch.randn(2, 3))
        >>> bool((h.abs() < 1).all())
        True

    """

    parts = 3

    def step(self, u: Tensor, state: State) -> State:
        (h,) = state
        u_r, u_z, u_n = u.chunk(3, dim=-1)
        v_r, v_z, v_n = self.V(h).chunk(3, dim=-1)
        r, z = (u_r + v_r).sigmoid(), (u_z + v_z).sigmoid()
        n = (u_n + r * v_n).tanh()
        return (n + z * (h - n),)


@remembers
class KANLSTMCell(AbstractKANCell):
    r"""A cell with a memory c (Hochreiter & Schmidhuber 1997), the candidate g made by functions.

    .. math::
        i, f, o = σ(U_{ifo}(x) + V_{ifo}(h)), \quad g = \tanh(U_g(x) + V_g(h)), \quad
        c' = f c + i g, \quad h' = o \tanh(c')

    The forget gate starts open, with a bias of 1. See `AbstractKANCell` for the rest.

    Example:
        >>> cell = KANLSTMCell(3, 4)
        >>> h, c = cell(torch.randn(2, 3))
        >>> bool((h.abs() < c.tanh().abs()).all())
        True

    """

    parts, memories = 4, 2

    @torch.no_grad()
    def reset_parameters(self) -> None:
        super().reset_parameters()
        layer = self.U.functions if self.U.linear is None else self.U.linear
        H = self.hidden_features
        layer.bias[H : 2 * H] = 1

    def step(self, u: Tensor, state: State) -> State:
        h, c = state
        i, f, o, g = (u + self.V(h)).chunk(4, dim=-1)
        c = f.sigmoid() * c + i.sigmoid() * g.tanh()
        return o.sigmoid() * c.tanh(), c
