"""Levenberg–Marquardt as long as it is fast, then SSBroyden."""

from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor

from edgewise.core import InputError, check_count
from edgewise.optim.levenberg_marquardt import LevenbergMarquardt, Residuals, sum_of_squares
from edgewise.optim.ss_broyden import begin_with, descend


class LMThenBroyden(LevenbergMarquardt):
    r"""`LevenbergMarquardt`, then `SSBroyden` from its inverse :math:`(2 (J^\top J + λ I))^{-1}`.

    The first gets near within a few steps; then its steps cost more than they bring, and the second
    makes many cheap ones, starting from all that the first knew of the curvature. The change comes
    when the sum of squares has not fallen to ``progress`` times what it was ``patience`` steps
    before. Where parameters are changed by others, as by ``refine``, it begins with the first
    again.

    The closure returns residuals, and must be the same function at every step: no mini-batches.

    Args:
        params: Parameters or groups, float64 or float32; a group may set its ``scale``.
        patience: How many steps the fall is judged by.
        progress: The part that must be left at most.
        iterations: The most iterations of SSBroyden in one ``step``.
        options: What `LevenbergMarquardt` takes.

    Raises:
        InputError: If an argument, a parameter or the closure does not fit.
        RunError: If residuals are not finite or the closure is not one function within a step.

    Example:
        >>> x = torch.linspace(-1, 1, 50, dtype=torch.float64).unsqueeze(1)
        >>> model = ew.models.KAN([1, 1, 1]).double()
        >>> optimiser = LMThenBroyden(model.parameters(), patience=2)
        >>> problem = ew.optim.LeastSquares(model, x, (x / 2).exp())
        >>> for _ in range(20):
        ...     loss = optimiser.step(problem)
        >>> bool(loss < 1e-9), optimiser.state_dict()["state"][0]["second"]
        (True, True)

    """

    def __init__(
        self,
        params: Iterable[Any],
        *,
        patience: int = 10,
        progress: float = 0.5,
        iterations: int = 20,
        **options: Any,
    ) -> None:
        check_count("patience", patience)
        check_count("iterations", iterations)
        if not 0 < progress < 1:
            raise InputError(f"progress must lie between 0 and 1, got {progress!r}")
        super().__init__(params, **options)
        self.patience, self.progress, self.iterations = patience, progress, iterations

    @torch.no_grad()
    def step(self, closure: Residuals) -> Tensor:
        """One step of the first or up to ``iterations`` of the second.

        Returns:
            The sum of squares afterwards.

        """
        memory = self._memory()
        if memory.get("second") and not self._is_where_it_was(memory):
            for name in ("second", "inverse", "at", "loss", "losses"):
                memory.pop(name, None)
        if memory.get("second"):
            return descend(self, as_loss(closure), self.iterations)
        loss = super().step(closure)
        losses = [*memory.get("losses", []), float(loss)][-self.patience - 1 :]
        memory["losses"], memory["second"] = losses, False
        if len(losses) > self.patience and losses[-1] > self.progress * losses[0]:
            begin_with(self, self.inverse_hessian(closure))
            memory["at"], memory["loss"] = self._values(), loss
            memory["second"] = True
        return loss

    def _is_where_it_was(self, memory: dict[str, Any]) -> bool:
        here = self._values()
        return here.shape == memory["at"].shape and torch.equal(here, memory["at"])


def as_loss(closure: Residuals) -> Callable[[], Tensor]:
    """The sum of squares of a closure that returns residuals."""
    if hasattr(closure, "value_and_gradient"):
        return closure
    return lambda: sum_of_squares(closure())
