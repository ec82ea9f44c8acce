r"""Layers of uniform B-splines in Triton, for CUDA: the basis is built in registers, never stored.

.. math::
    y_{no} = \sum_i \sum_k B_k(x_{ni})\, C_{kio}, \qquad u = (x - lo) / h

With z the distance from the middle of B_k in cells, :math:`a = \max(\frac{d+1}{2} - z, 0)` and
:math:`b = \max(\frac{d-1}{2} - z, 0)`, the splines of degree d = 1, 2, 3 are differences of
truncated powers (de Boor 1978, ch. IX): :math:`a`, :math:`(a^2 - 3b^2)/2!`,
:math:`(a^3 - 4b^3)/3!`. That form has no index and no branch, so it is computed straight into the
left operand of a matrix product. Outside the grid a function is its tangent at the end e,
:math:`B_k(e) + (u - e) B'_k(e)`. Every program owns what it writes: no atomics, and the same bits
each time.
"""

from __future__ import annotations  # the kernels name tl, which is there only once they are used

import functools
import importlib.util
import math
import os
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from edgewise.core import InputError

if TYPE_CHECKING:
    import triton.language as tl


class _Tile(NamedTuple):
    """The rows, inputs and outputs that a program holds at a time, and the loads under way."""

    rows: int
    inputs: int
    outputs: int
    stages: int


# The largest that stay in registers on sm_90: the slow test compiles each and sees that nothing
# spills. Widths that 16 does not divide ("odd") need more registers for their addresses.
_TILES = {
    ("_forward_kernel", "bf16"): _Tile(128, 32, 256, 4),
    ("_forward_kernel", "tf32"): _Tile(128, 32, 128, 3),
    ("_forward_kernel", "ieee"): _Tile(64, 16, 64, 2),
    ("_forward_kernel", "odd"): _Tile(64, 32, 64, 2),
    ("_dc_kernel", "bf16"): _Tile(64, 128, 128, 3),
    ("_dc_kernel", "tf32"): _Tile(32, 128, 128, 3),
    ("_dc_kernel", "ieee"): _Tile(32, 64, 64, 2),
    ("_dc_kernel", "odd"): _Tile(32, 64, 64, 2),
    ("_dx_kernel", "bf16"): _Tile(128, 64, 64, 3),
    ("_dx_kernel", "tf32"): _Tile(128, 64, 32, 3),
    ("_dx_kernel", "ieee"): _Tile(64, 32, 32, 2),
    ("_dx_kernel", "odd"): _Tile(64, 64, 32, 2),
}
_DTYPES = (torch.float32, torch.bfloat16)
_WARPS = 8
_ENOUGH_PROGRAMS = 264  # two on each of the 132 multiprocessors of an H100
_FEWEST_ROWS = 512  # of a batch, that are worth a program of their own


def spline_forward(
    x: Float[Tensor, "N I"],
    C: Float[Tensor, "K I O"],
    lo: float,
    inv_h: float,
    degree: int,
    *,
    allow_tf32: bool | None = None,
) -> Float[Tensor, "N O"]:
    r"""The sums :math:`y_{no} = \sum_{ik} B_k(x_{ni}) C_{kio}` over uniform B-splines, on a GPU.

    Args:
        x: The inputs, float32 or bfloat16; their place in the grid is computed in float32.
        C: The coefficients, float32 or bfloat16: products are of this precision, sums of float32.
        lo: Where the grid of G = K - degree cells begins.
        inv_h: The cells per unit of x, 1 / h.
        degree: 1, 2 or 3.
        allow_tf32: Whether products of float32 may round their factors to TF32 (10 bits of
            mantissa); None does as ``torch.backends.cuda.matmul.allow_tf32`` says.

    Returns:
        The values, in the dtype of C.

    Raises:
        InputError: If :func:`why_not` has a reason.

    Example:
        >>> x = torch.rand(64, 3, device="cuda")  # doctest: +SKIP
        >>> C = torch.ones(8, 3, 2, device="cuda")  # doctest: +SKIP
        >>> spline_forward(x, C, lo=-1.0, inv_h=2.5, degree=3)[0]  # doctest: +SKIP
        tensor([3., 3.], device='cuda:0')

    """
    _check("spline_forward", x, C, degree)
    kind = _kind(C, allow_tf32)
    tile = _tile("_forward_kernel", kind, x, C)
    y = C.new_empty(x.shape[0], C.shape[2])
    grid = (_ceil(x.shape[0], tile.rows) * _ceil(C.shape[2], tile.outputs),)
    _launch("_forward_kernel", grid, tile, kind, (x, C, y), _sizes(x, C), lo, inv_h, degree)
    return y


