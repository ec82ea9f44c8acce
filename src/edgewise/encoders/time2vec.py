"""Time2Vec: one linear term and learned sines."""

import math

import torch
from torch import Tensor, nn

from edgewise.core import remembers
from edgewise.encoders.base import ENCODERS
from edgewise.encoders.periods import log_spaced_omega
from edgewise.encoders.pointwise import AbstractPointwiseEncoder


@ENCODERS.register("time2vec")
@remembers
class Time2Vec(AbstractPointwiseEncoder):
    r"""One linear term and d - 1 sines (Kazemi et al. 2019, arXiv 1907.05321, eq. 1).

    .. math::
        E_0(τ) = ω_0 τ + φ_0, \qquad E_i(τ) = \sin(ω_i τ + φ_i)

    All ω and φ are learned. The paper leaves their first values open; here the periods are spaced
    evenly in their logarithm between two typical gaps and twice the span (set by ``fit_scale``) and
    the phases are uniform. Outside the training range the sines repeat and the line goes on.

    Args:
        dim: The size of the vectors, d.

    Example:
        >>> encoder = Time2Vec(3)
        >>> t = torch.tensor([0.0, 0.5, 1.0])
        >>> line = encoder(t)[:, 0]
        >>> torch.allclose(line[1], (line[0] + line[2]) / 2)
        True

    """

    def __init__(self, dim: int) -> None:
        super().__init__(dim)
        self.omega = nn.Parameter(torch.empty(dim))
        self.phi = nn.Parameter(torch.empty(dim))
        self._set_omega()
        with torch.no_grad():
            self.phi.uniform_(0, 2 * math.pi)
            self.phi[0] = 0

    def _fit(self, tau: Tensor, mask: Tensor) -> None:
        self._set_omega()

    def _set_omega(self) -> None:
        with torch.no_grad():
            self.omega[0] = 1
            if self.dim > 1:
                self.omega[1:] = log_spaced_omega(self.dim - 1, self.steps)

    def encode(self, tau: Tensor, counts: Tensor, features: Tensor | None = None) -> Tensor:
        angle = tau.unsqueeze(-1) * self.omega + self.phi
        return torch.cat([angle[:, :1], angle[:, 1:].sin()], dim=-1).to(self._dtype)
