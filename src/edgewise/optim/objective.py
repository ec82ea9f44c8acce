"""A model, a loss and data as a closure that knows its derivatives."""

from collections.abc import Callable, Sequence

import torch
from jaxtyping import Float
from torch import Tensor, nn

from edgewise.core import InputError
from edgewise.optim.flat import check_loss, flatten
from edgewise.optim.jacobian import columns_of
from edgewise.optim.stack import Stack, stack_of
from edgewise.optim.stack_hessian import stack_hessian


class Objective:
    r"""The loss of a model on data, as a closure for `SSBroyden`, `SFN` and `HSODM`.

    A stack of KAN layers (`models.KAN` without dropout, a `torch.nn.Sequential` of `KANLinear`, or
    one layer) has its gradient and its exact Hessian in closed form, see `stack`; anything else is
    differentiated automatically.

    Args:
        model: The model.
        loss: ``loss(prediction, target)``, a mean or sum over the samples.
        x: The inputs.
        y: The targets.

    Raises:
        InputError: If the data are empty, hold NaN or do not fit the model.

    Example:
        >>> x = torch.rand(50, 2, dtype=torch.float64)
        >>> model = ew.layers.KANLinear(2, 1).double()
        >>> objective = Objective(model, torch.nn.functional.mse_loss, x, x.sum(1, keepdim=True))
        >>> H = objective.hessian(list(model.parameters()))
        >>> bool(torch.linalg.eigvalsh(H)[0] > -1e-12)  # a layer is linear, so this is convex
        True

    """

    def __init__(
        self, model: nn.Module, loss: Callable[[Tensor, Tensor], Tensor], x: Tensor, y: Tensor
    ) -> None:
        check_samples(x, y)
        with torch.no_grad():
            check_loss(loss(model(x), y), "the loss")
        self.model, self.loss, self.x, self.y = model, loss, x, y
        self._stack = verified_stack(model, x)

    def __call__(self) -> Tensor:
        """The loss, with its graph where gradients are enabled."""
        return self.value()

    def value(self) -> Tensor:
        """The loss, with its graph where gradients are enabled."""
        return self.loss(self._outputs(), self.y)

    def value_and_gradient(self, params: Sequence[Tensor]) -> tuple[Tensor, Float[Tensor, " n"]]:
        """The loss and its gradient with respect to ``params``, in this order."""
        if self._stack is None:
            with torch.enable_grad():
                value = self.value()
                parts = torch.autograd.grad(value, params, materialize_grads=True)
            return value.detach(), flatten(parts)
        trace = self._stack.trace(self.x)
        value, p, _ = self._at_outputs(trace[-1].output, second=False)
        return value, self._select(self._stack.gradient_at(trace, p), params)

    def hessian(self, params: Sequence[Tensor]) -> Float[Tensor, "n n"] | None:
        """The exact Hessian with respect to ``params``; None where there is no closed form."""
        if self._stack is None:
            return None
        _, p, second = self._at_outputs(self._stack.forward(self.x), second=True)
        H = stack_hessian(self._stack, self.x, p, second)
        return self._select(self._select(H, params).T, params)

    def _outputs(self) -> Tensor:
        if self._stack is not None and not torch.is_grad_enabled():
            return self._stack.forward(self.x)
        return self.model(self.x)

    def _select(self, flat: Tensor, params: Sequence[Tensor]) -> Tensor:
        columns = columns_of(params, self._stack.parameters(), type(self.model).__name__)
        return flat if columns is None else flat[..., columns]

    def _at_outputs(self, y: Tensor, second: bool) -> tuple[Tensor, Tensor, Tensor | None]:
        """The loss, and its derivatives with respect to the outputs of each sample."""
        y = y.detach().requires_grad_()
        with torch.enable_grad():
            value = self.loss(y, self.y)
            (p,) = torch.autograd.grad(value, y, create_graph=second)
            f2 = torch.stack([_row(p, q, y) for q in range(y.shape[1])], dim=1) if second else None
        return value.detach(), p.detach(), f2


def _row(p: Tensor, q: int, y: Tensor) -> Tensor:
    """∂p_nq/∂y_n for all n at once, as samples don't meet before the mean."""
    total = p[:, q].sum()
    # A linear loss has no graph left.
    if not total.requires_grad:
        return torch.zeros_like(y)
    (row,) = torch.autograd.grad(total, y, retain_graph=True, materialize_grads=True)
    return row


def check_samples(x: Tensor, y: Tensor) -> None:
    """Raises an :class:`InputError` unless there are samples, all finite."""
    if x.ndim == 0 or y.ndim == 0 or not (len(x) and y.numel()):
        raise InputError(f"there must be samples, got x {tuple(x.shape)} and y {tuple(y.shape)}")
    if len(x) != len(y):
        raise InputError(f"x has {len(x)} samples, but y has {len(y)}")
    for name, value in (("x", x), ("y", y)):
        if value.is_floating_point() and not torch.isfinite(value).all():
            raise InputError(f"{name} holds NaN or infinity; drop or fill those samples first")


@torch.no_grad()
def verified_stack(model: nn.Module, x: Tensor) -> Stack | None:
    """The model in closed form, if it is a stack and gives what a stack gives."""
    stack = stack_of(model)
    if stack is None or x.ndim != 2:
        return None
    y = model(x)
    tolerance = 1e3 * torch.finfo(y.dtype).eps * y.abs().max().clamp(min=1)
    return stack if torch.allclose(stack.forward(x), y, rtol=0, atol=float(tolerance)) else None