def spline_backward(
    x: Float[Tensor, "N I"],
    C: Float[Tensor, "K I O"],
    dy: Float[Tensor, "N O"],
    lo: float,
    inv_h: float,
    degree: int,
    need_dx: bool,
    need_dC: bool,
    *,
    allow_tf32: bool | None = None,
) -> tuple[Float[Tensor, "N I"] | None, Float[Tensor, "K I O"] | None]:
    r"""The gradients of :func:`spline_forward`; of what went forward, only x is needed again.

    .. math::
        \bar x_{ni} = \frac1h \sum_k B'_k(u_{ni}) \sum_o \bar y_{no} C_{kio}, \qquad
        \bar C_{kio} = \sum_n B_k(x_{ni})\, \bar y_{no}

    Args:
        x: As it went forward.
        C: As it went forward.
        dy: The gradient of the values, in the dtype of C.
        lo: As it went forward.
        inv_h: As it went forward.
        degree: As it went forward.
        need_dx: Whether the gradient of x is wanted.
        need_dC: Whether the gradient of C is wanted.
        allow_tf32: As for :func:`spline_forward`.

    Returns:
        The gradients of x and of C, in their dtypes; None for one that is not needed.

    Raises:
        InputError: If :func:`why_not` has a reason, or dy is not as the values were.

    Example:
        >>> x = torch.rand(64, 3, device="cuda")  # doctest: +SKIP
        >>> C, dy = torch.ones(8, 3, 2, device="cuda"), torch.ones(64, 2, device="cuda")
        ... # doctest: +SKIP
        >>> dx, dC = spline_backward(x, C, dy, -1.0, 2.5, 3, True, True)  # doctest: +SKIP
        >>> torch.allclose(dC.sum(), dy.sum() * 3)  # doctest: +SKIP
        True

    """
    _check("spline_backward", x, C, degree)
    expected = (x.shape[0], C.shape[2])
    if dy.shape != expected or dy.dtype != C.dtype or dy.device != x.device:
        raise InputError(
            f"dy must be {C.dtype} of shape {expected} on {x.device}, as the values were, "
            f"got {dy.dtype} of shape {tuple(dy.shape)} on {dy.device}"
        )
    kind, grid = _kind(C, allow_tf32), (lo, inv_h, degree)
    dx = _dx(kind, x, C, dy, *grid) if need_dx else None
    return dx, _dc(kind, x, C, dy, *grid) if need_dC else None


