"""Saddle-free Newton."""

from collections.abc import Iterable
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from edgewise.optim.curved import CurvedOptimizer
from edgewise.optim.spectrum import Spectrum


class SFN(CurvedOptimizer):
    r"""Newton's step with the absolute values of the curvatures (Dauphin et al. 2014).

    .. math::
        p = -(|H| + μ)^{-1} g = -\sum_i q_i \frac{q_i^\top g}{|λ_i| + μ},
        \qquad z \leftarrow z + \mathrm{lr} \cdot p

    (arXiv 1406.2572, alg. 1.) Newton's method is drawn to saddles; with :math:`|λ|` it is driven
    off them. λ and q are all of a Hessian in closed form, else what ``rank`` steps of Lanczos from
    g see of it. μ, relative to the largest :math:`|λ|`, follows the gain ratio (see `Damping`). At
    a saddle that the gradient does not see, a small step along the most negative curvature begins
    the way down.

    Args:
        params: Parameters or groups, float64 or float32; a group may set its ``scale``.
        lr: The part of the step that is taken; 1 with all data, less with mini-batches.
        damping: The first μ.
        rank: The steps of Lanczos.
        max_trials: How many μ are tried in one step.
        scale: The unit s of the parameters, θ = s z.
        generator: Where Lanczos takes random directions from; None is torch's default generator.

    Raises:
        InputError: If an argument, a parameter or the closure does not fit.
        RunError: If loss or gradient are not finite, or the closure is not one function within a
            step.

    Example:
        >>> w = torch.tensor([-1.2, 1.0], dtype=torch.float64, requires_grad=True)
        >>> rosenbrock = lambda: (1 - w[0]) ** 2 + 100 * (w[1] - w[0] ** 2) ** 2
        >>> optimiser = SFN([w])
        >>> for _ in range(40):
        ...     loss = optimiser.step(rosenbrock)
        >>> bool(loss < 1e-16)
        True

    """

    def __init__(
        self,
        params: Iterable[Any],
        lr: float = 1.0,
        *,
        damping: float = 1e-3,
        rank: int = 50,
        max_trials: int = 12,
        scale: float = 1.0,
        generator: torch.Generator | None = None,
    ) -> None:
        super().__init__(
            params,
            lr=lr,
            damping=damping,
            rank=rank,
            max_trials=max_trials,
            scale=scale,
            generator=generator,
        )

    def direction(self, spectrum: Spectrum, damping: float, trial: int) -> Float[Tensor, " k"]:
        return -spectrum.gradient / (spectrum.values.abs() + damping * spectrum.size)
