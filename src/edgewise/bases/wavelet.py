"""Wavelets: one mother function, dyadic scales, translations over the domain."""

import math
from collections.abc import Callable

import torch
from jaxtyping import Float
from torch import Tensor

from edgewise.bases.base import BASES, AbstractBasis, check_call, check_domain
from edgewise.bases.chebyshev import check_finer
from edgewise.bases.gaussian import LOWEST_EXPONENT
from edgewise.core import InputError, check_count, did_you_mean, remembers


def _bell(u: Tensor) -> Tensor:
    return (-0.5 * u * u).clamp(min=LOWEST_EXPONENT).exp()


def _mexican_hat(u: Tensor, order: int) -> Tensor:
    r"""ψ(u) = c (1 - u²) exp(-u²/2), c = 2 / (√3 π^¼)."""
    polynomial = (
        lambda: 1 - u**2,
        lambda: u**3 - 3 * u,
        lambda: -(u**4) + 6 * u**2 - 3,
    )[order]()
    return 2 / (math.sqrt(3) * math.pi**0.25) * polynomial * _bell(u)


def _dog(u: Tensor, order: int) -> Tensor:
    r"""ψ(u) = -c u exp(-u²/2), the first derivative of a Gaussian, c = √2 / π^¼."""
    polynomial = (lambda: -u, lambda: u**2 - 1, lambda: 3 * u - u**3)[order]()
    return math.sqrt(2) / math.pi**0.25 * polynomial * _bell(u)


_MORLET_OMEGA = 5.0
_MORLET_MEAN = math.exp(-(_MORLET_OMEGA**2) / 2)
_MORLET_ENERGY = math.sqrt(math.pi) * (
    (1 + math.exp(-(_MORLET_OMEGA**2))) / 2
    - 2 * _MORLET_MEAN * math.exp(-(_MORLET_OMEGA**2) / 4)
    + _MORLET_MEAN**2
)


def _morlet(u: Tensor, order: int) -> Tensor:
    r"""ψ(u) = c (cos 5u - e^(-25/2)) exp(-u²/2); the subtraction makes its mean exactly zero."""
    w = _MORLET_OMEGA
    f = (w * u).cos() - _MORLET_MEAN
    if order == 1:
        f = -w * (w * u).sin() - u * f
    elif order == 2:
        f = -(w**2) * (w * u).cos() + 2 * u * w * (w * u).sin() + (u**2 - 1) * f
    return f * _bell(u) / math.sqrt(_MORLET_ENERGY)


MOTHERS: dict[str, Callable[[Tensor, int], Tensor]] = {
    "mexican_hat": _mexican_hat,
    "morlet": _morlet,
    "dog": _dog,
}


@BASES.register("wavelet")
@remembers
class Wavelet(AbstractBasis):
    r"""Wavelets :math:`B_j(x) = s_j^{-1/2}\, ψ\!\left(\frac{x - τ_j}{s_j}\right)`.

    Level by level, 1, 2, 4, … translations cover the domain and the scale halves, until there are
    ``count`` of them (Mallat 1999, ch. VII; the lattice is dyadic, the mothers are not orthogonal).
    Each has zero mean and unit energy; outside the domain they decay to zero.

    Args:
        count: The number of functions, K.
        mother: ``"mexican_hat"``, ``"morlet"`` or ``"dog"`` (first derivative of a Gaussian).
        domain: The interval that the translations cover.

    Example:
        >>> x = torch.linspace(-30, 30, 60_001, dtype=torch.float64)
        >>> energy = torch.trapezoid(Wavelet(count=3)(x).square(), x, dim=0)
        >>> torch.allclose(energy, torch.ones(3, dtype=torch.float64))
        True

    """

    def __init__(
        self,
        count: int = 8,
        mother: str = "mexican_hat",
        domain: tuple[float, float] = (-1.0, 1.0),
    ) -> None:
        super().__init__()
        self.size = check_count("count", count)
        self.domain = check_domain(domain)
        if mother not in MOTHERS:
            raise InputError(f"unknown mother wavelet {mother!r}: {did_you_mean(mother, MOTHERS)}")
        self.mother = mother
        low, high = self.domain
        scale, shift = [], []
        for j in range(count):
            level = int(math.log2(j + 1))
            cells = 2**level
            scale.append((high - low) / (4 * cells))
            shift.append(low + (high - low) * (j + 1 - cells + 0.5) / cells)
        self.register_buffer("scale", torch.tensor(scale, dtype=torch.float64))
        self.register_buffer("shift", torch.tensor(shift, dtype=torch.float64))

    def derivative(self, x: Float[Tensor, "*batch"], order: int = 1) -> Float[Tensor, "*batch K"]:
        check_call(x, order)
        scale = self.scale.to(x)
        u = (x.unsqueeze(-1) - self.shift.to(x)) / scale
        return MOTHERS[self.mother](u, order) * scale ** (-0.5 - order)

    def refined(self, grid_size: int) -> "tuple[Wavelet, Float[Tensor, 'K2 K']]":
        """The first ``grid_size`` wavelets; the new, narrower ones get the coefficient zero.

        Example:
            >>> coarse = Wavelet(count=3)
            >>> fine, T = coarse.refined(7)
            >>> x = torch.linspace(-1, 1, 9, dtype=torch.float64)
            >>> torch.allclose(fine(x) @ T, coarse(x))
            True

        """
        check_finer("count", self.size, grid_size)
        fine = Wavelet(grid_size, self.mother, self.domain).to(self.scale)
        fine.scale[: self.size] = self.scale
        fine.shift[: self.size] = self.shift
        return fine, torch.eye(fine.size, self.size, dtype=torch.float64)

    def extra_repr(self) -> str:
        return f"count={self.size}, mother={self.mother!r}, domain={self.domain}"
