"""Rational functions without poles."""

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from edgewise.bases.base import BASES, AbstractBasis, check_call
from edgewise.bases.chebyshev import check_finer
from edgewise.core import InputError, check_count, remembers


@BASES.register("rational")
@remembers
class Rational(AbstractBasis):
    r"""Powers over a learned denominator that is never below one: K = p + 1 functions.

    .. math::
        B_m(x) = \frac{x^m}{Q(x)}, \quad m = 0, \dots, p, \qquad
        Q(x) = 1 + |A(x)|, \quad A(x) = b_1 x + \dots + b_q x^q

    This is the safe Padé unit (Molina et al. 2020, arXiv 1907.06732, eq. 3) with one absolute value
    around the sum; tables of b that were fitted for ``1 + Σ |b_n xⁿ|`` do not fit here. With N = xᵐ

    .. math::
        B' = (N' - B\, Q') / Q, \qquad B'' = (N'' - 2 B' Q' - B\, Q'') / Q .

    Where A changes sign, Q has a kink; there, derivatives are those of the side where A > 0.

    All is divided by s\ :sup:`q`, with s = max(1, \|x\|), above and below the fraction bar, so no
    power overflows; half precision is computed in float32.

    Args:
        numerator: The degree p of the numerator.
        denominator: The degree q of the denominator. Far away B_m goes like \|x\|\ :sup:`m-q`, so
            p = q + 1 lets curves grow like straight lines, and p = q keeps them bounded.
        groups: The last axis of x is split into so many equal groups, each with a b of its own.

    Attributes:
        b: The learned coefficients of A, of shape (groups, q).

    Example:
        >>> Rational(numerator=2, denominator=2)(torch.tensor([-1.0, 0.0, 3.0]))
        tensor([[ 0.5000, -0.5000,  0.5000],
                [ 1.0000,  0.0000,  0.0000],
                [ 0.1000,  0.3000,  0.9000]], grad_fn=<...>)

    """

    def __init__(self, numerator: int = 5, denominator: int = 4, groups: int = 1) -> None:
        super().__init__()
        self.numerator = check_count("numerator", numerator)
        self.denominator = check_count("denominator", denominator)
        self.groups = check_count("groups", groups)
        self.size = numerator + 1
        self.b = nn.Parameter(torch.empty(groups, denominator))
        self.reset_parameters()

    def reset_parameters(self) -> None:
        r"""Starts from Q = 1 + \|x\|\ :sup:`q`; for even q from 1 + x² + x⁴ + … + x\ :sup:`q`.

        Then Q is at least max(1, \|x\|\ :sup:`q`), so every function, and its gradient for b, is
        below max(1, \|x\|\ :sup:`m-q`). From b = 0 they would be bare powers, with which ten layers
        do not train: x⁵ of an outlier drowns the rest of its batch. Even powers keep A off zero, so
        that no kink comes near the data when b begins to move.
        """
        with torch.no_grad():
            self.b.zero_()
            self.b[:, -1] = 1
            if self.denominator % 2 == 0:
                self.b[:, 1::2] = 1

    def derivative(self, x: Float[Tensor, "*batch"], order: int = 1) -> Float[Tensor, "*batch K"]:
        check_call(x, order)
        wide = x.to(torch.promote_types(x.dtype, torch.float32))
        b, q = self._of_each(wide), self.denominator
        M = [self._powers(wide)]
        for _ in range(order):
            M.append(_slopes(M[-1]))
        N = [m[..., : self.size] for m in M]
        A = [(m[..., 1 : q + 1] * b).sum(-1, keepdim=True) for m in M]
        # By its sign and not by abs(), whose slope at A = 0, and so at x = 0, is taken to be zero.
        sign = torch.where(A[0].detach() < 0, -1.0, 1.0).to(wide.dtype)
        Q = [M[0][..., :1] + sign * A[0], *(sign * a for a in A[1:])]
        B = [N[0] / Q[0]]
        if order >= 1:
            B.append((N[1] - B[0] * Q[1]) / Q[0])
        if order == 2:
            B.append((N[2] - 2 * B[1] * Q[1] - B[0] * Q[2]) / Q[0])
        return B[order].to(x.dtype)

    def _of_each(self, x: Tensor) -> Tensor:
        """B of each number on the last axis, to broadcast against (..., I, q)."""
        b = self.b.to(x)
        if self.groups == 1:
            return b[0]
        if x.ndim == 0 or x.shape[-1] % self.groups:
            raise InputError(
                f"Rational with groups={self.groups} takes a last axis of a multiple of that, "
                f"got x of shape {tuple(x.shape)}"
            )
        return b.repeat_interleave(x.shape[-1] // self.groups, dim=0)

    def _powers(self, x: Tensor) -> Tensor:
        """M_n = xⁿ / s^q for n = 0, 1, …, as (x/s)ⁿ s^(n-q): no factor overflows for finite x."""
        # Nothing depends on s in the end, so neither does a derivative.
        s = x.detach().abs().clamp(min=1)
        v = x / s
        q = self.denominator
        rising, falling = [torch.ones_like(v)], [torch.ones_like(v)]
        for _ in range(max(self.numerator, q)):
            rising.append(rising[-1] * v)
        for _ in range(q):
            falling.append(falling[-1] / s)
        terms = [
            power * (falling[q - n] if n <= q else s ** (n - q)) for n, power in enumerate(rising)
        ]
        return torch.stack(terms, dim=-1)

    def refined(self, grid_size: int) -> "tuple[Rational, Float[Tensor, 'K2 K']]":
        """The powers up to ``grid_size`` over the same Q; the new ones get the coefficient zero.

        The finer basis holds the same parameter b, so an optimiser that has it goes on with it.

        Example:
            >>> coarse = Rational(3).double()
            >>> fine, T = coarse.refined(5)
            >>> x = torch.linspace(-2, 2, 9, dtype=torch.float64)
            >>> fine.b is coarse.b, torch.allclose(fine(x) @ T, coarse(x))
            (True, True)

        """
        check_finer("numerator", self.numerator, grid_size)
        fine = Rational(grid_size, self.denominator, self.groups)
        fine.b = self.b
        return fine, torch.eye(fine.size, self.size, dtype=torch.float64)

    def extra_repr(self) -> str:
        degrees = f"numerator={self.numerator}, denominator={self.denominator}"
        return f"{degrees}, groups={self.groups}"


def _slopes(M: Tensor) -> Tensor:
    """The derivatives n x^(n-1) / s^q of x^n / s^q, and of their derivatives."""
    n = torch.arange(1, M.shape[-1], dtype=M.dtype, device=M.device)
    return F.pad(M[..., :-1] * n, (1, 0))
