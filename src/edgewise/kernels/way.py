"""An operation that may go one of two ways: by the native library, or as operations of torch."""

from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from torch import Tensor

from edgewise.kernels.operator import unwatched
from edgewise.kernels.partials import partials

Tensors = tuple[Tensor, ...]


class Way(NamedTuple):
    """The same function of tensors, twice.

    Attributes:
        native: The values by the native library.
        back: Its gradients of all inputs, from the inputs and the gradients of the values.
        plain: The values as operations of torch, to be differentiated any number of times.

    """

    native: Callable[..., Tensors]
    back: Callable[..., Tensors]
    plain: Callable[..., Tensors]


class Natively(torch.autograd.Function):
    """The native way; it keeps its inputs and nothing else."""

    @staticmethod
    def forward(ctx: Any, way: Way, *tensors: Tensor) -> Tensors:
        ctx.way = way
        ctx.save_for_backward(*tensors)
        return way.native(*tensors)

    @staticmethod
    def backward(ctx: Any, *downs: Tensor) -> tuple[Tensor | None, ...]:
        tensors, needs = ctx.saved_tensors, ctx.needs_input_grad[1:]
        # Those who differentiate again, or by many at once, need operations that torch knows.
        if torch.is_grad_enabled() or not unwatched(*tensors, *downs):
            return None, *partials(ctx.way.plain, tensors, needs, downs)
        found = ctx.way.back(*tensors, *downs)
        return None, *(t if need else None for t, need in zip(found, needs, strict=True))
