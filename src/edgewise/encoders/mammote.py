"""KAN-MAMMOTE: K-MOTE, its difference between neighbours, and a state space driven by the gap."""

from collections.abc import Sequence

import torch
from jaxtyping import Bool, Float, Num
from torch import Tensor, nn

from edgewise.bases import AbstractBasis, BSpline
from edgewise.core import InputError, remembers
from edgewise.encoders.base import ENCODERS, AbstractTimeEncoder
from edgewise.encoders.kmote import DEFAULT_EXPERTS, KMOTE
from edgewise.layers import KANLinear, Mamba


@ENCODERS.register("kan-mammote")
@remembers
class KANMAMMOTE(AbstractTimeEncoder):
    r"""Absolute and relative time, carried along the sequence.

    .. math::
        e_k = \text{K-MOTE}(t_k), \qquad r_k = \text{KAN}(e_k - e_{k-1}), \qquad
        h^0_k = W\,[e_k, r_k, f_k] \\
        h^{l+1} = h^l + \text{Mamba}_l\bigl(\text{norm}(h^l);\ Δ_k = \text{softplus}(b + W_x h^l_k
        + W_t\,[r_k, g_k])\bigr) \\
        g_k = \bigl(\log(1 + (t_k - t_{k-1}) / \text{gap}),\ [k = 1]\bigr)

    The absolute embedding e and the relative one r both enter; the difference and the gap drive
    the step Δ of the state space, so that a longer wait forgets more. The first event has no
    neighbour: its difference and gap are 0 and it is marked as first. The gap is counted in
    typical gaps, hence free of the unit of time. Padding (on the right) freezes the state and is
    zero.

    Unlike the other encoders this one sees what came before, never what comes after.

    Args:
        dim: The size of the vectors.
        experts: As for :class:`KMOTE`.
        top_k: As for :class:`KMOTE`.
        combine: As for :class:`KMOTE`.
        rhythms: As for :class:`KMOTE`.
        layers: The number of state-space blocks.
        state_dim: The size of the state of a channel.
        expand: The width of a block over ``dim``.
        feature_dim: How many event features f enter.

    Example:
        >>> encoder = KANMAMMOTE(16).eval()
        >>> t = torch.rand(2, 9).sort(-1).values
        >>> torch.allclose(encoder(t)[:, :5], encoder(t[:, :5]), atol=1e-5)
        True

    """

    def __init__(
        self,
        dim: int,
        experts: Sequence[str | AbstractBasis | nn.Module] = DEFAULT_EXPERTS,
        top_k: int = 2,
        combine: str = "concat",
        rhythms: int = 1,
        layers: int = 1,
        state_dim: int = 16,
        expand: int = 2,
        feature_dim: int = 0,
    ) -> None:
        super().__init__(dim)
        self.feature_dim = feature_dim
        self.kmote = KMOTE(dim, experts, top_k, combine, rhythms)
        basis = BSpline(grid_size=5, degree=3, domain=(-4.0, 4.0))
        self.relative = KANLinear(dim, dim, basis, base="silu")
        self.mix = nn.Linear(2 * dim + feature_dim, dim)
        self.norms = nn.ModuleList(nn.RMSNorm(dim) for _ in range(layers))
        self.blocks = nn.ModuleList(
            Mamba(dim, state_dim, expand=expand, gap_dim=dim + 2) for _ in range(layers)
        )
        self.norm = nn.LayerNorm(dim)

    def fit_scale(
        self, times: Num[Tensor, "*batch L"], mask: Bool[Tensor, "*batch L"] | None = None
    ) -> "KANMAMMOTE":
        self.kmote.fit_scale(times, mask)
        super().fit_scale(times, mask)
        return self

    def forward(
        self,
        times: Num[Tensor, "B L"],
        mask: Bool[Tensor, "B L"] | None = None,
        features: Float[Tensor, "B L F"] | None = None,
    ) -> Float[Tensor, "B L dim"]:
        mask = self._check(times, mask, features)
        if not times.numel():
            return torch.zeros(*times.shape, self.dim, dtype=self._dtype, device=times.device)
        if times.ndim != 2:
            return self._reshaped(times, mask, features)
        absolute = self.kmote(times, mask)
        relative = self.relative(_difference(absolute)) * mask.unsqueeze(-1)
        gap = torch.cat([relative, self._gaps(times, mask).to(relative)], dim=-1)
        parts = [absolute, relative]
        if self.feature_dim:
            parts.append(features.to(absolute).masked_fill(~mask.unsqueeze(-1), 0.0))
        # The residual stream keeps its precision under autocast.
        h = self.mix(torch.cat(parts, dim=-1)).to(self._dtype)
        for norm, block in zip(self.norms, self.blocks, strict=True):
            h = h + block(norm(h), mask, gap)
        return self.norm(h).masked_fill(~mask.unsqueeze(-1), 0.0)

    def _reshaped(self, times: Tensor, mask: Tensor, features: Tensor | None) -> Tensor:
        """The same with one leading axis: one sequence, or a batch of batches."""
        if not times.ndim:
            raise InputError("KANMAMMOTE encodes sequences, got a single time without an axis")
        length = times.shape[-1]
        if self.feature_dim:
            features = features.reshape(-1, length, self.feature_dim)
        vectors = self(times.reshape(-1, length), mask.reshape(-1, length), features)
        return vectors.reshape(*times.shape, self.dim)

    def _gaps(self, times: Tensor, mask: Tensor) -> Float[Tensor, "B L 2"]:
        """log(1 + gap) in typical gaps, and a mark on the first event."""
        tau = self.normalise(times) * self.steps
        wait = torch.log1p(_difference(tau.unsqueeze(-1)).squeeze(-1).clamp(min=0)) * mask
        first = torch.zeros_like(wait)
        first[..., 0] = 1
        return torch.stack([wait, first], dim=-1)

    def usage(self) -> dict[str, Tensor]:
        """How K-MOTE's experts were used in the last forward pass; see :meth:`KMOTE.usage`."""
        return self.kmote.usage()

    @property
    def expert_names(self) -> tuple[str, ...]:
        """The names of K-MOTE's experts."""
        return self.kmote.expert_names

    def curves(self, times: Num[Tensor, " T"]) -> dict[str, Float[Tensor, "T d"]]:
        """K-MOTE's learned functions of time; see :meth:`KMOTE.curves`."""
        return self.kmote.curves(times)


def _difference(x: Float[Tensor, "B L d"]) -> Float[Tensor, "B L d"]:
    """x_k - x_{k-1} along the sequence; 0 for the first."""
    return torch.cat([torch.zeros_like(x[:, :1]), x[:, 1:] - x[:, :-1]], dim=1)
