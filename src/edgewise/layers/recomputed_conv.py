"""The expanded convolution with little memory: basis maps are made again, not kept."""

import math
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call

from edgewise.kernels.maps import map_maker
from edgewise.kernels.partials import partials
from edgewise.layers.expanded_conv import (
    Formula,
    coefficients_of,
    expanded_conv,
    expanded_features,
    kernel_of,
    without_autocast,
)
from edgewise.layers.recompute import must_be_plain

CHUNK_BYTES = {"cpu": 8 * 2**20}
"""How many bytes of basis maps are held at once, by device.

A CPU is as fast with 2 MiB as with 16 (measured; below, calls cost more than sums), and what the
basis makes on its way is a few times the maps. Other devices (:data:`OTHER_CHUNK_BYTES`) need more
work in each call than that to be busy.
"""

OTHER_CHUNK_BYTES = 256 * 2**20


def recomputed_conv(
    x: Tensor,
    coefficients: Tensor,
    base_weight: Tensor | None,
    bias: Tensor | None,
    basis: nn.Module,
    formula: Formula,
) -> Tensor:
    r"""The convolution, saving nothing but its inputs for the backward pass.

    .. math::
        y_{nop} = b_o + \sum_{c,r} \Big( w_{ocr}\, a(x) + \sum_k c_{kocr} B_k(x) \Big),
        \qquad x = x_{n,\, c,\, p \cdot \text{stride} + r \cdot \text{dilation}}

    The basis maps are made for as many samples at a time as :data:`CHUNK_BYTES` allows (at least
    one), and made again in the backward pass. The plain expression is used as it stands where
    something else takes care of memory or follows the operations themselves: in ``torch.compile``
    and ``torch.export``, in ``torch.func`` transforms and in forward-mode differentiation.

    Args:
        x: The input, in any dtype; padded with zeros as the geometry says.
        coefficients: c.
        base_weight: w, or None where there is no activation.
        bias: b, or None.
        basis: B, called with the channels on the last axis.
        formula: The activation, the geometry and the dtype.
    """
    weights = (coefficients, base_weight, bias)
    if must_be_plain(*(t for t in (x, *weights, *basis.parameters()) if t is not None)):
        return expanded_conv(x, kernel_of(coefficients), base_weight, bias, basis, formula)
    state = {**dict(basis.named_parameters()), **dict(basis.named_buffers())}
    wide = torch.promote_types(x.dtype, coefficients.dtype)
    formula = formula._replace(maps=map_maker(x, wide, basis.known, basis))
    return _Recomputed.apply(formula, basis, tuple(state), x, *weights, *state.values())


class _Recomputed(torch.autograd.Function):
    """The plain expression in chunks of samples, which the backward pass makes again."""

    @staticmethod
    def forward(
        ctx: Any,
        formula: Formula,
        basis: nn.Module,
        names: tuple[str, ...],
        x: Tensor,
        coefficients: Tensor,
        base_weight: Tensor | None,
        bias: Tensor | None,
        *state: Tensor,
    ) -> Tensor:
        ctx.formula, ctx.basis, ctx.names = formula, basis, names
        ctx.save_for_backward(x, coefficients, base_weight, bias, *state)
        kernel = kernel_of(coefficients)
        step = _samples_at_once(x, kernel, formula)
        return _joined(
            [
                expanded_conv(part, kernel, base_weight, bias, basis, formula)
                for part in x.split(step)
            ]
        )

    @staticmethod
    def backward(ctx: Any, grad_y: Tensor) -> tuple[Tensor | None, ...]:
        inputs, needed = ctx.saved_tensors, ctx.needs_input_grad[3:]
        # Recording is on in here where the gradient itself is to be differentiated.
        find = _differentiable_gradients if torch.is_grad_enabled() else _gradients_in_chunks
        found = find(grad_y, inputs, needed, ctx.basis, ctx.names, ctx.formula)
        return (None, None, None, *found)


def _differentiable_gradients(
    grad_y: Tensor,
    inputs: Sequence[Tensor | None],
    needed: Sequence[bool],
    basis: nn.Module,
    names: Sequence[str],
    formula: Formula,
) -> list[Tensor | None]:
    """The gradients by way of the plain expression, with a graph of their own."""
    formula = formula._replace(maps=None)

    def f(x, coefficients, base_weight, bias, *state):
        bound = _bound(basis, names, state)
        return (expanded_conv(x, kernel_of(coefficients), base_weight, bias, bound, formula),)

    return partials(f, inputs, needed, [grad_y])


