"""The self-scaled Broyden family: the long way down, from gradients alone."""

import math
from collections.abc import Callable, Iterable
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from edgewise.core import InputError, check_count
from edgewise.optim.checks import check_fixed
from edgewise.optim.flat import FlatOptimizer, require_finite
from edgewise.optim.line_search import Point, strong_wolfe

LARGEST = 2 * 2**30
"""Bytes of an inverse Hessian beyond which L-BFGS is the better choice."""


class SSBroyden(FlatOptimizer):
    r"""Quasi-Newton steps with a dense inverse, scaled by itself (Al-Baali & Khalfan 2005).

    .. math::
        z \leftarrow z - α H g, \qquad
        H \leftarrow \frac1τ
            \Big(H - \frac{H y y^\top H}{y^\top H y} + φ\, y^\top H y\, v v^\top\Big)
            + \frac{s s^\top}{s^\top y}

    with the scaling τ and the member φ of Broyden's family chosen anew at every step, see
    :func:`updated_inverse`; α meets the strong Wolfe conditions. On physics-informed networks and
    KANs it ends orders of magnitude below BFGS (Urbán, Stefanou & Pons 2025, J. Comput. Phys.;
    Kiyani et al. 2025, arXiv 2501.16371).

    The closure returns the loss; it may call ``backward`` but need not. It must be the same
    function at every step, as H is made of differences between gradients: a new batch is refused.
    Where parameters are changed by others between steps, H starts anew.

    Args:
        params: Parameters or groups, float64 or float32; a group may set its ``scale``.
        iterations: The most iterations in one ``step``.
        inverse: The first H, (n, n), symmetric and positive definite, such as
            :meth:`LevenbergMarquardt.inverse_hessian` gives; None begins with steepest descent.
        scale: The unit s of the parameters, θ = s z.

    Raises:
        InputError: If an argument or parameter does not fit, n² numbers are too many, or the loss
            is not the function that it was.
        RunError: If loss or gradient are not finite.

    Example:
        >>> w = torch.tensor([-1.2, 1.0], dtype=torch.float64, requires_grad=True)
        >>> rosenbrock = lambda: (1 - w[0]) ** 2 + 100 * (w[1] - w[0] ** 2) ** 2
        >>> optimiser = SSBroyden([w])
        >>> for _ in range(4):
        ...     loss = optimiser.step(rosenbrock)
        >>> bool(loss < 1e-16)
        True

    """

    def __init__(
        self,
        params: Iterable[Any],
        *,
        iterations: int = 20,
        inverse: Float[Tensor, "n n"] | None = None,
        scale: float = 1.0,
    ) -> None:
        check_count("iterations", iterations)
        super().__init__(params, {"scale": scale})
        self.iterations = iterations
        if inverse is not None:
            begin_with(self, inverse)

    @torch.no_grad()
    def step(self, closure: Callable[[], Tensor]) -> Tensor:
        """Up to ``iterations`` iterations; fewer where no step lowers the loss any more.

        Returns:
            The loss afterwards.

        """
        return descend(self, closure, self.iterations)


def begin_with(optimiser: FlatOptimizer, inverse: Float[Tensor, "n n"]) -> None:
    """Makes ``inverse`` the H of the next iteration.

    Raises:
        InputError: If it is no symmetric, positive definite matrix of the right size.

    """
    free = optimiser.free_parameters()
    n = sum(p.numel() for p in free)
    if inverse.shape != (n, n):
        raise InputError(
            f"the inverse must be {n} × {n} for {n} parameters, got {tuple(inverse.shape)}"
        )
    H = inverse.detach().to(free[0], copy=True)
    H = 0.5 * (H + H.T)
    if not torch.isfinite(H).all() or torch.linalg.cholesky_ex(H)[1]:
        raise InputError("the inverse must be positive definite; add a little to its diagonal")
    optimiser._memory()["inverse"] = H


def descend(optimiser: FlatOptimizer, closure: Callable[[], Tensor], iterations: int) -> Tensor:
    """Iterations of SSBroyden; what is learned stays in the optimiser's memory."""
    descent = _Descent(optimiser, closure)
    with optimiser._put_back_on_error(descent.z):
        for _ in range(iterations):
            if not descent.iterate():
                break
    return descent.loss


