"""What must hold before curvature means anything."""

from collections.abc import Callable
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.modules.dropout import _DropoutNd

from edgewise.core import InputError
from edgewise.curvature.differentiable import (
    check_backward_of_backward,
    differentiate,
    kink,
    second_order,
)
from edgewise.curvature.stream import Chunk

if TYPE_CHECKING:
    from edgewise.curvature.functional import Functional


def check_settled(model: nn.Module) -> None:
    """Raises an :class:`InputError` if the model is random or changes as it is called."""
    for name, module in model.named_modules():
        drops = isinstance(module, _DropoutNd) and module.p > 0
        drops |= isinstance(module, nn.RNNBase) and module.dropout > 0
        if module.training and (drops or isinstance(module, _BatchNorm)):
            what = type(module).__name__
            where = f"{what} {name!r}" if name else what
            raise InputError(
                f"{where} is in training mode, where the loss is no function of the parameters "
                "alone; call model.eval() first"
            )


def check_second(functional: "Functional", theta: Tensor) -> None:
    """Raises an :class:`InputError` if the loss is not twice differentiable, on the first example.

    Kinks within the model, as of ReLU, are let pass: almost everywhere the Hessian is there.
    """
    one = next(iter(functional.chunks())).first(1)
    leaf = theta.detach().clone().requires_grad_()
    with second_order():
        y = functional.predict(leaf, one)
        y = y if y.requires_grad else y.detach().requires_grad_()
        value = functional.loss(y, one.target)
        if not value.requires_grad:
            raise InputError(
                "the loss is not differentiable: it does not depend on the prediction by "
                "differentiable operations (argmax, round, detach and comparisons are none)"
            )
        check_backward_of_backward(value)
        _check_bends(functional, y.detach(), one)


def check_value(value: Tensor, y: Tensor, chunk: Chunk) -> None:
    """Raises an :class:`InputError` unless the loss is a finite scalar."""
    if not isinstance(value, Tensor) or value.ndim:
        kind = tuple(value.shape) if isinstance(value, Tensor) else type(value).__name__
        raise InputError(f"loss must return a scalar tensor, the mean over examples, got {kind}")
    value = value.detach()
    if not bool(value.isfinite()):
        spoilt = [
            name
            for name, tensors in (("x", chunk.inputs), ("y", (chunk.target,)), ("prediction", (y,)))
            if any(t.is_floating_point() and not bool(t.isfinite().all()) for t in tensors)
        ]
        found = f"its {' and '.join(spoilt)} not finite" if spoilt else "though its data are finite"
        raise InputError(f"the loss is {float(value)} on {chunk.place}, {found}")


@torch.no_grad()
def check_mean(loss: Callable, whole: Tensor, y: Tensor, target: Tensor) -> None:
    """Raises an :class:`InputError` unless the loss is that of both halves of the examples."""
    n, whole = len(target), whole.detach()
    if n < 2:
        return
    half = (slice(0, n // 2), slice(n // 2, n))
    halves = sum(loss(y[s], target[s]) * (len(y[s]) / n) for s in half)
    tolerance = 1e4 * torch.finfo(whole.dtype).eps
    if bool((whole - halves).abs() > tolerance * (whole.abs() + halves.abs())):
        raise InputError(
            f"the loss must be the mean over examples: on the first batch it is {float(whole):.6g} "
            f"and {float(halves):.6g} as the mean of its halves; use reduction='mean', without "
            "class weights or ignored targets in the divisor"
        )


def _check_bends(functional: "Functional", y: Tensor, chunk: Chunk) -> None:
    """Refuses a loss that bends nowhere but at a kink, such as the absolute error."""
    leaf = y.clone().requires_grad_()
    value = functional.loss(leaf, chunk.target)
    (gradient,) = differentiate(value, [leaf], create=True)
    # Numbers without pattern, so that no curvature cancels.
    v = torch.linspace(0.7, 1.9, leaf.numel(), dtype=leaf.dtype, device=leaf.device).view_as(leaf)
    (bent,) = differentiate(gradient, [leaf], v)
    name = kink(value)
    if name and not bool(bent.any()):
        raise InputError(
            f"the loss is not twice differentiable: its operation {name!r} has a kink and "
            "nothing else bends; use a smooth loss, such as smooth_l1_loss"
        )
