"""The step that SFN and HSODM share: a direction from the spectrum, tried until the loss falls."""

from abc import abstractmethod
from collections.abc import Callable, Iterable
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from edgewise.core import InputError, check_count
from edgewise.optim.checks import check_positive, check_repeatable, is_rounding
from edgewise.optim.damping import Damping
from edgewise.optim.flat import FlatOptimizer, require_finite, value_of
from edgewise.optim.spectrum import Spectrum, spectrum_of

Closure = Callable[[], Tensor]

KICK = 1e-3
"""The length, in units of ‖z‖ or 1, of a step off a saddle that the gradient does not see."""


class CurvedOptimizer(FlatOptimizer):
    r"""An optimiser whose step is a function of the Hessian's λ and :math:`Q^\top g`.

    Subclasses say how, in :meth:`direction`; see `Spectrum`. A Hessian that is known in closed form
    (`Objective`, `LeastSquares` with a stack of KAN layers) is used whole, else ``rank`` steps of
    Lanczos are made. A step that does not lower the loss is taken back and tried anew, held back
    more.

    Every step may have its own batch: loss and gradient are those of the closure, and the Hessian
    may come from a batch of its own. The closure returns the loss, and must not call ``backward``,
    which would free the graph that is differentiated again.
    """

    def __init__(
        self,
        params: Iterable[Any],
        *,
        lr: float,
        damping: float,
        rank: int,
        max_trials: int,
        scale: float,
        generator: torch.Generator | None,
    ) -> None:
        check_positive("lr", lr)
        check_positive("damping", damping)
        check_count("rank", rank)
        check_count("max_trials", max_trials)
        super().__init__(params, {"lr": lr, "scale": scale})
        self.damping, self.rank, self.max_trials = damping, rank, max_trials
        self.generator = generator

    @abstractmethod
    def direction(self, spectrum: Spectrum, damping: float, trial: int) -> Float[Tensor, " k"]:
        """The step in the coordinates of the spectrum, after ``trial`` refusals."""

    @torch.no_grad()
    def step(self, closure: Closure, curvature: Closure | None = None) -> Tensor:
        """One accepted step, or none if all trials fail.

        Args:
            closure: Returns the loss.
            curvature: Returns the loss whose Hessian is taken, of a batch of its own; None takes
                that of ``closure``.

        Returns:
            The loss afterwards.

        """
        scales, start = self._scales(), self._values()
        f, g = self._value_and_gradient(closure, twice=True)
        require_finite(f, "the loss")
        require_finite(g, "the gradient")
        g = g if scales is None else scales * g
        spectrum = spectrum_of(
            curvature or closure, self.free_parameters(), g, scales, self.rank, self.generator
        )
        with self._put_back_on_error(start):
            found = self._search(closure, spectrum, start, f)
        if found is not None:
            return found
        self._assign(start)
        check_repeatable(value_of(closure).detach(), f, type(self).__name__)
        return f

    def _search(
        self, closure: Closure, spectrum: Spectrum, start: Float[Tensor, " n"], f: Tensor
    ) -> Tensor | None:
        """Leaves the parameters at the first place that is better, and gives its loss."""
        memory, scales, lr = self._memory(), self._scales(), self._length()
        damping = Damping(memory.get("damping", self.damping), floor=1e-16)
        for trial in range(self.max_trials):
            s = lr * self.direction(spectrum, damping.value, trial)
            s = off_saddle(spectrum, s, KICK * max(1.0, float(start.norm())) * 0.25**trial)
            foreseen = spectrum.model(s)
            if is_rounding(foreseen, f):
                break
            p = spectrum.lift(s)
            self._assign(start + (p if scales is None else scales * p))
            found = value_of(closure).detach()
            if found < f and not is_rounding(f - found, f):
                memory["damping"] = damping.accept(float(f - found) / foreseen)
                return found
            damping.refuse()
        # Nothing is learned from a step that rounding forbids; the next loss may be another.
        return None

    def _length(self) -> float:
        """The part of the step that is taken."""
        lengths = {group["lr"] for group in self.param_groups}
        if len(lengths) > 1:
            raise InputError(
                f"{type(self).__name__} takes one step with all parameters, so lr must be the same "
                f"in all groups, got {sorted(lengths)}; use scale to move a group less"
            )
        return lengths.pop()


def off_saddle(spectrum: Spectrum, s: Float[Tensor, " k"], length: float) -> Float[Tensor, " k"]:
    """The step, moved along the most negative curvature where that foresees more than all of it.

    At a saddle the gradient is zero, or has nothing along the way down; then there is no step.
    """
    least = float(spectrum.values[0])
    if least >= -1e-10 * spectrum.size or -0.5 * least * length**2 <= spectrum.model(s):
        return s
    s = s.clone()
    s[0] = -length if s[0] < 0 else length
    return s
