"""The selective state-space recurrence: a plain loop, the same as matrix products, and natively.

Legend, in the letters of Dao & Gu (2024, "Transformers are SSMs", arXiv 2405.21060), where one
scalar decay for each head makes the recurrence a masked matrix product ("SSD"):

====================  =======================================================================
x_k  (heads, P)       the input of step k
Δ_k  (heads)          ``delta``, the length of step k; 0 freezes the state
A    (heads)          the rate of decay, negative
B_k, C_k  (N)         how the step writes into the state and how it reads from it
H_k  (heads, P, N)    ``state``, what the steps up to k left behind
Q                     ``chunk``, how many steps one matrix product covers
====================  =======================================================================

For each head: a_k = exp(Δ_k A), H_k = a_k H_{k-1} + Δ_k x_k B_kᵀ and y_k = H_k C_k.
"""

import math
from functools import partial

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from edgewise.core import InputError
from edgewise.kernels import Way, apply, native_sequences

# A step that keeps less than e⁻⁴⁰ of the state, which is below the rounding of float64, keeps e⁻⁴⁰.
# The sums of log a_k then stay finite and small, so their differences are neither inf - inf nor
# rounded away.
_LOWEST_LOG_DECAY = -40.0


def selective_scan_sequential(
    x: Float[Tensor, "batch length heads P"],
    delta: Float[Tensor, "batch length heads"],
    A: Float[Tensor, " heads"],
    B: Float[Tensor, "batch length N"],
    C: Float[Tensor, "batch length N"],
    state: Float[Tensor, "batch heads P N"] | None = None,
) -> tuple[Float[Tensor, "batch length heads P"], Float[Tensor, "batch heads P N"]]:
    """The recurrence as it is written, one step after another: slow, obvious, the reference.

    Args:
        x: Inputs.
        delta: Step lengths Δ, not negative; a step of 0 leaves the state exactly as it was.
        A: Rates of decay, negative; a state loses the factor exp(Δ A) in a step.
        B: Directions in which the inputs are written.
        C: Directions in which the state is read.
        state: The state before the first step; zero when left out.

    Returns:
        The outputs y in the dtype of ``x``, and the state after the last step. The state is at
        least float32: in half precision a small step would be rounded away.

    Raises:
        InputError: If a shape does not fit the others, or there is no step.

    Example:
        With no decay (A → 0) and all else 1 the recurrence is a running sum:

        >>> x = torch.tensor([1.0, 2.0, 3.0]).reshape(1, 3, 1, 1)
        >>> one = torch.ones(1, 3, 1)
        >>> y, state = selective_scan_sequential(x, one, torch.zeros(1), one, one)
        >>> y.flatten().tolist(), state.item()
        ([1.0, 3.0, 6.0], 6.0)

    """
    _check(x, delta, A, B, C, state)
    given, (x, delta, A, B, C) = x.dtype, _widened(x, delta, A, B, C)
    state = _first_state(x, B, state)
    a = torch.exp(delta * A)
    outputs = []
    for k in range(x.shape[1]):
        written = (delta[:, k, :, None] * x[:, k])[..., None] * B[:, k, None, None, :]
        state = a[:, k, :, None, None] * state + written
        outputs.append((state * C[:, k, None, None, :]).sum(-1))
    return torch.stack(outputs, dim=1).to(given), state


def selective_scan(
    x: Float[Tensor, "batch length heads P"],
    delta: Float[Tensor, "batch length heads"],
    A: Float[Tensor, " heads"],
    B: Float[Tensor, "batch length N"],
    C: Float[Tensor, "batch length N"],
    state: Float[Tensor, "batch heads P N"] | None = None,
    *,
    chunk: int = 24,
) -> tuple[Float[Tensor, "batch length heads P"], Float[Tensor, "batch heads P N"]]:
    """The same recurrence, fast.

    On a CPU the native library walks the steps, a vector of inputs at once, and keeps the inputs
    only. Elsewhere it is cut into chunks of at most ``chunk`` steps, each a few matrix products.
    With s_i = log a_1 + … + log a_i counted from the start of a chunk and H the state that enters
    it (Dao & Gu 2024, section 6):

        y_i = Σ_{j ≤ i} exp(s_i - s_j) (C_i · B_j) Δ_j x_j  +  exp(s_i) H C_i
        H'  = exp(s_Q) H + Σ_j exp(s_Q - s_j) Δ_j x_j B_jᵀ

    Only the line for H' is a loop, over chunks. Any length will do: the chunks are made equally
    long and the last one is filled up with steps of Δ = 0. Either can be differentiated twice.

    Args:
        x: Inputs.
        delta: Step lengths Δ, not negative; a step of 0 leaves the state exactly as it was.
        A: Rates of decay, negative; a state loses the factor exp(Δ A) in a step.
        B: Directions in which the inputs are written.
        C: Directions in which the state is read.
        state: The state before the first step; zero when left out.
        chunk: The largest number of steps in a chunk, where there are some; it changes the speed,
            not the result.

    Returns:
        The outputs y in the dtype of ``x``, and the state after the last step, at least float32.

    Raises:
        InputError: If a shape does not fit the others, there is no step, or ``chunk`` < 1.

    Example:
        >>> x, delta, A = torch.randn(2, 9, 3, 4), torch.rand(2, 9, 3), -torch.rand(3)
        >>> B, C = torch.randn(2, 9, 5), torch.randn(2, 9, 5)
        >>> y, state = selective_scan(x, delta, A, B, C, chunk=4)
        >>> y_slow, state_slow = selective_scan_sequential(x, delta, A, B, C)
        >>> torch.allclose(y, y_slow, atol=1e-5), torch.allclose(state, state_slow, atol=1e-5)
        (True, True)

    """
    _check(x, delta, A, B, C, state)
    if not isinstance(chunk, int) or chunk < 1:
        raise InputError(f"chunk is {chunk}: it must be a whole number of at least 1")
    given, (x, delta, A, B, C) = x.dtype, _widened(x, delta, A, B, C)
    way = Way(native_sequences.scan, native_sequences.scan_back, partial(_by_chunks, chunk))
    y, state = apply(way, x, delta, A, B, C, _first_state(x, B, state))
    return y.to(given), state


