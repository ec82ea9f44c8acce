"""The plain path: functions times coefficients, keeping nothing but x for the way back."""

from collections.abc import Callable, Iterator, Sequence

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.func import functional_call

from edgewise.kernels.partials import partials

Features = Callable[[Tensor, int], Tensor]
"""features(x, order): of x (n, I) the functions or their derivatives, (n, I, K) or (n, K, I).

Those with a method ``back(x, dB)`` take the gradient back to x themselves.
"""

CHUNK_BYTES = 2 << 20
"""Size of the features of a few rows at a time: they stay in a processor's last cache."""

FEW_ROWS = 64
"""A product of fewer rows is slow; where rows are that long, twice as many bytes are better."""


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
    return _values(features, x, C) @ _matrix(C, functions_first)


def recomputed(
    features: Features,
    x: Float[Tensor, "N I"],
    C: Float[Tensor, "K I O"],
    functions_first: bool,
) -> Float[Tensor, "N O"]:
    """:func:`expanded`, a few rows at a time, and again so on the way back.

    Args:
        features: Gives B; where it is a module, its parameters get their gradients too.
        x: The inputs.
        C: The coefficients.
        functions_first: Whether the features come as (n, K, I) rather than (n, I, K).

    """
    state = {}
    if isinstance(features, nn.Module):
        state = {**dict(features.named_parameters()), **dict(features.named_buffers())}
    return _Recomputed.apply(features, tuple(state), functions_first, x, C, *state.values())


class _Recomputed(torch.autograd.Function):
    @staticmethod
    def forward(ctx, features, names, functions_first, x, C, *state):
        ctx.features, ctx.names, ctx.functions_first = features, names, functions_first
        ctx.save_for_backward(x, C, *state)
        y = C.new_empty(len(x), C.shape[2])
        matrix = _matrix(C, functions_first)
        for rows in _chunks(x, C):
            torch.mm(_values(features, x[rows], C), matrix, out=y[rows])
        return y

    @staticmethod
    def backward(ctx, dy):
        x, C, *state = ctx.saved_tensors
        needs = ctx.needs_input_grad[3:]
        # Those who differentiate again, or by many dy at once, need operations that torch knows.
        many = torch._C._functorch.is_legacy_batchedtensor(dy)  # no public name tells
        if not many and not torch.is_grad_enabled():
            features = _as_it_was(ctx.features, ctx.names, state)
            found = _by_chunks(features, [x, C, *state], needs, dy, ctx.functions_first)
            return None, None, None, *found

        def f(x: Tensor, C: Tensor, *state: Tensor) -> tuple[Tensor]:
            features = _as_it_was(ctx.features, ctx.names, state)
            return (expanded(features, x, C, ctx.functions_first),)

        return None, None, None, *partials(f, [x, C, *state], needs, [dy])


def _as_it_was(features: Features, names: Sequence[str], state: Sequence[Tensor]) -> Features:
    """A module with the parameters it had on the way forward, which may be others by now."""
    if not names:
        return features
    held = dict(zip(names, state, strict=True))
    return lambda x, order: functional_call(features, held, (x, order))


def _by_chunks(
    features: Features,
    inputs: Sequence[Tensor],
    needs: Sequence[bool],
    dy: Tensor,
    functions_first: bool,
) -> list[Tensor | None]:
    """The gradients, a few rows at a time."""
    x, C, *state = inputs
    need_x, need_C, *need_state = needs
    wanted = _wanted(state, need_state)
    dC = _of_coefficients(features, x, C, dy, functions_first) if need_C else None
    dx = torch.empty_like(x) if need_x else None
    dstate = [torch.zeros_like(t) for t in wanted]
    if need_x or wanted:
        for rows, dB in _of_functions(x, C, dy, functions_first):
            if need_x:
                dx[rows] = _of_inputs(features, x[rows], dB, functions_first)
            if wanted:
                _add_of_state(features, x[rows], dB, wanted, dstate)
    found = iter(dstate)
    return [dx, dC, *(next(found) if need else None for need in need_state)]


def _of_coefficients(
    features: Features, x: Tensor, C: Tensor, dy: Tensor, functions_first: bool
) -> Tensor:
    K, inputs, outputs = C.shape
    total = C.new_zeros(K * inputs, outputs)
    for rows in _chunks(x, C):
        total.addmm_(_values(features, x[rows], C).T, dy[rows])
    if functions_first:
        return total.view(K, inputs, outputs)
    return total.view(inputs, K, outputs).transpose(0, 1).contiguous()


def _of_functions(
    x: Tensor, C: Tensor, dy: Tensor, functions_first: bool
) -> Iterator[tuple[slice, Tensor]]:
    """The gradients of the functions' values, of a few rows at a time."""
    K, inputs, _ = C.shape
    shape = (-1, K, inputs) if functions_first else (-1, inputs, K)
    matrix = _matrix(C, functions_first)
    for rows in _chunks(x, C):
        yield rows, (dy[rows] @ matrix.T).view(shape)


def _of_inputs(features: Features, x: Tensor, dB: Tensor, functions_first: bool) -> Tensor:
    if back := getattr(features, "back", None):
        return back(x, dB)
    return (features(x, 1).to(dB.dtype) * dB).sum(1 if functions_first else 2)


def _add_of_state(
    features: Features, x: Tensor, dB: Tensor, wanted: Sequence[Tensor], totals: Sequence[Tensor]
) -> None:
    with torch.enable_grad():
        B = features(x, 0)
    parts = torch.autograd.grad(B, wanted, dB.to(B.dtype))
    for total, part in zip(totals, parts, strict=True):
        total += part


def _wanted(tensors: Sequence[Tensor], needs: Sequence[bool]) -> list[Tensor]:
    return [t for t, need in zip(tensors, needs, strict=True) if need]


def _values(features: Features, x: Tensor, C: Tensor) -> Tensor:
    """The functions' values, side by side."""
    return features(x, 0).flatten(1).to(C.dtype)


def _matrix(C: Tensor, functions_first: bool) -> Tensor:
    return (C if functions_first else C.transpose(0, 1)).flatten(0, 1)


def _chunks(x: Tensor, C: Tensor) -> list[slice]:
    size = max(1, C.shape[0] * C.shape[1] * C.element_size())
    most = max(1, CHUNK_BYTES // size, min(FEW_ROWS, 2 * CHUNK_BYTES // size))
    # All about as long: a short rest would be slow.
    rows = -(-len(x) // max(1, -(-len(x) // most)))
    return [slice(a, a + rows) for a in range(0, len(x), max(1, rows))]