class _Descent:
    """Where a descent is: the parameters θ, the loss, its gradient g in units of the scales."""

    def __init__(self, optimiser: FlatOptimizer, closure: Callable[[], Tensor]) -> None:
        self.optimiser, self.closure = optimiser, closure
        self.scales, self.memory = optimiser._scales(), optimiser._memory()
        self.z = self.last = optimiser._values()
        check_memory(len(self.z), self.z.element_size())
        self.loss, self.g = self._evaluate()
        require_finite(self.loss, "the loss")
        require_finite(self.g, "the gradient")
        _recall(self.memory, self.z, self.loss)

    def iterate(self) -> bool:
        """One step and what is learned from it; False where nothing is left to be done."""
        H = self.memory.get("inverse")
        p = -self.g if H is None else -(H @ self.g)
        slope = float(self.g @ p)
        point = self._search(p, slope, first=H is None) if slope < 0 else None
        if point is None:
            self.optimiser._assign(self.z)
            # With an H it may be the H, spoilt by rounding or a kink, that misleads.
            return self.memory.pop("inverse", None) is not None
        s = point.length * p
        there, self.loss, after = point.known
        if there is not self.last:
            self.optimiser._assign(there)
        self.z = there
        self.memory["inverse"] = updated_inverse(H, s, after - self.g, self.g, point.length)
        self.g = after
        self.memory["at"], self.memory["loss"] = self.z, self.loss
        return True

    def _search(self, p: Tensor, slope: float, first: bool) -> Point | None:
        # The gradient alone does not tell how far to go.
        length = min(1.0, 1 / float(self.g.abs().sum())) if first else 1.0

        def look(length: float) -> Point:
            there = self._place(length * p)
            loss, g = self._evaluate()
            return Point(length, float(loss), float(g @ p), (there, loss, g))

        return strong_wolfe(look, Point(0.0, float(self.loss), slope), length)

    def _place(self, step: Tensor) -> Tensor:
        there = self.z + (step if self.scales is None else self.scales * step)
        self.optimiser._assign(there)
        self.last = there
        return there

    def _evaluate(self) -> tuple[Tensor, Tensor]:
        loss, g = self.optimiser._value_and_gradient(self.closure)
        return loss, g if self.scales is None else g * self.scales


def _recall(memory: dict[str, Any], z: Tensor, loss: Tensor) -> None:
    """Forgets H where the parameters are others than it was left with; refuses another loss."""
    at = memory.get("at")
    if at is not None and at.shape == z.shape and torch.equal(at, z):
        check_fixed(loss, memory["loss"])
    elif at is not None:
        memory.pop("inverse", None)
    if len(memory.get("inverse", z)) != len(z):
        del memory["inverse"]
    memory["at"], memory["loss"] = z, loss


def updated_inverse(
    H: Float[Tensor, "n n"] | None,
    s: Float[Tensor, " n"],
    y: Float[Tensor, " n"],
    g: Float[Tensor, " n"],
    length: float,
) -> Float[Tensor, "n n"] | None:
    r"""H after the step s = -α H g along which the gradient changed by y.

    In the letters of Al-Baali & Khalfan (2005, SQU Journal for Science 10, eq. 9 and 20-28),

    .. math::
        h = \frac{y^\top H y}{s^\top y},\quad b = \frac{-α\, s^\top g}{s^\top y},\quad a = b h - 1,
        \quad c = \sqrt{\tfrac{a}{1 + a}},\quad ρ^- = \min(1, h (1 - c)),\\
        θ = \max\Big(\tfrac{ρ^- - 1}{a}, \min\big(\tfrac{1}{ρ^-}, \tfrac{1 - b}{b}\big)\Big),\quad
        σ = 1 + a θ,\quad φ = \frac{1 - θ}{σ},\quad
        v = \frac{s}{s^\top y} - \frac{H y}{y^\top H y},\\
        τ = \begin{cases}
            \min(1, \frac1b) \min(σ^{1/(1-n)}, \frac1θ) & θ > 0 \\
            \min(\min(1, \frac1b)\, σ^{1/(1-n)}, σ) & \text{else.}
        \end{cases}

    A first H, where there is None, is the identity, and then τ = h / σ gives it its scale. Where
    rounding spoils the curvature (sᵀy ≤ 0 or something is not finite), H stays.
    """
    sy = float(s @ y)
    if not sy > 0:
        return H
    Hy = y if H is None else H @ y
    yHy = float(y @ Hy)
    h, b = yHy / sy, -length * float(s @ g) / sy
    theta, tau = _member(h, b, len(s), H is None)
    sigma = 1 + (b * h - 1) * theta
    phi = (1 - theta) / sigma
    v = s / sy - Hy / yHy
    H0 = torch.eye(len(s), dtype=s.dtype, device=s.device) if H is None else H
    new = torch.addr(H0, Hy, Hy, alpha=-1 / yHy)
    new.addr_(v, v, alpha=phi * yHy).div_(tau).addr_(s, s, alpha=1 / sy)
    # NaN and infinity survive a sum, which is many times faster than a look at each.
    return new if math.isfinite(float(new.sum())) else H


def _member(h: float, b: float, n: int, first: bool) -> tuple[float, float]:
    """θ and τ."""
    # By Cauchy and Schwarz a ≥ 0; rounding may say otherwise.
    a = max(b * h - 1, 1e-14)
    c = (a / (1 + a)) ** 0.5
    low = min(1.0, h * (1 - c))
    theta = max((low - 1) / a, min(1 / low, (1 - b) / b))
    sigma = 1 + a * theta
    if first:
        return theta, h / sigma
    # One dimension has nothing to share the determinant with.
    root = sigma ** (1 / (1 - n)) if n > 1 else 1.0
    cap = min(1.0, 1 / b)
    return theta, cap * min(root, 1 / theta) if theta > 0 else min(cap * root, sigma)


def check_memory(n: int, bytes_each: int) -> None:
    """Refuses an inverse that no machine should be asked to hold."""
    if n * n * bytes_each > LARGEST:
        raise InputError(
            f"SSBroyden holds an inverse Hessian of {n} × {n} numbers, "
            f"{n * n * bytes_each / 2**30:.0f} GiB; use torch.optim.LBFGS for such a model"
        )
