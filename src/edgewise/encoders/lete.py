"""LeTE: a learnable transformation-based time encoding."""

import math

import torch
from torch import Tensor, nn

from edgewise.bases import BSpline, Fourier
from edgewise.core import InputError, remembers
from edgewise.encoders.base import ENCODERS
from edgewise.encoders.pointwise import AbstractPointwiseEncoder
from edgewise.layers import KANLinear


@ENCODERS.register("lete")
@remembers
class LeTE(AbstractPointwiseEncoder):
    r"""Linear maps of time, then learned functions: Fourier for one part, splines for the other.

    .. math::
        x_i = ω_i τ + b_i, \qquad
        E(τ) = s \odot \mathrm{LayerNorm}\bigl[\, Φ_F(x_{1 \dots pd}),\ Φ_S(x_{pd+1 \dots d}) \bigr]

    (Chen et al. 2025, ICML, PMLR 267:9073.) As in their released code, and unlike eq. 7 of the
    paper, Φ_F and Φ_S are full KAN layers that mix their inputs: cos mx and sin mx up to m = 5 with
    a bias, and cubic splines on five cells of [-1, 1] beside tanh, without bias. Three departures:
    the splines' weights, uninitialised memory in that code, start uniform as Linear's do; the rates
    are learned in radians per span, where theirs, in radians per raw unit, turn a far phase by
    whole cycles in one step of the optimiser; and they start, from one radian a gap, falling over
    as many decades as the data spans, where theirs fall over nine for any data
    (``rates="published"`` restores that).

    Far outside the training range the Fourier part repeats, the splines are zero and tanh is
    constant.

    Args:
        dim: The size of the vectors, d.
        p: The part of the dimensions that is Fourier, from 0 to 1.
        layer_norm: Whether to normalise; only where both parts exist, as in the paper's code.
        scale: Whether to learn the scale s; likewise.
        rates: ``"span"`` or ``"published"``.

    Example:
        >>> encoder = LeTE(8)
        >>> E = encoder(torch.arange(5))
        >>> torch.allclose(E.mean(-1), torch.zeros(5), atol=1e-6)
        True

    """

    def __init__(
        self,
        dim: int,
        p: float = 0.5,
        layer_norm: bool = True,
        scale: bool = True,
        rates: str = "span",
    ) -> None:
        super().__init__(dim)
        if not 0 <= p <= 1:
            raise InputError(f"p must lie between 0 and 1, got {p!r}")
        if rates not in ("span", "published"):
            raise InputError(f"rates must be 'span' or 'published', got {rates!r}")
        self.rates = rates
        fourier = math.floor(p * dim)
        self.parts = (fourier, dim - fourier)
        self.omega = nn.Parameter(torch.empty(dim))
        self.shift = nn.Parameter(torch.zeros(dim))
        self.fourier = _fourier_layer(fourier) if fourier else None
        self.spline = _spline_layer(dim - fourier) if dim > fourier else None
        both = self.fourier is not None and self.spline is not None
        self.norm = nn.LayerNorm(dim) if layer_norm and both else None
        self.scale = nn.Parameter(torch.ones(dim)) if scale and both else None
        self._set_omega()

    def _fit(self, tau: Tensor, mask: Tensor) -> None:
        self._set_omega()

    def _set_omega(self) -> None:
        """Falling rates, from one radian a typical gap down; for each part on its own."""
        decades = 9.0 if self.rates == "published" else math.log10(max(self.steps, 10.0))
        with torch.no_grad():
            for part, out in zip(self.parts, self.omega.split(self.parts), strict=True):
                out.copy_(self.steps * 10.0 ** -torch.linspace(0, decades, part).double())

    def encode(self, tau: Tensor, counts: Tensor, features: Tensor | None = None) -> Tensor:
        x = tau.unsqueeze(-1) * self.omega + self.shift
        x_f, x_s = x.split(self.parts, dim=-1)
        parts = []
        if self.fourier is not None:
            parts.append(self.fourier(x_f))
        if self.spline is not None:
            parts.append(self.spline(x_s.to(self._dtype)))
        y = torch.cat(parts, dim=-1)
        y = y if self.norm is None else self.norm(y)
        return y if self.scale is None else y * self.scale


def _fourier_layer(size: int) -> KANLinear:
    # The constant of the basis plays the part of the bias.
    layer = KANLinear(size, size, Fourier(harmonics=5), base=None)
    with torch.no_grad():
        nn.init.normal_(layer.coefficients, std=1 / math.sqrt(size * 5))
        layer.coefficients[0] = 0
    return layer


def _spline_layer(size: int) -> KANLinear:
    layer = KANLinear(size, size, BSpline(grid_size=5, degree=3, outside="zero"), base="tanh")
    bound = 1 / math.sqrt(size)
    with torch.no_grad():
        layer.base_weight.uniform_(-bound, bound)
        layer.coefficients.uniform_(-0.01, 0.01)
    return layer
