"""One torch operator for B-spline layers, with a kernel for the CPU and one for CUDA.

As operators of torch they stand in compiled graphs as one node; what they keep for the way back is
x and the coefficients. Where nobody watches, a call goes straight to the CPU's kernel: torch's way
to an operator written in Python takes a tenth of a millisecond, as long as a small layer itself.
"""

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.utils._python_dispatch import is_in_torch_dispatch_mode

from edgewise.kernels import native, spline_triton
from edgewise.kernels.activation import ACTIVATIONS
from edgewise.kernels.partials import partials
from edgewise.kernels.spline import Spline, derivative


def spline_linear(
    x: Float[Tensor, "N I"],
    C: Float[Tensor, "K I O"],
    spline: Spline,
    W: Float[Tensor, "I O"] | None = None,
    base: str | None = None,
) -> Float[Tensor, "N O"]:
    """The layer by the kernel of x's device; its ``why_not`` must have been None."""
    call = SplineLinear.apply if unwatched(x, C, W) else _forward
    return call(x, C, W, base, spline.degree, spline.low, spline.per_unit, spline.knots)


def unwatched(*tensors: Tensor | None) -> bool:
    """Whether these are numbers on a CPU, and nothing but autograd follows what is done to them."""
    return not (
        torch.compiler.is_compiling()
        or is_in_torch_dispatch_mode()
        or torch.jit.is_tracing()
        # No public names tell of the transforms of torch.func, old and new.
        or torch._C._are_functorch_transforms_active()
        or any(t is not None and not _plain(t) for t in tensors)
    )


def _plain(t: Tensor) -> bool:
    return (
        type(t) in (Tensor, nn.Parameter)
        and t.is_cpu
        and not torch._C._functorch.is_legacy_batchedtensor(t)
    )


def _spline(C: Tensor, degree: int, low: float, per_unit: float, knots: Tensor | None) -> Spline:
    return Spline(degree, C.shape[0] - degree, low, per_unit, knots)


@torch.library.custom_op("edgewise::spline_linear", mutates_args=(), device_types="cpu")
def _forward(
    x: Tensor,
    C: Tensor,
    W: Tensor | None,
    base: str | None,
    degree: int,
    low: float,
    per_unit: float,
    knots: Tensor | None,
) -> Tensor:
    return native.forward(x, C, W, base, _spline(C, degree, low, per_unit, knots))


@_forward.register_kernel("cuda")
def _(x, C, W, base, degree, low, per_unit, knots):
    return spline_triton.spline_forward(x, C, low, per_unit, degree)


@torch.library.custom_op("edgewise::spline_linear_backward", mutates_args=(), device_types="cpu")
def _backward(
    x: Tensor,
    C: Tensor,
    W: Tensor | None,
    dy: Tensor,
    base: str | None,
    degree: int,
    low: float,
    per_unit: float,
    knots: Tensor | None,
    need_x: bool,
    need_weights: bool,
) -> tuple[Tensor, Tensor, Tensor]:
    spline = _spline(C, degree, low, per_unit, knots)
    return _filled(C, *native.backward(x, C, W, dy, base, spline, need_x, need_weights))


@_backward.register_kernel("cuda")
def _(x, C, W, dy, base, degree, low, per_unit, knots, need_x, need_weights):
    way_back = spline_triton.spline_backward
    return _filled(C, *way_back(x, C, dy, low, per_unit, degree, need_x, need_weights), None)


def _filled(C: Tensor, *found: Tensor | None) -> tuple[Tensor, ...]:
    # An operator returns tensors only: what nobody asked for is empty.
    return tuple(C.new_empty(0) if t is None else t for t in found)


@_forward.register_fake
def _(x, C, W, base, degree, low, per_unit, knots):
    return C.new_empty(x.shape[0], C.shape[2])


@_backward.register_fake
def _(x, C, W, dy, base, degree, low, per_unit, knots, need_x, need_weights):
    wanted = (need_x, need_weights, need_weights and W is not None)
    alike = zip((x, C, W), wanted, strict=True)
    return _filled(C, *(torch.empty_like(t) if want else None for t, want in alike))


def _keep(ctx, inputs, output):
    x, C, W, ctx.base, *ctx.grid, knots = inputs
    ctx.save_for_backward(x, C, W, knots)


def _way_back(ctx, dy):
    x, C, W, knots = ctx.saved_tensors
    needs = ctx.needs_input_grad[:3]
    # Those who differentiate again need operations that autograd knows, to any order.
    way = _differentiable if torch.is_grad_enabled() else _by_kernel
    return *way((x, C, W), needs, dy, ctx.base, ctx.grid, knots), *[None] * 5


def _by_kernel(inputs, needs, dy, base, grid, knots):
    need_x, *need_weights = needs
    if unwatched(*inputs, dy):
        spline = _spline(inputs[1], *grid, knots)
        found = native.backward(*inputs, dy, base, spline, need_x, any(need_weights))
    else:
        found = _backward(*inputs, dy, base, *grid, knots, need_x, any(need_weights))
    return [t if need else None for t, need in zip(found, needs, strict=True)]


def _differentiable(inputs, needs, dy, base, grid, knots):
    def f(x: Tensor, C: Tensor, W: Tensor | None) -> tuple[Tensor]:
        y = torch.einsum("nik,kio->no", derivative(_spline(C, *grid, knots), x), C)
        return (y if W is None else y + ACTIVATIONS[base](x, 0) @ W,)

    return partials(f, inputs, needs, [dy])


_forward.register_autograd(_way_back, setup_context=_keep)


class SplineLinear(torch.autograd.Function):
    """The operator on a CPU, without torch's dispatcher."""

    @staticmethod
    def forward(ctx, x, C, W, base, *grid):
        _keep(ctx, (x, C, W, base, *grid), None)
        return native.forward(x, C, W, base, _spline(C, *grid))

    backward = staticmethod(_way_back)


@_forward.register_vmap
def _(info, in_dims, x, C, W, *rest):
    """Samples are one larger batch; sets of coefficients are taken one by one."""
    many = [
        [t if dim is None else t.select(dim, b) for t, dim in zip((x, C, W), in_dims, strict=False)]
        for b in range(info.batch_size)
    ]
    if in_dims[1] is None and in_dims[2] is None:
        rows = torch.cat([each[0] for each in many])
        return _forward(rows, C, W, *rest).unflatten(0, (info.batch_size, -1)), 0
    return torch.stack([_forward(*each, *rest) for each in many]), 0
