"""Rational activations that groups of channels share: the functions of GR-KAN."""

from functools import partial

import torch
from jaxtyping import Float
from torch import Tensor, nn

from edgewise.bases import Rational
from edgewise.core import InputError, check_count, did_you_mean, remembers
from edgewise.layers.recompute import in_chunks

CHUNK = 1 << 18
"""Values of the basis that are held at once: 1 MiB in float32."""

# The best P/Q to silu, with Q = 1 + |A| as our Rational has it, weighted 1 on [-3, 3] and 0.3 on
# [-6, 6], in float64: off by at most 3.2e-5 on [-3, 3] and 3.2e-4 on [-6, 6].
_B = (0.0, 0.10477850488367865, 0.0, 0.0004631091281607653)
STARTS = {
    # Exactly x: the numerator is x Q(x).
    "identity": (0.0, 1.0, 0.0, _B[1], 0.0, _B[3]),
    "silu": (
        3.0512521530184018e-05, 0.5000000000108089, 0.24988157030893693,
        0.052389252647974976, 0.005431688699507942, 0.00023155456622475868,
    ),
}  # fmt: skip
"""The numerators to start from, by name."""


@remembers
class GroupRational(nn.Module):
    r"""A rational activation for each group of channels (Yang & Wang 2025, arXiv 2409.10594).

    .. math::
        F_g(x) = \frac{a_0 + a_1 x + \dots + a_5 x^5}{1 + |b_{g1} x + \dots + b_{g4} x^4|}

    One numerator a for all channels and one denominator b_g for each group g, as there. Before a
    linear layer it makes of each weight an edge, φ_ij(x) = w_ij F_{g(j)}(x). The paper's tables of
    coefficients were fitted for another denominator, 1 + Σ|b_n xⁿ|; these are for this one.

    Args:
        features: The number of channels.
        groups: The number of groups; it divides ``features``.
        start: What F is at first: ``"identity"`` or ``"silu"`` (within 4e-5 on [-3, 3]).

    Attributes:
        a: The numerator's coefficients, [6].
        basis: A `Rational` basis, which holds b.

    Shape:
        ``(..., features)`` to the same.

    Raises:
        InputError: If an argument or x makes no sense.

    Example:
        >>> x = torch.linspace(-3, 3, 16)
        >>> torch.allclose(GroupRational(16)(x), x, atol=1e-6)
        True

    """

    def __init__(self, features: int, groups: int = 8, start: str = "identity") -> None:
        super().__init__()
        check_count("features", features)
        if features % check_count("groups", groups):
            raise InputError(f"features is {features}: it must be a multiple of groups={groups}")
        if start not in STARTS:
            raise InputError(f"unknown start {start!r}: {did_you_mean(start, STARTS)}")
        self.features, self.start = features, start
        self.basis = Rational(5, 4, groups)
        self.a = nn.Parameter(torch.empty(6))
        self.reset_parameters()

    @torch.no_grad()
    def reset_parameters(self) -> None:
        """Starts from the named function in every group; nothing is random."""
        for row in self.basis.b:
            row.copy_(torch.tensor(_B))
        self.a.copy_(torch.tensor(STARTS[self.start]))

    def forward(self, x: Float[Tensor, "*batch C"]) -> Float[Tensor, "*batch C"]:
        """F of each number."""
        return self.derivative(x, order=0)

    def derivative(self, x: Float[Tensor, "*batch C"], order: int = 1) -> Float[Tensor, "*batch C"]:
        """F (order 0), or its derivative of order 1 or 2."""
        if x.ndim == 0 or x.shape[-1] != self.features:
            raise InputError(
                f"GroupRational takes {self.features} features on the last axis, "
                f"got x of shape {tuple(x.shape)}"
            )
        rows = x.reshape(-1, self.features)
        values = partial(_values, self.basis, order)
        return in_chunks(values, CHUNK // (6 * self.features), rows, self.a).reshape(x.shape)

    def extra_repr(self) -> str:
        return f"{self.features}, start={self.start!r}"


def _values(basis: Rational, order: int, x: Tensor, a: Tensor) -> Tensor:
    # Wide: the coefficients span four powers of ten.
    wide = torch.promote_types(x.dtype, torch.float32)
    return (basis.derivative(x.to(wide), order) * a.to(wide)).sum(-1).to(x.dtype)
