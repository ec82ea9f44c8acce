"""The residuals of a model on data as a closure that knows its derivatives."""

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor, nn

from edgewise.core import InputError
from edgewise.optim.jacobian import jacobian_of_model
from edgewise.optim.objective import Objective, check_samples


class LeastSquares(Objective):
    r"""The residuals of a model on data, as a closure for `LevenbergMarquardt`.

    .. math::
        r_{nq} = \sqrt{\frac{w_n}{O \sum_n w_n}} \, (f_q(x_n) - y_{nq}),
        \qquad \|r\|^2 = \text{the (weighted) mean squared error}

    The Jacobian is that of the closed form for a stack of KAN layers, else it is by vmapped
    automatic differentiation of one sample at a time. The other optimisers take it too, as the
    objective ‖r‖².

    Args:
        model: The model; it must look at each sample by itself.
        x: The inputs.
        y: The targets, of the shape that the model gives.
        weight: A weight for each sample, not negative; None weighs all alike.

    Raises:
        InputError: If the data are empty, hold NaN or do not fit the model, or the weights don't.

    Example:
        >>> x = torch.rand(50, 2, dtype=torch.float64)
        >>> problem = LeastSquares(torch.nn.Linear(2, 1).double(), x, 2 * x[:, :1] - x[:, 1:])
        >>> optimiser = ew.optim.LevenbergMarquardt(problem.model.parameters(), damping=1e-20)
        >>> bool(optimiser.step(problem) < 1e-24)
        True

    """

    def __init__(
        self, model: nn.Module, x: Tensor, y: Tensor, weight: Tensor | None = None
    ) -> None:
        check_samples(x, y)
        with torch.no_grad():
            found = model(x)
        if found.shape != y.shape:
            raise InputError(
                f"the model gives {tuple(found.shape)} for x {tuple(x.shape)}, but y is "
                f"{tuple(y.shape)}; reshape y"
            )
        even = found.new_full((len(y),), 1 / y.numel())
        share = even if weight is None else _shares(weight, found)
        # One factor for each residual, so that it multiplies rows.
        self._root = share.sqrt().repeat_interleave(y[0].numel())
        super().__init__(model, self._mean_square, x, y)

    def __call__(self) -> Float[Tensor, " m"]:
        """The residuals r, sample by sample, with their graph where gradients are enabled."""
        return self._residuals(self._outputs())

    def __len__(self) -> int:
        """The number of residuals, m."""
        return len(self._root)

    def linearise(
        self, params: Sequence[Tensor]
    ) -> tuple[Float[Tensor, " m"], Float[Tensor, "m n"]]:
        """The residuals and their Jacobian with respect to ``params``, in this order."""
        if self._stack is None:
            y, J = jacobian_of_model(self.model, self.x, params)
        else:
            y, J = self._stack.jacobian(self.x)
            J = self._select(J, params)
        r = self._residuals(y.reshape(self.y.shape))
        return r, J.reshape(len(r), -1).mul_(self._root.unsqueeze(1))

    def _at_outputs(self, y: Tensor, second: bool) -> tuple[Tensor, Tensor, Tensor | None]:
        """Without a graph: the loss is known."""
        r = self._residuals(y)
        p = (2 * r * self._root).view_as(y)
        if not second:
            return r @ r, p, None
        return r @ r, p, torch.diag_embed(2 * self._root.square().view_as(y))

    def _residuals(self, y: Tensor) -> Tensor:
        return (y - self.y).reshape(-1) * self._root

    def _mean_square(self, y: Tensor, target: Tensor) -> Tensor:
        r = (y - target).reshape(-1) * self._root
        return r @ r


def _shares(weight: Tensor, y: Tensor) -> Tensor:
    """w_n / (O Σ w)."""
    if weight.shape != y.shape[:1]:
        raise InputError(
            f"weight must have one number for each of the {len(y)} samples, got "
            f"{tuple(weight.shape)}"
        )
    total = weight.sum()
    if not ((weight >= 0).all() and 0 < total < float("inf")):
        raise InputError("weights must be finite, not negative and not all zero")
    return (weight / (total * y[0].numel())).to(y)
