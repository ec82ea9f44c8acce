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

    It is called with x (N, C, \*S) and gives (N, C·K, \*S), with a backward pass that keeps x and
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
    if chosen(like, like, spline)[0] == "native":
        return partial(_Native.apply, spline)
    return partial(_Closed.apply, spline) if closed_form(spline) else None


class _Native(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, spline: Spline, x: Float[Tensor, "N C *S"]) -> Tensor:
        ctx.save_for_backward(x)
        ctx.spline = spline
        return native.maps(x, spline) if unwatched(x) else _truth(spline, x, 0).flatten(1, 2)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[None, Tensor]:
        (x,) = ctx.saved_tensors
        if unwatched(x, grad):
            return None, native.maps_back(x, grad, ctx.spline)
        slopes = _truth(ctx.spline, x, 1)
        return None, (grad.reshape(slopes.shape) * slopes).sum(2)


def _truth(spline: Spline, x: Tensor, order: int) -> Float[Tensor, "N C K *S"]:
    return derivative(spline, x, order).movedim(-1, 2)


class _Closed(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, spline: Spline, x: Float[Tensor, "N C *S"]) -> Tensor:
        ctx.save_for_backward(x)
        ctx.spline = spline
        return _in_rows(spline, x, 0).reshape(len(x), x.shape[1] * spline.size, *x.shape[2:])

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[None, Tensor]:
        (x,) = ctx.saved_tensors
        slopes = _in_rows(ctx.spline, x, 1)
        return None, (grad.reshape(slopes.shape) * slopes).sum(1).view_as(x)


def _in_rows(spline: Spline, x: Tensor, order: int) -> Float[Tensor, "N*C K P"]:
    # Each channel's pixels in a row: the functions of a channel come out as its maps.
    return ClosedForm(spline)(x.flatten(0, 1).flatten(1), order)
