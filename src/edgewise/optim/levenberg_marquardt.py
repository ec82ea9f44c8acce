"""Levenberg–Marquardt: small networks to machine precision."""

from collections.abc import Callable, Iterable
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from edgewise.core import InputError, check_count
from edgewise.optim.checks import check_positive, check_repeatable, is_rounding
from edgewise.optim.damped import DampedSystem
from edgewise.optim.damping import Damping
from edgewise.optim.flat import FlatOptimizer, require_finite
from edgewise.optim.jacobian import jacobian_of_graph

Residuals = Callable[[], Tensor]
"""Gives the residuals r as a tensor; `LeastSquares` is one that knows its Jacobian."""

LARGEST = 4 * 2**30
"""Bytes of a Jacobian beyond which the method is the wrong one."""


class LevenbergMarquardt(FlatOptimizer):
    r"""Damped Gauss–Newton steps on a sum of squares (Levenberg 1944, Marquardt 1963).

    .. math::
        f(z) = \|r(z)\|^2, \qquad (J^\top J + λ I)\, p = -J^\top r, \qquad z \leftarrow z + p + a

    The closure returns the residuals r, not the loss: a plain one such as
    ``lambda: model(x) - y``, or a `LeastSquares`, whose Jacobian is many times faster. A step that
    does not lower f is taken back and tried with more damping, up to ``max_trials`` times; λ
    follows Nielsen's rule (see `Damping`), relative to the largest diagonal entry of
    :math:`J^\top J`. Directions in which r does not change (a KAN of width I → O has O (I - 1) such
    in each layer) are left as they are, see `DampedSystem`.

    The step is bent by the geodesic acceleration a (Transtrum & Sethna 2012, arXiv 1201.5885,
    eq. 14), from one more evaluation of the residuals:

    .. math::
        (J^\top J + λ I)\, a = -\tfrac12 J^\top r'', \qquad
        r'' ≈ \tfrac2h \Big( \frac{r(z + h p) - r(z)}{h} - J p \Big), \quad h = 0.1,

    and by nothing where 2 ‖a‖ > ¾ ‖p‖.

    Mini-batches: a step needs one set of residuals from its beginning to its end, so the closure
    must be a fixed function during the step; the next step may bring another batch, and the damping
    carries over. The batch should have more residuals than the model has parameters.

    Args:
        params: Parameters or groups, float64 or float32; a group may set its ``scale``.
        damping: The first λ.
        cutoff: Singular values of J below this part of the largest count as zero; None is 8 ε n.
        geodesic: Whether to bend the step.
        max_trials: How many λ are tried in one step.
        scale: The unit s of the parameters, θ = s z; those with a small one move little.

    Raises:
        InputError: If an argument or parameter does not fit, or the closure gives no residuals.
        RunError: If the residuals are not finite at the start of a step, or the closure is not a
            fixed function.

    Example:
        >>> w = torch.tensor([-1.2, 1.0], dtype=torch.float64, requires_grad=True)
        >>> rosenbrock = lambda: torch.stack([1 - w[0], 10 * (w[1] - w[0] ** 2)])
        >>> optimiser = LevenbergMarquardt([w])
        >>> for _ in range(30):
        ...     loss = optimiser.step(rosenbrock)
        >>> bool(loss < 1e-24)
        True

    """

    def __init__(
        self,
        params: Iterable[Any],
        *,
        damping: float = 1e-2,
        cutoff: float | None = None,
        geodesic: bool = True,
        max_trials: int = 12,
        scale: float = 1.0,
    ) -> None:
        check_positive("damping", damping)
        if cutoff is not None and not 0 <= cutoff < 1:
            raise InputError(f"cutoff is a part of the largest singular value, got {cutoff!r}")
        check_count("max_trials", max_trials)
        super().__init__(params, {"scale": scale})
        self.damping, self.cutoff = damping, cutoff
        self.geodesic, self.max_trials = geodesic, max_trials

    @torch.no_grad()
    def step(self, closure: Residuals) -> Tensor:
        """One accepted step, or none if every λ fails; the closure gives the residuals.

        Returns:
            The sum of squares afterwards.

        """
        r, J = self._linearise(closure)
        f = r @ r
        require_finite(f, "the sum of squared residuals")
        system = DampedSystem(J, r, self.cutoff)
        memory, start = self._memory(), self._values()
        damping = Damping(memory.get("damping", self.damping), floor=1e-26)
        with self._put_back_on_error(start):
            found = self._search(closure, system, damping, start, f)
        if found is not None:
            memory["damping"] = damping.value
            return found
        # Nothing is learned from a step that rounding forbids; the next loss may be another.
        self._assign(start)
        check_repeatable(sum_of_squares(closure()), f, "LevenbergMarquardt")
        return f

    def _search(
        self,
        closure: Residuals,
        system: DampedSystem,
        damping: Damping,
        start: Float[Tensor, " n"],
        f: Tensor,
    ) -> Tensor | None:
        """Leaves the parameters at the first place that is better, and gives its f."""
        scales = self._scales()
        for _ in range(self.max_trials):
            p, foreseen = system.step(damping.value * system.size)
            if is_rounding(foreseen, f):
                return None
            if self.geodesic:
                p = p + self._bend(closure, system, damping.value * system.size, start, p)
            self._assign(start + (p if scales is None else scales * p))
            found = sum_of_squares(closure())
            if found < f and not is_rounding(f - found, f):
                damping.accept(float((f - found) / foreseen))
                return found
            damping.refuse()
        return None

    def _bend(
        self,
        closure: Residuals,
        system: DampedSystem,
        damping: float,
        start: Float[Tensor, " n"],
        p: Float[Tensor, " n"],
    ) -> Tensor:
        """The acceleration a, or zero where it is too large to be a correction."""
        scales, h = self._scales(), 0.1
        self._assign(start + h * (p if scales is None else scales * p))
        bend = 2 / h * ((closure().reshape(-1) - system.r) / h - system.J @ p)
        a = system.solve(0.5 * bend, damping)
        # Written so that NaN, from beyond a pole, is refused too.
        return a if 2 * a.norm() <= 0.75 * p.norm() else torch.zeros_like(p)

    @torch.no_grad()
    def inverse_hessian(self, closure: Residuals) -> Float[Tensor, "n n"]:
        r"""The inverse :math:`(2 (J^\top J + λ I))^{-1}` with the present λ, for `SSBroyden`.

        Example:
            >>> w = torch.zeros(1, dtype=torch.float64, requires_grad=True)
            >>> LevenbergMarquardt([w], damping=1.0).inverse_hessian(lambda: 2 * w - 1)
            tensor([[0.0625]], dtype=torch.float64)

        """
        r, J = self._linearise(closure)
        system = DampedSystem(J, r, self.cutoff)
        damping = max(self._memory().get("damping", self.damping), 1e-14)
        A = J.T @ J
        A.diagonal().add_(damping * system.size)
        return torch.cholesky_inverse(torch.linalg.cholesky(2 * A))

    def _linearise(self, closure: Residuals) -> tuple[Tensor, Tensor]:
        """The residuals r and their J with respect to z."""
        free = self.free_parameters()
        if hasattr(closure, "linearise"):
            check_size(len(closure), free)
            r, J = closure.linearise(free)
        else:
            with torch.enable_grad():
                r = residuals_of(closure)
                check_size(len(r), free)
                J = jacobian_of_graph(r, free)
            r = r.detach()
        scales = self._scales()
        return r, J if scales is None else J * scales


