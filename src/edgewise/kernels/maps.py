"""All functions of a spline at every pixel, as maps for an ordinary convolution."""

from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from edgewise.kernels import native
from edgewise.kernels.choose import chosen
from edgewise.kernels.operator import unwatched
from edgewise.kernels.spline import ClosedForm, Spline, closed_form, derivative

Maps = Callable[[Tensor], Tensor]


def map_maker(x: Tensor, dtype: torch.dtype, spline: Spline) -> Maps | None:
    r"""What makes the maps of numbers like x in this dtype, where there is a fast way.

    .. math::
        m_{n,\, c K + k,\, p} = B_k(x_{ncp}), \qquad
        \dot x_{ncp} = \sum_k B_k'(x_{ncp})\, \dot m_{n,\, c K + k,\, p}

    It is called with x (N, C, \*S) and gives (N, C·K, \*S), of images with the maps of a pixel side
    by side (channels last), with a backward pass that keeps x and
    nothing else, and that can't be differentiated again. The native kernel touches D + 1 functions
    of a number, the closed form all K. None for uneven knots, and for half precision.

    Args:
        x: Tells the device.
        dtype: That of the maps.
        spline: Which functions.

    Example:
        >>> from edgewise.kernels.spline import derivative
        >>> spline = Spline(degree=3, cells=5, low=-1.0, per_unit=2.5)
        >>> x = torch.rand(2, 3, 4, 4, dtype=torch.float64)
        >>> maps = map_maker(x, x.dtype, spline)(x)
        >>> torch.allclose(maps, derivative(spline, x).movedim(-1, 2).flatten(1, 2))
        True

    """
    if spline.knots is not None or dtype not in native.DTYPES:
        return None
    like = x.new_empty(0, dtype=dtype)
    natively = chosen(like, like, spline)[0] == "native"
    return partial(_Maps.apply, spline, natively) if natively or closed_form(spline) else None


class _Maps(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, spline: Spline, natively: bool, x: Float[Tensor, "N C *S"]) -> Tensor:
        ctx.save_for_backward(x)
        ctx.spline, ctx.natively = spline, natively
        if natively and unwatched(x):
            return native.maps(x, spline)
        return _functions(spline, x, 0).flatten(1, 2).contiguous(memory_format=native.layout(x))

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[None, None, Tensor]:
        (x,) = ctx.saved_tensors
        if ctx.natively and unwatched(x, grad):
            return None, None, native.maps_back(x, grad, ctx.spline)
        slopes = _functions(ctx.spline, x, 1)
        return None, None, (grad.reshape(slopes.shape) * slopes).sum(2)


def _functions(spline: Spline, x: Tensor, order: int) -> Float[Tensor, "N C K *S"]:
    """By operations of torch."""
    if not closed_form(spline):
        return derivative(spline, x, order).movedim(-1, 2)
    # Each channel's pixels in a row: the functions of a channel come out as its maps.
    rows = ClosedForm(spline)(x.flatten(0, 1).flatten(1), order)
    return rows.reshape(*x.shape[:2], spline.size, *x.shape[2:])
