"""Random-feature time: cosines and sines, learned or frozen."""

import torch
from torch import Tensor, nn

from edgewise.core import remembers
from edgewise.encoders.base import ENCODERS
from edgewise.encoders.periods import log_spaced_omega
from edgewise.encoders.pointwise import AbstractPointwiseEncoder


@ENCODERS.register("fourier")
@remembers
class FourierTime(AbstractPointwiseEncoder):
    r"""Cosines and sines of d/2 frequencies (Xu et al. 2019, arXiv 1911.12864, eq. 6).

    .. math::
        E(τ) = (\cos ω_1 τ, \dots, \cos ω_{d/2} τ,\ \sin ω_1 τ, \dots, \sin ω_{d/2} τ)

    The paper's factor 1/√d, which makes inner products a kernel, is left out: every dimension has
    unit amplitude like those of the other encoders. The periods start evenly spaced in their
    logarithm between two typical gaps and twice the span. Bounded and quasi-periodic outside.

    Args:
        dim: The size of the vectors, d; odd sizes have one more cosine.
        learnable: Whether the frequencies are learned; frozen ones are GraphMixer's choice
            (Cong et al. 2023, arXiv 2302.11636).

    Example:
        >>> E = FourierTime(8)(torch.rand(5))
        >>> torch.allclose(E[:, :4] ** 2 + E[:, 4:] ** 2, torch.ones(5, 4))
        True

    """

    def __init__(self, dim: int, learnable: bool = True) -> None:
        super().__init__(dim)
        self.learnable = learnable
        omega = torch.empty((dim + 1) // 2)
        if learnable:
            self.omega = nn.Parameter(omega)
        else:
            self.register_buffer("omega", omega)
        self._set_omega()

    def _fit(self, tau: Tensor, mask: Tensor) -> None:
        self._set_omega()

    def _set_omega(self) -> None:
        with torch.no_grad():
            self.omega.copy_(log_spaced_omega(len(self.omega), self.steps))

    def encode(self, tau: Tensor, counts: Tensor, features: Tensor | None = None) -> Tensor:
        angle = tau.unsqueeze(-1) * self.omega
        both = torch.cat([angle.cos(), angle.sin()], dim=-1)
        return both[..., : self.dim].to(self.omega.dtype)


@ENCODERS.register("fourier-fixed")
def fixed_fourier_time(dim: int) -> FourierTime:
    """:class:`FourierTime` with frozen frequencies.

    Example:
        >>> sum(p.numel() for p in fixed_fourier_time(8).parameters())
        0

    """
    return FourierTime(dim, learnable=False)