def _gradients_in_chunks(
    grad_y: Tensor,
    inputs: Sequence[Tensor | None],
    needed: Sequence[bool],
    basis: nn.Module,
    names: Sequence[str],
    formula: Formula,
) -> list[Tensor | None]:
    """The gradients from basis maps made again, for as many samples at once as in the forward."""
    x, coefficients, base_weight, bias, *_ = inputs
    weights = (kernel_of(coefficients), base_weight, bias)
    state = [t.detach().requires_grad_(n) for t, n in zip(inputs[4:], needed[4:], strict=True)]
    basis = _bound(basis, names, state)
    step = _samples_at_once(x, weights[0], formula)
    parts, sums = [], [None] * (len(inputs) - 1)
    for part, grad in zip(x.split(step), grad_y.split(step), strict=True):
        part = part.detach().requires_grad_(needed[0])
        found = _chunk_gradients(grad, part, weights, state, needed, basis, formula)
        parts.append(found[0])
        sums = [g if s is None else s + g for s, g in zip(sums, found[1:], strict=True)]
    grad_c = None if sums[0] is None else coefficients_of(sums[0], len(coefficients))
    return [_joined(parts) if needed[0] else None, grad_c, *sums[1:]]


def _chunk_gradients(
    grad: Tensor,
    x: Tensor,
    weights: Sequence[Tensor | None],
    state: Sequence[Tensor],
    needed: Sequence[bool],
    basis: Callable[[Tensor], Tensor],
    formula: Formula,
) -> list[Tensor | None]:
    """Those of x, the kernel, the base weight, the bias and the basis, each where it is needed."""
    kernel, base_weight, _ = weights
    with torch.enable_grad(), without_autocast(x.device.type):
        maps, a = expanded_features(x, kernel, base_weight is not None, basis, formula)
    wanted = (maps.requires_grad, needed[1], needed[3])
    grad_maps, grad_kernel, grad_bias = _conv_backward(grad, maps, kernel, wanted, formula)
    grad_a = grad_base = None
    if a is not None:
        wanted = (a.requires_grad, needed[2], False)
        grad_a, grad_base, _ = _conv_backward(grad, a, base_weight, wanted, formula)
    ways = [(f, g) for f, g in ((maps, grad_maps), (a, grad_a)) if g is not None]
    outputs, grads = [f for f, _ in ways], [g for _, g in ways]
    grad_x, *rest = _gradients(outputs, grads, (x, *state), (needed[0], *needed[4:]))
    return [grad_x, grad_kernel, grad_base, grad_bias, *rest]


def _conv_backward(
    grad: Tensor, features: Tensor, weight: Tensor, wanted: Sequence[bool], formula: Formula
) -> list[Tensor | None]:
    """The gradients of a convolution's features, weight and bias, without its values."""
    if not any(wanted):
        return [None] * 3
    geometry, none = formula.geometry, [0] * (features.ndim - 2)
    sizes = (geometry.stride, none, geometry.dilation, False, none, formula.groups)
    found = torch.ops.aten.convolution_backward(
        grad, features.detach(), weight.to(formula.dtype), [len(weight)], *sizes, wanted
    )
    dtypes = (features.dtype, weight.dtype, weight.dtype)
    return [g.to(d) if w else None for g, d, w in zip(found, dtypes, wanted, strict=True)]


def _gradients(
    outputs: Sequence[Tensor],
    grads: Sequence[Tensor],
    ends: Sequence[Tensor | None],
    needed: Sequence[bool],
) -> list[Tensor | None]:
    """The gradient at each end where it is needed, and None at the others."""
    wanted = [t for t, need in zip(ends, needed, strict=True) if need]
    if not wanted:
        return [None] * len(ends)
    found = iter(torch.autograd.grad(outputs, wanted, grads, allow_unused=True))
    return [next(found) if need else None for need in needed]


def _bound(
    basis: nn.Module, names: Sequence[str], state: Sequence[Tensor]
) -> Callable[[Tensor], Tensor]:
    """The basis as a function of x, with these parameters and buffers for its own."""
    return partial(functional_call, basis, dict(zip(names, state, strict=True)))


def _samples_at_once(x: Tensor, kernel: Tensor, formula: Formula) -> int:
    """How many samples have basis maps of no more than the bytes held at once; at least one."""
    pixels = math.prod(formula.geometry.padded(x.shape[2:]))
    maps = kernel.shape[1] * formula.groups  # C·K
    item = torch.promote_types(x.dtype, kernel.dtype).itemsize
    held = CHUNK_BYTES.get(x.device.type, OTHER_CHUNK_BYTES)
    return max(1, held // max(1, item * maps * pixels))


def _joined(parts: list[Tensor]) -> Tensor:
    return parts[0] if len(parts) == 1 else torch.cat(parts)
