"""The homogeneous second-order descent method."""

import math
from collections.abc import Callable, Iterable
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from edgewise.core import InputError
from edgewise.optim.curved import CurvedOptimizer
from edgewise.optim.spectrum import Spectrum, krylov_spectrum


class HSODM(CurvedOptimizer):
    r"""Steps along the leftmost eigenvector of the bordered Hessian (Zhang et al. 2022).

    .. math::
        F = \begin{pmatrix} H & g \\ g^\top & -δ \end{pmatrix}, \qquad
        F \begin{pmatrix} v \\ t \end{pmatrix} = -θ \begin{pmatrix} v \\ t \end{pmatrix},
        \qquad p = v / t = -(H + θ I)^{-1} g,

    (arXiv 2211.08212) which goes down at saddles as elsewhere: H + θ I is never negative. Where
    t = 0 it goes along v.

    In the eigenbasis of H the matrix is an arrowhead, whose least eigenvalue solves the secular
    equation of :func:`bordered_shift`; so one decomposition serves every δ that is tried, while the
    eigenvector of F itself would have to be found anew. λ and q are all of a Hessian in closed
    form, else what ``rank`` steps of Lanczos on H from g see, which is what rank + 1 steps on F
    from the last unit vector see.

    With ``delta=None`` the shift follows the gain ratio, :math:`θ = \max(0, -λ_1) + μ \max|λ|` (see
    `Damping`), and δ is the one that belongs to it. A number keeps δ, and a step that fails is
    halved; then ``radius`` bounds its length.

    Args:
        params: Parameters or groups, float64 or float32; a group may set its ``scale``.
        delta: δ, or None.
        radius: The greatest length of a step with a δ that is kept.
        lr: The part of the step that is taken; 1 with all data, less with mini-batches.
        damping: The first μ.
        rank: The steps of Lanczos.
        max_trials: How many steps are tried in one.
        scale: The unit s of the parameters, θ = s z.
        generator: Where Lanczos takes random directions from; None is torch's default generator.

    Raises:
        InputError: If an argument, a parameter or the closure does not fit.
        RunError: If loss or gradient are not finite, or the closure is not one function within a
            step.

    Example:
        >>> w = torch.zeros(2, dtype=torch.float64, requires_grad=True)
        >>> saddle = lambda: w[0] ** 2 - w[1] ** 2 + w[1] ** 4
        >>> optimiser = HSODM([w], generator=torch.Generator().manual_seed(0))
        >>> for _ in range(30):
        ...     loss = optimiser.step(saddle)
        >>> round(float(loss), 12)
        -0.25

    """

    def __init__(
        self,
        params: Iterable[Any],
        *,
        delta: float | None = None,
        radius: float = 1.0,
        lr: float = 1.0,
        damping: float = 1e-3,
        rank: int = 50,
        max_trials: int = 12,
        scale: float = 1.0,
        generator: torch.Generator | None = None,
    ) -> None:
        if delta is not None and not (isinstance(delta, (int, float)) and math.isfinite(delta)):
            raise InputError(f"delta must be a number or None, got {delta!r}")
        if not (isinstance(radius, (int, float)) and 0 < radius < math.inf):
            raise InputError(f"radius must be a positive number, got {radius!r}")
        super().__init__(
            params,
            lr=lr,
            damping=damping,
            rank=rank,
            max_trials=max_trials,
            scale=scale,
            generator=generator,
        )
        self.delta, self.radius = delta, radius

    def direction(self, spectrum: Spectrum, damping: float, trial: int) -> Float[Tensor, " k"]:
        if self.delta is not None:
            return self._kept(spectrum) * 0.5**trial
        shift = max(0.0, -float(spectrum.values[0])) + damping * spectrum.size
        return -spectrum.gradient / (spectrum.values + shift)

    def _kept(self, spectrum: Spectrum) -> Tensor:
        """V / t, no longer than the radius."""
        v, t = bordered_vector(spectrum, self.delta)
        # With t = 0 the length is infinite and the sign free.
        v = v if t >= 0 else -v
        length = self.radius if abs(t) < 1e-12 else min(self.radius, float(v.norm()) / abs(t))
        return v * (length / max(float(v.norm()), 1e-300))


def bordered_shift(spectrum: Spectrum, delta: float) -> float:
    r"""θ, where -θ is the least eigenvalue of [[H, g], [gᵀ, -δ]].

    It solves, with :math:`θ \ge -λ_1`, the secular equation

    .. math::
        θ = δ + \sum_i \frac{(q_i^\top g)^2}{λ_i + θ},

    or is :math:`-λ_1` where that has no such solution, as the gradient has nothing along q₁.
    """
    low = max(delta, -float(spectrum.values[0]))
    # No eigenvalue is further out than the border's norm.
    high = low + float(spectrum.gradient.norm())
    squares = spectrum.gradient.square()

    def excess(theta: float) -> float:
        terms = squares / (spectrum.values + theta).clamp(min=0)
        return theta - delta - float(terms.nan_to_num(nan=0.0).sum())

    if excess(low) >= 0:
        return low
    while True:
        middle = 0.5 * (low + high)
        if not low < middle < high:
            return high
        low, high = (middle, high) if excess(middle) < 0 else (low, middle)


def bordered_vector(spectrum: Spectrum, delta: float) -> tuple[Float[Tensor, " k"], float]:
    """The unit eigenvector (v, t) that belongs to it; v in the coordinates of the spectrum."""
    theta = bordered_shift(spectrum, delta)
    gap = spectrum.values + theta
    if float(gap[0]) <= 1e-14 * max(spectrum.size, abs(theta)):
        v = torch.zeros_like(gap)
        v[0] = 1.0 if spectrum.gradient[0] <= 0 else -1.0
        return v, 0.0
    v = -spectrum.gradient / gap
    t = 1 / math.sqrt(1 + float(v @ v))
    return v * t, t


def bordered_eigenpair(
    product: Callable[[Tensor], Tensor],
    gradient: Float[Tensor, " n"],
    delta: float,
    *,
    rank: int | None = None,
    generator: torch.Generator | None = None,
) -> tuple[float, Float[Tensor, " n1"]]:
    """The least eigenvalue of [[H, g], [gᵀ, -δ]] and its unit eigenvector (v, t).

    Args:
        product: v ↦ H v.
        gradient: g.
        delta: δ.
        rank: The steps of Lanczos; None is n, or 300 where n is more.
        generator: Where random directions come from; None is torch's default generator.

    Example:
        >>> H = torch.diag(torch.tensor([3.0, -1.0], dtype=torch.float64))
        >>> g = torch.tensor([1.0, 2.0], dtype=torch.float64)
        >>> value, vector = bordered_eigenpair(lambda v: H @ v, g, delta=0.1)
        >>> F = torch.cat([torch.cat([H, g[:, None]], 1), torch.tensor([[1.0, 2.0, -0.1]])])
        >>> torch.allclose(F @ vector, value * vector)
        True

    """
    n = len(gradient)
    spectrum = krylov_spectrum(product, gradient, rank or min(n, 300), generator)
    v, t = bordered_vector(spectrum, delta)
    theta = bordered_shift(spectrum, delta)
    return -theta, torch.cat([spectrum.lift(v), gradient.new_tensor([t])])
