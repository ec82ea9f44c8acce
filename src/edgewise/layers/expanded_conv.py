r"""A convolution whose taps are functions, as one ordinary convolution of basis maps.

Legend:

================  ==================================================================
x                 the input, (N, C, \*S)
coefficients      c, (K, O, C/groups, \*kernel)
base_weight       w, (O, C/groups, \*kernel), or None
bias              b, (O,), or None
basis maps        (N, C·K, \*S): map c·K + k is B_k of channel c
================  ==================================================================

A basis acts on each pixel alone, so it changes places with the cutting out of patches: expand the
channels first, then convolve. Nothing is unfolded, and maps of one channel stay together, so that
groups of channels are groups of maps.
"""

from collections.abc import Callable
from contextlib import nullcontext
from functools import partial
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from edgewise.layers.geometry import Geometry

_CONV = {1: F.conv1d, 2: F.conv2d, 3: F.conv3d}


class Formula(NamedTuple):
    """What of the layer is no tensor.

    The activation a, the geometry, the groups, the dtype of products; and what makes the maps of
    the padded x where there is a faster way than the basis, which only autograd can look into.
    """

    activation: Callable[[Tensor], Tensor]
    geometry: Geometry
    groups: int
    dtype: torch.dtype
    maps: Callable[[Tensor], Tensor] | None = None


def kernel_of(coefficients: Tensor) -> Tensor:
    """(K, O, C/groups, *kernel) as the kernel of an ordinary convolution, (O, C/groups·K, …)."""
    return coefficients.movedim(0, 2).flatten(1, 2)


def coefficients_of(kernel: Tensor, size: int) -> Tensor:
    """The way back from :func:`kernel_of`."""
    # Not unflatten(), which has no rule for a batch of gradients (is_grads_batched=True).
    return kernel.reshape(kernel.shape[0], -1, size, *kernel.shape[2:]).movedim(2, 0)


def expanded_features(
    x: Tensor, weight: Tensor, with_base: bool, basis: Callable[[Tensor], Tensor], formula: Formula
) -> tuple[Tensor, Tensor | None]:
    """What is convolved: the basis maps of the padded x and, if asked for, its activation."""
    if formula.maps is not None:
        return _made_features(x, weight, with_base, formula)
    pads = (0, 0, *formula.geometry.pads)
    # Channels last from here on: the maps then are a view, not a copy, of what the basis makes.
    x = x.to(torch.promote_types(x.dtype, weight.dtype)).movedim(1, -1)
    x = F.pad(x, pads) if any(pads) else x.contiguous()
    maps = basis(x).flatten(-2).movedim(-1, 1).to(formula.dtype)
    return maps, formula.activation(x).movedim(-1, 1).to(formula.dtype) if with_base else None


def _made_features(
    x: Tensor, weight: Tensor, with_base: bool, formula: Formula
) -> tuple[Tensor, Tensor | None]:
    x = x.to(torch.promote_types(x.dtype, weight.dtype))
    x = F.pad(x, formula.geometry.pads) if any(formula.geometry.pads) else x.contiguous()
    maps = formula.maps(x).to(formula.dtype)
    return maps, formula.activation(x).to(formula.dtype) if with_base else None


def expanded_conv(
    x: Tensor,
    kernel: Tensor,
    base_weight: Tensor | None,
    bias: Tensor | None,
    basis: Callable[[Tensor], Tensor],
    formula: Formula,
) -> Tensor:
    """The formula, with the basis maps of all of x at once."""
    geometry, dtype = formula.geometry, formula.dtype
    move = {"stride": geometry.stride, "dilation": geometry.dilation, "groups": formula.groups}
    conv = partial(_CONV[x.ndim - 2], **move)
    # The backward pass runs outside of the caller's autocast: both go by the formula's dtype.
    with without_autocast(x.device.type):
        maps, a = expanded_features(x, kernel, base_weight is not None, basis, formula)
        y = conv(maps, kernel.to(dtype), None if bias is None else bias.to(dtype))
        return y if a is None else y + conv(a, base_weight.to(dtype))


def without_autocast(device_type: str) -> Any:
    """A context in which autocast is off, where the device has it."""
    if torch.amp.is_autocast_available(device_type) and torch.is_autocast_enabled(device_type):
        return torch.autocast(device_type, enabled=False)
    return nullcontext()