def why_not(x: Tensor, C: Tensor, degree: int, uniform: bool) -> str | None:
    """Why these kernels can't serve a layer, or None where they can.

    Args:
        x: The inputs, [N, I].
        C: The coefficients, [K, I, O].
        degree: The degree of the splines.
        uniform: Whether all cells of the grid are equal, for all inputs.

    Example:
        >>> why_not(torch.ones(2, 3), torch.ones(8, 3, 4), degree=4, uniform=True)
        'the degree is 4, and the Triton kernels are for 1, 2 and 3'

    """
    if not uniform:
        return "the knots are not uniform, and the Triton kernels are for equal cells"
    if degree not in (1, 2, 3):
        return f"the degree is {degree}, and the Triton kernels are for 1, 2 and 3"
    if x.ndim != 2 or C.ndim != 3 or x.shape[1] != C.shape[1] or C.shape[0] <= degree:
        shapes = f"x of shape {tuple(x.shape)} and coefficients of shape {tuple(C.shape)}"
        return f"{shapes} are not [N, I] and [K, I, O] with K > {degree}"
    if x.dtype not in _DTYPES or C.dtype not in _DTYPES:
        dtypes = f"x is {x.dtype} and the coefficients are {C.dtype}"
        return f"{dtypes}, and the Triton kernels are for float32 and bfloat16"
    if x.device != C.device:
        return f"x is on {x.device} and the coefficients are on {C.device}"
    return _why_not_on(x.device)


def _why_not_on(device: torch.device) -> str | None:
    """Why Triton can't serve the device; its interpreter, a tool of tests, serves any."""
    interpreted = os.environ.get("TRITON_INTERPRET") == "1"
    if device.type != "cuda" and not interpreted:
        return f"x is on {device}, and the Triton kernels are for CUDA"
    if importlib.util.find_spec("triton") is None:
        return "triton is not installed; it comes with torch's CUDA builds on Linux"
    if interpreted:
        return None
    if torch.version.hip is not None:
        return "this torch is built for ROCm, and the Triton kernels are for CUDA"
    if torch.cuda.get_device_capability(device) < (8, 0):
        name = torch.cuda.get_device_name(device)
        return f"the {name} is older than compute capability 8.0, which bfloat16 and TF32 need"
    return None


def _check(caller: str, x: Tensor, C: Tensor, degree: int) -> None:
    reason = why_not(x, C, degree, uniform=True)
    if reason is not None:
        raise InputError(f"{caller} can't serve this: {reason}; use the plain path")


def _dx(
    kind: str, x: Tensor, C: Tensor, dy: Tensor, lo: float, inv_h: float, degree: int
) -> Tensor:
    tile = _tile("_dx_kernel", kind, x, C)
    dx = torch.empty_like(x, memory_format=torch.contiguous_format)
    grid = (_ceil(x.shape[0], tile.rows) * _ceil(x.shape[1], tile.inputs),)
    _launch("_dx_kernel", grid, tile, kind, (x, C, dy, dx), _sizes(x, C), lo, inv_h, degree)
    return dx


def _dc(
    kind: str, x: Tensor, C: Tensor, dy: Tensor, lo: float, inv_h: float, degree: int
) -> Tensor:
    tile = _tile("_dc_kernel", kind, x, C)
    tiles = _ceil(C.shape[1], tile.inputs) * _ceil(C.shape[2], tile.outputs)
    rows = _share(x.shape[0], tiles * C.shape[0], tile.rows)
    splits = max(1, _ceil(x.shape[0], rows))
    # Where there are few tiles the batch is shared out, and the shares are added in their order.
    dtype = C.dtype if splits == 1 else torch.float32
    parts = torch.empty(splits, *C.shape, dtype=dtype, device=C.device)
    sizes = (*_sizes(x, C), rows)
    grid = (tiles, C.shape[0], splits)
    _launch("_dc_kernel", grid, tile, kind, (x, dy, parts), sizes, lo, inv_h, degree)
    return parts[0] if splits == 1 else parts.sum(0).to(C.dtype)


