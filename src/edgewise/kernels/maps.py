"""All functions at every pixel, as maps for an ordinary convolution."""

from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from edgewise.kernels import native
from edgewise.kernels.choose import chosen
from edgewise.kernels.expanded import Features
from edgewise.kernels.operator import unwatched
from edgewise.kernels.polynomials import Polynomials
from edgewise.kernels.spline import ClosedForm, Spline, closed_form

Functions = Spline | Polynomials
Maps = Callable[[Tensor], Tensor]


def map_maker(
    x: Tensor, dtype: torch.dtype, functions: Functions | None, features: Features
) -> Maps | None:
    r"""What makes the maps of numbers like x in this dtype, where there is a fast way.

    .. math::
        m_{n,\, c K + k,\, p} = B_k(x_{ncp}), \qquad
        \dot x_{ncp} = \sum_k B_k'(x_{ncp})\, \dot m_{n,\, c K + k,\, p}

    It is called with x (N, C, \*S) and gives (N, C·K, \*S), of images with the maps of a pixel side
    by side (channels last). Its backward pass keeps x and nothing else, and can't be differentiated
    again. Of splines the native kernel touches D + 1 functions of a number, the closed form all K.
    None for uneven knots, for half precision, and for polynomials without the native kernel.

    Args:
        x: Tells the device.
        dtype: That of the maps.
        functions: Which functions; None for others than these.
        features: The same as operations of torch: ``features(x, order)``, B or its derivative with
            K on the last axis.

    Example:
        >>> basis = ew.bases.BSpline(5)
        >>> x = torch.rand(2, 3, 4, 4, dtype=torch.float64)
        >>> maps = map_maker(x, x.dtype, basis.spline, basis)(x)
        >>> torch.allclose(maps, basis(x).movedim(-1, 2).flatten(1, 2))
        True

    """
    if functions is None or dtype not in native.DTYPES:
        return None
    if isinstance(functions, Spline) and functions.knots is not None:
        return None
    like = x.new_empty(0, dtype=dtype)
    natively = chosen(like, like, functions)[0] == "native"
    closed = isinstance(functions, Spline) and closed_form(functions)
    if not natively and not closed:
        return None
    watched = partial(_by_rows, functions) if closed else partial(_by_pixels, features)
    return partial(_Maps.apply, functions, natively, watched)


class _Maps(torch.autograd.Function):
    """By the native kernel, or by operations of torch where it is absent or something watches."""

    @staticmethod
    def forward(
        ctx: Any, functions: Functions, natively: bool, watched: Features, x: Tensor
    ) -> Float[Tensor, "N C*K *S"]:
        ctx.save_for_backward(x)
        ctx.functions, ctx.natively, ctx.watched = functions, natively, watched
        if natively and unwatched(x):
            return native.maps(x, functions)
        return watched(x, 0).flatten(1, 2).contiguous(memory_format=native.layout(x))

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[None, None, None, Tensor]:
        (x,) = ctx.saved_tensors
        if ctx.natively and unwatched(x, grad):
            return None, None, None, native.maps_back(x, grad, ctx.functions)
        slopes = ctx.watched(x, 1)
        return None, None, None, (grad.reshape(slopes.shape) * slopes).sum(2)


def _by_pixels(features: Features, x: Tensor, order: int) -> Float[Tensor, "N C K *S"]:
    return features(x, order).movedim(-1, 2)


def _by_rows(spline: Spline, x: Tensor, order: int) -> Float[Tensor, "N C K *S"]:
    """Each channel's pixels in a row: the functions of a channel come out as its maps."""
    rows = ClosedForm(spline)(x.flatten(0, 1).flatten(1), order)
    return rows.reshape(*x.shape[:2], spline.size, *x.shape[2:])
