"""The plain path: functions times coefficients, keeping nothing but x for the way back."""

from collections.abc import Callable, Sequence

import torch
from jaxtyping import Float
from torch import Tensor

Features = Callable[[Tensor, int], Tensor]
"""features(x, order): of x (n, I) the functions or their derivatives, (n, I, K) or (n, K, I)."""

CHUNK_BYTES = 4 << 20
"""Size of the features of a few rows at a time: they stay in a processor's last cache."""


def expanded(
    features: Features, x: Float[Tensor, "N I"], C: Float[Tensor, "K I O"], functions_first: bool
) -> Float[Tensor, "N O"]:
    r""":math:`y_{no} = \sum_{ik} B_k(x_{ni})\, C_{kio}`, all at once, differentiable as it stands.

    Args:
        features: Gives B.
        x: The inputs.
        C: The coefficients.
        functions_first: Whether the features come as (n, K, I) rather than (n, I, K).

    """
    return features(x, 0).flatten(1).to(C.dtype) @ _matrix(C, functions_first)


def recomputed(
    features: Features,
    x: Float[Tensor, "N I"],
    C: Float[Tensor, "K I O"],
    functions_first: bool,
    parameters: Sequence[Tensor] = (),
) -> Float[Tensor, "N O"]:
    """:func:`expanded`, a few rows at a time, and again so on the way back.

    Args:
        features: Gives B.
        x: The inputs.
        C: The coefficients.
        functions_first: Whether the features come as (n, K, I) rather than (n, I, K).
        parameters: What ``features`` depends on beside x and wants a gradient.

    """
    return _Recomputed.apply(features, x, C, functions_first, *parameters)


def _matrix(C: Tensor, functions_first: bool) -> Tensor:
    return (C if functions_first else C.transpose(0, 1)).flatten(0, 1)


def _chunks(x: Tensor, C: Tensor) -> list[slice]:
    rows = max(1, CHUNK_BYTES // max(1, C.shape[0] * C.shape[1] * C.element_size()))
    return [slice(a, a + rows) for a in range(0, len(x), rows)]


class _Recomputed(torch.autograd.Function):
    @staticmethod
    def forward(ctx, features, x, C, functions_first, *parameters):
        ctx.features, ctx.functions_first = features, functions_first
        ctx.save_for_backward(x, C, *parameters)
        y = C.new_empty(len(x), C.shape[2])
        matrix = _matrix(C, functions_first)
        for rows in _chunks(x, C):
            torch.mm(features(x[rows], 0).flatten(1).to(C.dtype), matrix, out=y[rows])
        return y

    @staticmethod
    def backward(ctx, dy):
        x, C, *parameters = ctx.saved_tensors
        if torch.is_grad_enabled():
            return _differentiable(ctx, x, C, parameters, dy)
        need_x, need_C = ctx.needs_input_grad[1:3]
        dx = torch.empty_like(x) if need_x else None
        matrix = _matrix(C, ctx.functions_first)
        dmatrix = torch.zeros_like(matrix) if need_C else None
        wanted = [p for p, need in zip(parameters, ctx.needs_input_grad[4:], strict=True) if need]
        dwanted = [torch.zeros_like(p) for p in wanted]
        for rows in _chunks(x, C):
            if need_C:
                B = ctx.features(x[rows], 0).flatten(1).to(C.dtype)
                dmatrix.addmm_(B.T, dy[rows])
            if not need_x and not wanted:
                continue
            dB = dy[rows] @ matrix.T
            if need_x:
                slopes = ctx.features(x[rows], 1).to(C.dtype)
                axis = 1 if ctx.functions_first else 2
                dx[rows] = (slopes * dB.view_as(slopes)).sum(axis)
            if wanted:
                with torch.enable_grad():
                    B = ctx.features(x[rows], 0)
                for total, part in zip(
                    dwanted, torch.autograd.grad(B, wanted, dB.view_as(B).to(B.dtype)), strict=True
                ):
                    total += part
        dC = None
        if need_C:
            K, inputs, outputs = C.shape
            dC = dmatrix.view(K, inputs, outputs) if ctx.functions_first else None
            if dC is None:
                dC = dmatrix.view(inputs, K, outputs).transpose(0, 1).contiguous()
        found = iter(dwanted)
        rest = [next(found) if need else None for need in ctx.needs_input_grad[4:]]
        return None, dx, dC, None, *rest


def _differentiable(ctx, x, C, parameters, dy):
    """The same gradients as a graph, for those who differentiate them again."""
    inputs = [x, C, *parameters]
    needs = [*ctx.needs_input_grad[1:3], *ctx.needs_input_grad[4:]]
    wanted = [t for t, need in zip(inputs, needs, strict=True) if need]
    y = expanded(ctx.features, x, C, ctx.functions_first)
    found = iter(torch.autograd.grad(y, wanted, dy, create_graph=True))
    dx, dC, *rest = [next(found) if need else None for need in needs]
    return None, dx, dC, None, *rest
