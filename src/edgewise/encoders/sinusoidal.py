"""The fixed sinusoids of the transformer."""

import torch
from torch import Tensor

from edgewise.core import remembers
from edgewise.encoders.base import ENCODERS
from edgewise.encoders.pointwise import AbstractPointwiseEncoder


@ENCODERS.register("sinusoidal")
@remembers
class Sinusoidal(AbstractPointwiseEncoder):
    r"""Sines and cosines of fixed wavelengths (Vaswani et al. 2017, arXiv 1706.03762, sec. 3.5).

    .. math::
        E_{2i}(u) = \sin(u / 10000^{2i/d}), \qquad E_{2i+1}(u) = \cos(u / 10000^{2i/d})

    u counts typical gaps since the origin, as positions are counted in a sentence; on a clock of
    τ = 0 … 1 all but three of 32 dimensions would be constant. Bounded at all times; no parameters.

    Args:
        dim: The size of the vectors, d.

    Example:
        >>> Sinusoidal(4)(torch.tensor([0.0]))
        tensor([[0., 1., 0., 1.]])

    """

    def encode(self, tau: Tensor, counts: Tensor, features: Tensor | None = None) -> Tensor:
        # Made anew, as a buffer would lose its digits in .half().
        rate = 10_000.0 ** -(torch.arange(0, self.dim, 2).to(tau) / self.dim)
        angle = (tau * self.steps).unsqueeze(-1) * rate
        pairs = torch.stack([angle.sin(), angle.cos()], dim=-1).flatten(-2)
        return pairs[..., : self.dim].to(self._dtype)
