"""A dense layer whose edges are functions."""

import math
from collections.abc import Callable

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from edgewise.bases import AbstractBasis, make_basis
from edgewise.bases.base import check_positive
from edgewise.core import InputError, did_you_mean, remembers


def _silu(x: Tensor, order: int) -> Tensor:
    if order == 0:
        return F.silu(x)
    s = x.sigmoid()
    return s * (1 + x * (1 - s)) if order == 1 else s * (1 - s) * (2 + x * (1 - 2 * s))


def _tanh(x: Tensor, order: int) -> Tensor:
    t = x.tanh()
    return t if order == 0 else 1 - t * t if order == 1 else -2 * t * (1 - t * t)


def _identity(x: Tensor, order: int) -> Tensor:
    return x if order == 0 else torch.full_like(x, 2.0 - order)


BASE_ACTIVATIONS: dict[str, Callable[[Tensor, int], Tensor]] = {
    "silu": _silu,
    "tanh": _tanh,
    "identity": _identity,
}
"""Name to a(x, order): the activation and its first two derivatives."""


@remembers
class KANLinear(nn.Module):
    r"""A dense layer whose edges are functions of one number (Liu et al. 2024, arXiv 2404.19756).

    .. math::
        y_o = b_o + \sum_i φ_{oi}(x_i), \qquad
        φ_{oi}(x) = w_{oi}\, a(x) + \sum_{k=1}^K c_{kio}\, B_k(x)

    Args:
        in_features: The number of inputs, I.
        out_features: The number of outputs, O.
        basis: The functions B: a name, ``"module:Class"`` or a basis object.
        base: The activation a: ``"silu"``, ``"tanh"``, ``"identity"``, or None for no such term.
        bias: Whether there is a bias b.

    Shape:
        ``(..., I)`` to ``(..., O)``.

    Example:
        >>> layer = KANLinear(3, 2)
        >>> x = torch.randn(4, 3)
        >>> torch.allclose(layer(x), layer.curves(x).sum(-1), atol=1e-6)
        True

    """

    def __init__(
        self,
        in_features: int,
        out_features: int,
        basis: str | AbstractBasis = "bspline",
        *,
        base: str | None = "silu",
        bias: bool = False,
    ) -> None:
        super().__init__()
        for name, value in (("in_features", in_features), ("out_features", out_features)):
            check_positive(name, value)
        if base is not None and base not in BASE_ACTIVATIONS:
            raise InputError(
                f"unknown base activation {base!r}: {did_you_mean(base, BASE_ACTIVATIONS)}"
            )
        self.in_features, self.out_features, self.base = in_features, out_features, base
        self.basis = make_basis(basis)
        size = self.basis.size
        # K first: (K·I, O) is then one matrix without a copy.
        self.coefficients = nn.Parameter(torch.empty(size, in_features, out_features))
        self.base_weight = nn.Parameter(torch.empty(in_features, out_features)) if base else None
        self.bias = nn.Parameter(torch.zeros(out_features)) if bias else None
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Small random curves beside a base of unit gain; draws from torch's default generator.

        Independent coefficients of size s make the gradient grow by about (s K)² a layer, so they
        start at s = 0.1 / (K √I) · √K and the base term carries the signal.
        """
        scale = 0.1 if self.base_weight is not None else 1.0
        nn.init.normal_(
            self.coefficients, std=scale / math.sqrt(self.basis.size * self.in_features)
        )
        if self.base_weight is not None:
            nn.init.normal_(self.base_weight, std=1 / math.sqrt(0.356 * self.in_features))
        if self.bias is not None:
            nn.init.zeros_(self.bias)

    def forward(self, x: Float[Tensor, "*batch I"]) -> Float[Tensor, "*batch O"]:
        """The sum of the edges' values."""
        self._check(x)
        features = self._features(x)
        y = torch.einsum("...ik,kio->...o", features, self.coefficients)
        if self.base_weight is not None:
            y = y + self._activation(x) @ self.base_weight
        return y if self.bias is None else y + self.bias

    def curves(self, x: Float[Tensor, "*batch I"], order: int = 0) -> Float[Tensor, "*batch O I"]:
        """Each edge's value φ_oi(x_i), or its derivative of order 1 or 2.

        The bias is spread evenly over the inputs, so that the values sum to the layer's output.
        """
        self._check(x)
        y = torch.einsum("...ik,kio->...oi", self._features(x, order), self.coefficients)
        if self.base_weight is not None:
            y = y + self._activation(x, order).unsqueeze(-2) * self.base_weight.T
        if self.bias is not None and order == 0:
            y = y + self.bias.unsqueeze(-1) / self.in_features
        return y

    def _features(self, x: Tensor, order: int = 0) -> Tensor:
        # A basis computes in the precision of x; times keep float64 up to here.
        return self.basis.derivative(x, order).to(self.coefficients.dtype)

    def _activation(self, x: Tensor, order: int = 0) -> Tensor:
        return BASE_ACTIVATIONS[self.base](x.to(self.coefficients.dtype), order)

    def _check(self, x: Tensor) -> None:
        if x.ndim == 0 or x.shape[-1] != self.in_features:
            raise InputError(
                f"KANLinear takes {self.in_features} features on the last axis, "
                f"got x of shape {tuple(x.shape)}"
            )

    def extra_repr(self) -> str:
        return f"{self.in_features}, {self.out_features}, base={self.base!r}"