def _by_chunks(
    chunk: int, x: Tensor, delta: Tensor, A: Tensor, B: Tensor, C: Tensor, state: Tensor
) -> tuple[Tensor, Tensor]:
    length, heads, P = x.shape[1:]
    chunks = math.ceil(length / chunk)
    Q = math.ceil(length / chunks)

    log_a = _cut((delta * A).clamp(min=_LOWEST_LOG_DECAY), chunks, Q)
    u, B, C = _cut(delta[..., None] * x, chunks, Q), _cut(B, chunks, Q), _cut(C, chunks, Q)
    s = log_a.cumsum(dim=2)
    entering, state = _across_chunks(u, s, B, state)
    y = _within_chunks(u, s, B, C) + _from_before(s, C, entering)
    return y.reshape(-1, chunks * Q, heads, P)[:, :length], state


def _within_chunks(u: Tensor, s: Tensor, B: Tensor, C: Tensor) -> Tensor:
    """Σ_{j ≤ i} exp(s_i - s_j) (C_i · B_j) u_j, as one masked (Q, Q) matrix for each head."""
    s = s.transpose(-1, -2)
    difference = s[..., :, None] + (-s)[..., None, :]
    later = torch.ones(difference.shape[-2:], dtype=torch.bool, device=s.device).triu(1)
    # Masked before exp: above the diagonal the difference is positive and exp would overflow. It is
    # finite, so neither the value nor the gradient meets inf - inf or 0 · inf. In place, because
    # these Q² numbers for each head and chunk are the largest thing the layer holds.
    decay = difference.masked_fill_(later, -math.inf).exp_()
    mixing = decay * (C @ B.mT)[:, :, None]
    return (mixing @ u.transpose(2, 3)).transpose(2, 3)


def _across_chunks(u: Tensor, s: Tensor, B: Tensor, state: Tensor) -> tuple[Tensor, Tensor]:
    """The state that enters each chunk (batch, chunks, heads, P, N), and the one that leaves."""
    kept_to_end = torch.exp(s[:, :, -1:] - s)
    written = (kept_to_end[..., None] * u).flatten(-2).mT @ B
    written = written.unflatten(2, u.shape[-2:])
    kept = torch.exp(s[:, :, -1])[..., None, None]
    entering = []
    for kept_c, written_c in zip(kept.unbind(1), written.unbind(1), strict=True):
        entering.append(state)
        state = kept_c * state + written_c
    return torch.stack(entering, dim=1), state


def _from_before(s: Tensor, C: Tensor, entering: Tensor) -> Tensor:
    """exp(s_i) H C_i: what the steps of a chunk read from the state that entered it."""
    read = C @ entering.flatten(2, 3).mT
    return torch.exp(s)[..., None] * read.unflatten(-1, entering.shape[2:4])


def _cut(values: Tensor, chunks: int, Q: int) -> Tensor:
    """(batch, length, …) → (batch, chunks, Q, …), filled up with zeros: Δ = 0, nothing happens."""
    missing = chunks * Q - values.shape[1]
    if missing:
        values = F.pad(values, [0, 0] * (values.ndim - 2) + [0, missing])
    return values.unflatten(1, (chunks, Q))


def _widened(*tensors: Tensor) -> list[Tensor]:
    """The tensors in their common dtype, but at least float32: decays multiply over many steps."""
    dtype = torch.float32
    for tensor in tensors:
        dtype = torch.promote_types(dtype, tensor.dtype)
    return [tensor.to(dtype) for tensor in tensors]


def _first_state(x: Tensor, B: Tensor, state: Tensor | None) -> Tensor:
    """The given state in the working dtype, or zero."""
    if state is None:
        return x.new_zeros(x.shape[0], *x.shape[2:], B.shape[-1])
    return state.to(x.dtype)


def _check(x: Tensor, delta: Tensor, A: Tensor, B: Tensor, C: Tensor, state: Tensor | None) -> None:
    """Refuses shapes that don't fit, before broadcasting can make sense of them."""
    if x.ndim != 4 or x.shape[1] == 0:
        raise InputError(
            f"x has shape {tuple(x.shape)}: it must be (batch, length, heads, P) with length ≥ 1"
        )
    if B.ndim != 3:
        raise InputError(f"B has shape {tuple(B.shape)}: it must be (batch, length, N)")
    batch, length, heads, P = x.shape
    N = B.shape[-1]
    expected = {
        "delta": (delta, (batch, length, heads)),
        "A": (A, (heads,)),
        "B": (B, (batch, length, N)),
        "C": (C, (batch, length, N)),
        "state": (state, (batch, heads, P, N)),
    }
    for name, (tensor, shape) in expected.items():
        if tensor is not None and tuple(tensor.shape) != shape:
            raise InputError(
                f"{name} has shape {tuple(tensor.shape)}: beside x {tuple(x.shape)} and "
                f"N = {N} it must be {shape}"
            )
