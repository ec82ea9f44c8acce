"""Gaussian radial functions."""

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor

from edgewise.bases.base import BASES, AbstractBasis, check_call, check_domain
from edgewise.bases.knots import check_sample
from edgewise.core import InputError, check_count, remembers

LOWEST_EXPONENT = -80.0
"""Below it exp() makes subnormal float32 numbers, which slow a CPU down five times."""


@BASES.register("gaussian")
@remembers
class Gaussian(AbstractBasis):
    r"""Bumps :math:`B_m(x) = \exp\!\left(-\tfrac12 \left(\frac{x - μ_m}{σ_m}\right)^2\right)`.

    Outside the domain they decay to zero.

    Args:
        centers: The number of centres K, spread evenly over the domain, or the centres themselves.
        domain: Where the centres lie.
        width: The standard deviation σ; by default the distance between neighbouring centres.

    Example:
        >>> Gaussian(centers=3)(torch.tensor([0.0])).round(decimals=4)
        tensor([[0.6065, 1.0000, 0.6065]])

    """

    def __init__(
        self,
        centers: int | Sequence[float] = 8,
        domain: tuple[float, float] = (-1.0, 1.0),
        width: float | None = None,
    ) -> None:
        super().__init__()
        self.domain = check_domain(domain)
        if isinstance(centers, Sequence):
            mu = torch.tensor([float(c) for c in centers], dtype=torch.float64)
            if not len(mu) or not bool(mu.isfinite().all() and (mu.diff() >= 0).all()):
                raise InputError(f"centers must be rising numbers, got {list(centers)!r}")
        else:
            check_count("centers", centers)
            low, high = self.domain
            ends = (low, high) if centers > 1 else ((low + high) / 2,) * 2
            mu = torch.linspace(*ends, centers, dtype=torch.float64)
        if width is not None and not width > 0:
            raise InputError(f"width must be positive, got {width!r}")
        self.size = len(mu)
        self.register_buffer("mu", mu)
        self.register_buffer("sigma", torch.ones_like(mu))
        if width is None:
            self._spread()
        else:
            self.sigma.fill_(width)

    def place(self, x: Float[Tensor, " n"]) -> None:
        """Puts the centres on the quantiles of the sample and widens them to their neighbours."""
        levels = torch.linspace(0, 1, self.size + 2, dtype=torch.float64, device=self.mu.device)
        quantiles = torch.quantile(_at_most(x.to(self.mu), 1_000_000), levels[1:-1])
        self.mu.copy_(quantiles)
        self._spread()

    def adapted(self, x: Float[Tensor, "n I"]) -> "Gaussian":
        """As many bumps, at the quantiles of all inputs together."""
        check_sample(x)
        other = Gaussian(self.size, self.domain).to(self.mu.device)
        other.place(x.flatten())
        return other

    def _spread(self) -> None:
        """Sets each width to the mean distance to the two neighbours, never to zero."""
        span = self.domain[1] - self.domain[0]
        if self.size == 1:
            self.sigma.fill_(span / 2)
            return
        gaps = self.mu.diff()
        around = (torch.cat([gaps[:1], gaps]) + torch.cat([gaps, gaps[-1:]])) / 2
        self.sigma.copy_(around.clamp(min=span / (8 * self.size)))

    def derivative(self, x: Float[Tensor, "*batch"], order: int = 1) -> Float[Tensor, "*batch K"]:
        check_call(x, order)
        sigma = self.sigma.to(x)
        z = (x.unsqueeze(-1) - self.mu.to(x)) / sigma
        bump = (-0.5 * z * z).clamp(min=LOWEST_EXPONENT).exp()
        if order == 1:
            return -z / sigma * bump
        if order == 2:
            return (z * z - 1) / sigma**2 * bump
        return bump

    def extra_repr(self) -> str:
        return f"centers={self.size}, domain={self.domain}"


def _at_most(x: Tensor, count: int) -> Tensor:
    """Evenly chosen entries of the sorted sample: torch.quantile takes 16 million at most."""
    if x.numel() <= count:
        return x
    index = torch.linspace(0, x.numel() - 1, count, device=x.device).long()
    return x.sort().values[index]
