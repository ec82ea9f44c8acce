"""The Hessian as a few of its (Ritz) values, seen from the gradient."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from edgewise.curvature import HessianOperator
from edgewise.curvature.krylov import Krylov, random_like
from edgewise.optim.flat import value_of


@dataclass
class Spectrum:
    r"""H in a space that holds the gradient: :math:`H ≈ Q \operatorname{diag}(λ)\, Q^\top`.

    Attributes:
        values: λ, ascending, (k,), float64.
        gradient: :math:`Q^\top g`, (k,), float64.
        lift: Takes coordinates (k,) to a vector (n,).

    """

    values: Float[Tensor, " k"]
    gradient: Float[Tensor, " k"]
    lift: Callable[[Float[Tensor, " k"]], Float[Tensor, " n"]]

    @property
    def size(self) -> float:
        """The largest |λ|."""
        return float(self.values.abs().max())

    def model(self, s: Float[Tensor, " k"]) -> float:
        """By how much the step s lowers the quadratic model, - gᵀs - ½ sᵀHs."""
        return float(-(self.gradient @ s) - 0.5 * (self.values @ s.square()))


def dense_spectrum(H: Float[Tensor, "n n"], g: Float[Tensor, " n"]) -> Spectrum:
    """All of a Hessian that is known as a matrix.

    Example:
        >>> spectrum = dense_spectrum(torch.diag(torch.tensor([3.0, -1.0])), torch.ones(2))
        >>> spectrum.values.tolist()
        [-1.0, 3.0]

    """
    values, Q = torch.linalg.eigh(H.double())
    return Spectrum(values, Q.T @ g.double(), lambda s: (Q @ s).to(g))


def krylov_spectrum(
    product: Callable[[Tensor], Tensor],
    g: Float[Tensor, " n"],
    rank: int,
    generator: torch.Generator | None = None,
) -> Spectrum:
    r"""What Lanczos sees of a Hessian that is known by its products, from the gradient on.

    The space is :math:`\operatorname{span}(g, Hg, …, H^{k-1} g)`. Where it is exhausted before, as
    at a saddle that the gradient does not see, it goes on with a random direction; where g is zero
    it begins with one.

    Args:
        product: v ↦ H v.
        g: The gradient.
        rank: k, the number of products; no more than n are formed.
        generator: Where random directions come from; None is torch's default generator.

    Example:
        >>> H = torch.diag(torch.tensor([3.0, -1.0], dtype=torch.float64))
        >>> g = torch.tensor([1.0, 0.0], dtype=torch.float64)
        >>> krylov_spectrum(lambda v: H @ v, g, rank=2).values.round(decimals=9).tolist()
        [-1.0, 3.0]

    """
    start = g if bool(g.norm() > 0) else random_like(g, generator)
    krylov = Krylov(product, start, rank, generator)
    while krylov.size < krylov.limit:
        krylov.extend()
    values, S, _ = krylov.ritz()
    Q = krylov.Q[: krylov.size]
    at_g = S.T @ (Q @ g).cpu().double()
    return Spectrum(values, at_g, lambda s: (S @ s).to(Q) @ Q)


def spectrum_of(
    closure: Callable[[], Tensor],
    params: Sequence[Tensor],
    g: Float[Tensor, " n"],
    scales: Float[Tensor, " n"] | None,
    rank: int,
    generator: torch.Generator | None,
) -> Spectrum:
    """The Hessian of a closure: all of it where it is known in closed form, else by Lanczos."""
    H = closure.hessian(params) if hasattr(closure, "hessian") else None
    if H is not None:
        return dense_spectrum(H if scales is None else scales.unsqueeze(1) * H * scales, g)
    operator = HessianOperator(lambda: value_of(closure), params)

    def product(v: Tensor) -> Tensor:
        return operator @ v if scales is None else scales * (operator @ (scales * v))

    return krylov_spectrum(product, g, rank, generator)