def _share(batch: int, programs: int, rows: int) -> int:
    """How many rows of the batch one program takes: by sizes alone, so the sum's order stays."""
    splits = max(1, min(_ENOUGH_PROGRAMS // programs, batch // _FEWEST_ROWS))
    return max(1, _ceil(_ceil(batch, splits), rows)) * rows


def _kind(C: Tensor, allow_tf32: bool | None) -> str:
    """Which products: of bf16, of TF32, or of float32 in full ("ieee")."""
    if C.dtype == torch.bfloat16:
        return "bf16"
    allowed = torch.backends.cuda.matmul.allow_tf32 if allow_tf32 is None else allow_tf32
    return "tf32" if allowed else "ieee"


def _tile(kernel: str, kind: str, x: Tensor, C: Tensor) -> _Tile:
    """The kernel's tile, cut down to the layer: powers of two, and at least 16 for tensor cores."""
    (batch, n_in), n_out = x.shape, C.shape[2]
    odd = kind != "ieee" and (n_in % 16 or n_out % 16)
    tile = _TILES[kernel, "odd" if odd else kind]
    fitted = (
        min(most, max(16, 1 << (size - 1).bit_length()))
        for most, size in zip(tile, (batch, n_in, n_out), strict=False)
    )
    return _Tile(*fitted, tile.stages)


def _sizes(x: Tensor, C: Tensor) -> tuple[int, ...]:
    """N, I, O, K and the distance from C_k to C_{k+1}."""
    return *x.shape, C.shape[2], C.shape[0], C.shape[1] * C.shape[2]


def _ceil(a: int, b: int) -> int:
    return -(-a // b)


def _launch(
    kernel: str,
    grid: tuple[int, ...],
    tile: _Tile,
    kind: str,
    tensors: tuple[Tensor, ...],
    sizes: tuple[int, ...],
    lo: float,
    inv_h: float,
    degree: int,
) -> None:
    *inputs, output = tensors
    constants = {
        "DEGREE": degree,
        "FACTORIAL": math.factorial(degree),
        "PRECISION": "ieee" if kind == "ieee" else "tf32",
        "BLOCK_N": tile.rows,
        "BLOCK_I": tile.inputs,
        "BLOCK_O": tile.outputs,
    }
    # Triton launches on the current device, wherever the tensors are.
    with torch.cuda.device_of(output):
        _compiled()[kernel][grid](
            *(tensor.contiguous() for tensor in inputs), output, *sizes, lo, inv_h,
            **constants, num_warps=_WARPS, num_stages=tile.stages,
        )  # fmt: skip


_on_device: dict[str, Callable] = {}


def _kernel(function: Callable) -> Callable:
    """Marks a function that Triton compiles, once it is needed."""
    _on_device[function.__name__] = function
    return function


@functools.cache
def _compiled() -> dict[str, Any]:
    """The kernels as Triton has them, which is imported here and nowhere else."""
    import triton
    import triton.language

    # Triton looks up in the module what a kernel names: tl, and the functions that it calls.
    names = globals()
    names["tl"] = triton.language
    # N changes with the last batch of an epoch, and must not compile again.
    for name, function in _on_device.items():
        unspecialized = ["N"] if name.endswith("_kernel") else []
        names[name] = triton.jit(function, do_not_specialize=unspecialized)
    return {name: names[name] for name in _on_device}


@_kernel
def _value(u, k, DEGREE: tl.constexpr):
    """B_k · degree! at u in [0, G]: the factorial is taken out once, of the sum."""
    z = tl.abs(u - (k - 0.5 * (DEGREE - 1)))
    a = tl.maximum(0.5 * (DEGREE + 1) - z, 0.0)
    b = tl.maximum(0.5 * (DEGREE - 1) - z, 0.0)
    if DEGREE == 3:
        return a * a * a - 4.0 * b * b * b
    elif DEGREE == 2:  # noqa: RET505 (a return after an if ends the kernel, for Triton)
        return a * a - 3.0 * b * b
    else:
        return a


@_kernel
def _slope(u, k, cells, DEGREE: tl.constexpr):
    """dB_k/du · degree! at u in [0, G]; of degree 1, from the right, and at G from the left."""
    r = u - (k - 0.5 * (DEGREE - 1))
    a = tl.maximum(0.5 * (DEGREE + 1) - tl.abs(r), 0.0)
    b = tl.maximum(0.5 * (DEGREE - 1) - tl.abs(r), 0.0)
    if DEGREE == 3:
        s = 12.0 * b * b - 3.0 * a * a
        return tl.where(r < 0.0, -s, s)
    elif DEGREE == 2:  # noqa: RET505
        s = 6.0 * b - 2.0 * a
        return tl.where(r < 0.0, -s, s)
    else:
        cell = tl.minimum(tl.floor(u), cells - 1.0)
        return tl.where(cell == k - 1, 1.0, 0.0) - tl.where(cell == k, 1.0, 0.0)


@_kernel
def _extended(u, inside, k, cells, DEGREE: tl.constexpr):
    """B_k · degree! at any u, of which ``inside`` is the nearest in [0, G]; NaN stays NaN."""
    # The slopes at the two ends are the same for all of a tile: two scalars.
    left = _slope(cells * 0.0, k, cells, DEGREE)
    right = _slope(cells, k, cells, DEGREE)
    return _value(inside, k, DEGREE) + (u - inside) * tl.where(u < 0.0, left, right)


@_kernel
def _forward_kernel(
    x, c, y, N, n_in, n_out, K, plane, lo, inv_h,
    DEGREE: tl.constexpr, FACTORIAL: tl.constexpr, PRECISION: tl.constexpr,
    BLOCK_N: tl.constexpr, BLOCK_I: tl.constexpr, BLOCK_O: tl.constexpr,
):  # fmt: skip
    """A tile of y: x is read once and serves all k, only C streams."""
    o_tiles = tl.cdiv(n_out, BLOCK_O)
    n0 = tl.program_id(0) // o_tiles * BLOCK_N
    o = tl.program_id(0) % o_tiles * BLOCK_O + tl.arange(0, BLOCK_O)
    n = tl.arange(0, BLOCK_N)
    # The rows' offset in 64 bits, once; within a tile 32 are enough.
    x += n0.to(tl.int64) * n_in
    y += n0.to(tl.int64) * n_out
    in_rows = n[:, None] < N - n0
    cells = (K - DEGREE) * 1.0
    acc = tl.zeros((BLOCK_N, BLOCK_O), tl.float32)
    for i0 in range(0, n_in, BLOCK_I):
        i = i0 + tl.arange(0, BLOCK_I)
        at = tl.load(x + n[:, None] * n_in + i[None, :], in_rows & (i[None, :] < n_in), 0.0)
        u = (at.to(tl.float32) - lo) * inv_h
        inside = tl.minimum(tl.maximum(u, 0.0), cells)
        tile = c + i[:, None] * n_out + o[None, :]
        in_c = (i[:, None] < n_in) & (o[None, :] < n_out)
        for k in range(K):
            b = _extended(u, inside, k, cells, DEGREE).to(c.dtype.element_ty)
            acc = tl.dot(b, tl.load(tile, in_c, 0.0), acc, input_precision=PRECISION)
            tile += plane
    out = (acc * (1.0 / FACTORIAL)).to(y.dtype.element_ty)
    tl.store(y + n[:, None] * n_out + o[None, :], out, in_rows & (o[None, :] < n_out))


@_kernel
def _dc_kernel(
    x, dy, dc, N, n_in, n_out, K, plane, rows, lo, inv_h,
    DEGREE: tl.constexpr, FACTORIAL: tl.constexpr, PRECISION: tl.constexpr,
    BLOCK_N: tl.constexpr, BLOCK_I: tl.constexpr, BLOCK_O: tl.constexpr,
):  # fmt: skip
    """A tile of dC_k = B_k(x)ᵀ dy, of one share of the batch: ``rows`` from split · rows on."""
    o_tiles = tl.cdiv(n_out, BLOCK_O)
    i = tl.program_id(0) // o_tiles * BLOCK_I + tl.arange(0, BLOCK_I)
    o = tl.program_id(0) % o_tiles * BLOCK_O + tl.arange(0, BLOCK_O)
    k = tl.program_id(1)
    split = tl.program_id(2).to(tl.int64)
    n = tl.arange(0, BLOCK_N)
    share = tl.minimum(N - split * rows, rows).to(tl.int32)
    x_tile = x + split * rows * n_in + n[None, :] * n_in + i[:, None]
    dy_tile = dy + split * rows * n_out + n[:, None] * n_out + o[None, :]
    cells = (K - DEGREE) * 1.0
    acc = tl.zeros((BLOCK_I, BLOCK_O), tl.float32)
    for n0 in range(0, share, BLOCK_N):
        at = tl.load(x_tile, (n[None, :] < share - n0) & (i[:, None] < n_in), 0.0)
        u = (at.to(tl.float32) - lo) * inv_h
        inside = tl.minimum(tl.maximum(u, 0.0), cells)
        b = _extended(u, inside, k, cells, DEGREE).to(dy.dtype.element_ty)
        d = tl.load(dy_tile, (n[:, None] < share - n0) & (o[None, :] < n_out), 0.0)
        acc = tl.dot(b, d, acc, input_precision=PRECISION)
        x_tile += BLOCK_N * n_in
        dy_tile += BLOCK_N * n_out
    dc += (split * K + k) * plane
    out = (acc * (1.0 / FACTORIAL)).to(dc.dtype.element_ty)
    tl.store(dc + i[:, None] * n_out + o[None, :], out, (i[:, None] < n_in) & (o[None, :] < n_out))


@_kernel
def _dx_kernel(
    x, c, dy, dx, N, n_in, n_out, K, plane, lo, inv_h,
    DEGREE: tl.constexpr, FACTORIAL: tl.constexpr, PRECISION: tl.constexpr,
    BLOCK_N: tl.constexpr, BLOCK_I: tl.constexpr, BLOCK_O: tl.constexpr,
):  # fmt: skip
    """A tile of dx = Σ_k B'_k(x) · (dy C_kᵀ) / h."""
    i_tiles = tl.cdiv(n_in, BLOCK_I)
    n0 = tl.program_id(0) // i_tiles * BLOCK_N
    i = tl.program_id(0) % i_tiles * BLOCK_I + tl.arange(0, BLOCK_I)
    n = tl.arange(0, BLOCK_N)
    x += n0.to(tl.int64) * n_in
    dx += n0.to(tl.int64) * n_in
    dy += n0.to(tl.int64) * n_out
    in_rows = n[:, None] < N - n0
    in_x = in_rows & (i[None, :] < n_in)
    cells = (K - DEGREE) * 1.0
    at = tl.load(x + n[:, None] * n_in + i[None, :], in_x, 0.0)
    u = (at.to(tl.float32) - lo) * inv_h
    inside = tl.minimum(tl.maximum(u, 0.0), cells)
    acc = tl.zeros((BLOCK_N, BLOCK_I), tl.float32)
    for k in range(K):
        p = tl.zeros((BLOCK_N, BLOCK_I), tl.float32)
        for o0 in range(0, n_out, BLOCK_O):
            o = o0 + tl.arange(0, BLOCK_O)
            d = tl.load(dy + n[:, None] * n_out + o[None, :], in_rows & (o[None, :] < n_out), 0.0)
            tile = c + i[None, :] * n_out + o[:, None]
            w = tl.load(tile, (i[None, :] < n_in) & (o[:, None] < n_out), 0.0)
            p = tl.dot(d, w, p, input_precision=PRECISION)
        acc += _slope(inside, k, cells, DEGREE) * p
        c += plane
    # min and max drop NaN; what is not a number has no slope either.
    out = tl.where(u == u, acc * (inv_h / FACTORIAL), u)
    tl.store(dx + n[:, None] * n_in + i[None, :], out.to(dx.dtype.element_ty), in_x)
