"""Sines and cosines."""

import math
from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor, nn

from edgewise.bases.base import BASES, AbstractBasis, check_call
from edgewise.bases.chebyshev import check_finer
from edgewise.core import InputError, check_count, remembers


@BASES.register("fourier")
@remembers
class Fourier(AbstractBasis):
    r"""One constant and pairs of cosines and sines: K = 2 H + 1 functions.

    .. math::
        B(x) = (1,\ \cos ω_1 x, \dots, \cos ω_H x,\ \sin ω_1 x, \dots, \sin ω_H x)

    By default :math:`ω_h = 2π h / \text{period}`. Learnable ones are learned as they stand, not
    as logarithms: a step of an optimiser then turns all phases alike, and the fast ones stay put.

    Args:
        harmonics: The number of frequencies H, or the angular frequencies themselves.
        period: The period of the slowest pair; ignored where frequencies are given.
        learnable: Whether the frequencies are parameters.

    Example:
        >>> basis = Fourier(harmonics=2)
        >>> x = torch.linspace(-1, 1, 5, dtype=torch.float64)
        >>> torch.allclose(basis(x + 2 * torch.pi), basis(x))
        True

    """

    def __init__(
        self,
        harmonics: int | Sequence[float] = 5,
        period: float = 2 * math.pi,
        learnable: bool = False,
    ) -> None:
        super().__init__()
        if isinstance(harmonics, Sequence):
            omega = torch.tensor([float(f) for f in harmonics], dtype=torch.float64)
            if not len(omega) or not bool((omega > 0).all()):
                raise InputError(f"frequencies must be positive numbers, got {list(harmonics)!r}")
        else:
            check_count("harmonics", harmonics)
            if not period > 0:
                raise InputError(f"period must be positive, got {period!r}")
            omega = torch.arange(1, harmonics + 1, dtype=torch.float64) * (2 * math.pi / period)
            self.period = None if learnable else float(period)
        self.learnable = learnable
        self.size = 2 * len(omega) + 1
        # Radians per unit of x.
        if learnable:
            self.omega = nn.Parameter(omega.to(torch.get_default_dtype()))
        else:
            self.register_buffer("omega", omega)

    def set_frequencies(self, omega: Float[Tensor, " H"]) -> None:
        """Moves the frequencies, in place; as many as there are."""
        with torch.no_grad():
            self.omega.copy_(omega)

    def derivative(self, x: Float[Tensor, "*batch"], order: int = 1) -> Float[Tensor, "*batch K"]:
        check_call(x, order)
        omega = self.omega.to(x)
        phase = x.unsqueeze(-1) * omega
        one = (torch.ones_like if order == 0 else torch.zeros_like)(x).unsqueeze(-1)
        cos, sin = phase.cos(), phase.sin()
        if order == 1:
            cos, sin = -omega * sin, omega * cos
        elif order == 2:
            cos, sin = -(omega**2) * cos, -(omega**2) * sin
        return torch.cat([one, cos, sin], dim=-1)

    def refined(self, grid_size: int) -> "tuple[Fourier, Float[Tensor, 'K2 K']]":
        """The first ``grid_size`` harmonics of the same period; new ones get the coefficient zero.

        Raises:
            InputError: If ``grid_size`` is smaller than now, or the frequencies are no harmonics
                of one period that stay so.

        Example:
            >>> coarse = Fourier(harmonics=2)
            >>> fine, T = coarse.refined(5)
            >>> x = torch.linspace(-1, 1, 9, dtype=torch.float64)
            >>> torch.allclose(fine(x) @ T, coarse(x))
            True

        """
        H = (self.size - 1) // 2
        check_finer("harmonics", H, grid_size)
        if self.period is None or not self._is_harmonic():
            raise InputError(
                "Fourier can't be refined with frequencies that are given or learned: what comes "
                "next after them is known only of harmonics; make it with a number of them"
            )
        fine = Fourier(grid_size, self.period).to(self.omega)
        fine.omega[:H] = self.omega
        # The sines lie after all cosines, so they move up.
        column = torch.arange(self.size)
        T = torch.zeros(fine.size, self.size, dtype=torch.float64)
        T[column + (grid_size - H) * (column > H), column] = 1
        return fine, T

    def _is_harmonic(self) -> bool:
        """Whether the frequencies, which can be set, still are those of the period."""
        made = Fourier(len(self.omega), self.period).to(self.omega).omega
        # A module that has been in half precision keeps the rounding.
        return torch.allclose(self.omega, made, rtol=1e-2)

    def extra_repr(self) -> str:
        return f"harmonics={(self.size - 1) // 2}, learnable={self.learnable}"