def residuals_of(closure: Residuals) -> Float[Tensor, " m"]:
    """What the closure gives, as a vector with its graph."""
    r = closure()
    if not isinstance(r, Tensor) or not r.is_floating_point() or not r.numel():
        found = tuple(r.shape) if isinstance(r, Tensor) else type(r).__name__
        raise InputError(
            f"the closure of LevenbergMarquardt must return the residuals, such as "
            f"model(x) - y, got {found}"
        )
    if r.ndim == 0:
        raise InputError(
            "the closure of LevenbergMarquardt must return the residuals, such as model(x) - y, "
            "not their sum of squares"
        )
    if not r.requires_grad:
        raise InputError(
            "the closure's residuals do not depend on the parameters: they have no graph; "
            "compute them from the model, without torch.no_grad() or detach()"
        )
    return r.reshape(-1)


def sum_of_squares(r: Tensor) -> Tensor:
    """‖r‖² of residuals of any shape."""
    r = r.reshape(-1)
    return r @ r


def check_size(residuals: int, params: list[Tensor]) -> None:
    """Refuses a Jacobian that no machine should be asked to hold."""
    size = sum(p.numel() for p in params)
    needed = residuals * size * params[0].element_size()
    if needed > LARGEST:
        raise InputError(
            f"a Jacobian of {residuals} residuals by {size} parameters takes "
            f"{needed / 2**30:.0f} GiB; use smaller batches, or torch.optim.LBFGS for such a model"
        )
