"""Chebyshev polynomials."""

import torch
from jaxtyping import Float
from torch import Tensor

from edgewise.bases.base import BASES, AbstractBasis, check_call, check_domain
from edgewise.core import InputError, check_count, remembers
from edgewise.kernels.polynomials import Polynomials


@BASES.register("chebyshev")
@remembers
class Chebyshev(AbstractBasis):
    r"""Chebyshev polynomials of the first kind, T\ :sub:`0` to T\ :sub:`d`: K = d + 1 functions.

    Without ``constant`` from T\ :sub:`1` on, K = d functions, for where a constant can't be told
    from data: before a normalisation, or with a bias. Left in, its coefficients have no gradient
    but rounding, which Adam brings to the size of any other.

    Of the local coordinate u = (2 x - low - high) / (high - low), which runs from -1 to 1 over the
    domain, they follow the three-term recurrence (Mason & Handscomb 2002, eq. 1.3), and so do
    their derivatives with respect to u:

    .. math::
        T_{n+1} &= 2u\, T_n - T_{n-1}, \qquad T_0 = 1,\ T_1 = u \\
        T'_{n+1} &= 2 T_n + 2u\, T'_n - T'_{n-1} \\
        T''_{n+1} &= 4 T'_n + 2u\, T''_n - T''_{n-1}

    Not :math:`\cos(n \arccos u)`: its gradient is infinite at u = ±1, where squashed inputs gather.

    T_n would grow like u\ :sup:`n` outside the domain, so the functions are T_n(t) of t = tanh u
    everywhere, as in ChebyKAN; with t' = 1 - t²,

    .. math::
        \frac{d T_n}{du} = t'\, T'_n(t), \qquad
        \frac{d^2 T_n}{du^2} = t'^2\, T''_n(t) - 2 t\, t'\, T'_n(t) .

    With ``outside="linear"`` they are T_n(u) on the domain, and outside the straight line that
    touches T_n at the end, whose slope is n²: deep networks of them run away.

    Half precision is computed in float32: the recurrence multiplies a rounding error by up to n².

    Args:
        degree: The highest degree, d.
        domain: What u maps to [-1, 1].
        outside: ``"tanh"`` or ``"linear"``.
        constant: Whether T\ :sub:`0` is among the functions.

    Example:
        >>> Chebyshev(degree=3, outside="linear")(torch.tensor([0.5, 2.0]))
        tensor([[ 1.0000,  0.5000, -0.5000, -1.0000],
                [ 1.0000,  2.0000,  5.0000, 10.0000]])

    """

    def __init__(
        self,
        degree: int = 4,
        domain: tuple[float, float] = (-1.0, 1.0),
        outside: str = "tanh",
        *,
        constant: bool = True,
    ) -> None:
        super().__init__()
        if outside not in ("linear", "tanh"):
            raise InputError(f"outside must be 'linear' or 'tanh', got {outside!r}")
        self.degree = check_count("degree", degree)
        self.domain = check_domain(domain)
        self.outside = outside
        self.constant = constant
        self.size = degree + constant
        # Of the polynomials of tanh u only the constants are polynomials of x.
        self.exact_degree = (degree if outside == "linear" else 0) if constant else -1

    @property
    def polynomials(self) -> Polynomials | None:
        """Which these are, for the kernels; None with ``outside="linear"``."""
        if self.outside == "linear":
            return None
        middle, per_unit = self._line()
        return Polynomials(0 if self.constant else 1, self.degree, middle, per_unit)

    def derivative(self, x: Float[Tensor, "*batch"], order: int = 1) -> Float[Tensor, "*batch K"]:
        check_call(x, order)
        middle, per_unit = self._line()
        u = (x.to(torch.promote_types(x.dtype, torch.float32)) - middle) * per_unit
        values = (self._extended if self.outside == "linear" else self._squashed)(u, order)
        return (values * per_unit**order).to(x.dtype)

    def _line(self) -> tuple[float, float]:
        """Where u is 0, and du / dx."""
        low, high = self.domain
        return (low + high) / 2, 2 / (high - low)

    def _extended(self, u: Tensor, order: int) -> Tensor:
        """T_n on [-1, 1] and the straight line that touches it outside."""
        inside = u.clamp(-1, 1)
        T = self._polynomials(inside, max(order, 1))
        if order == 0:
            return T[0] + (u - inside).unsqueeze(-1) * T[1]
        return T[order] if order == 1 else T[order] * (u == inside).unsqueeze(-1)

    def _squashed(self, u: Tensor, order: int) -> Tensor:
        """T_n(tanh u), by the chain rule."""
        t = u.tanh()
        T = self._polynomials(t, order)
        t = t.unsqueeze(-1)
        slope = 1 - t * t
        if order == 0:
            return T[0]
        return slope * T[1] if order == 1 else slope * (slope * T[2] - 2 * t * T[1])

    def _polynomials(self, u: Tensor, order: int) -> list[Tensor]:
        """T, T' and T'' up to ``order``, each of shape (..., K)."""
        zero, one = torch.zeros_like(u), torch.ones_like(u)
        found = [[one, u], [zero, one], [zero, zero]][: order + 1]
        twice = 2 * u
        for n in range(1, self.degree):
            for k in range(order, -1, -1):
                following = twice * found[k][n] - found[k][n - 1]
                if k:
                    following = following + 2 * k * found[k - 1][n]
                found[k].append(following)
        first = 0 if self.constant else 1
        return [torch.stack(T[first:], dim=-1) for T in found]

    def refined(self, grid_size: int) -> "tuple[Chebyshev, Float[Tensor, 'K2 K']]":
        """The polynomials up to degree ``grid_size``; the new ones get the coefficient zero.

        Example:
            >>> coarse = Chebyshev(degree=2)
            >>> fine, T = coarse.refined(5)
            >>> x = torch.linspace(-1, 1, 9, dtype=torch.float64)
            >>> torch.allclose(fine(x) @ T, coarse(x))
            True

        """
        check_finer("degree", self.degree, grid_size)
        fine = Chebyshev(grid_size, self.domain, self.outside, constant=self.constant)
        return fine, torch.eye(fine.size, self.size, dtype=torch.float64)

    def extra_repr(self) -> str:
        given = f"degree={self.degree}, domain={self.domain}, outside={self.outside!r}"
        return given if self.constant else f"{given}, constant=False"


def check_finer(name: str, now: int, grid_size: int) -> None:
    """Raises an :class:`InputError` unless ``grid_size`` is at least what it is ``now``."""
    if check_count("grid_size", grid_size) < now:
        raise InputError(
            f"a refinement can't be coarser than now: grid_size must be at least {name}={now}, "
            f"got {grid_size}"
        )
