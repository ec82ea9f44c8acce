"""Sums over edges a f(w x + d) without the (batch, out, in) tensor that the formula names."""

from collections.abc import Callable, Iterator

import torch
from jaxtyping import Float
from torch import Tensor

from edgewise.kernels.partials import partials
from edgewise.layers.functions import FUNCTIONS
from edgewise.layers.recompute import must_be_plain, recomputed

CHUNK = 1 << 16
"""Edge values that are held at once: 256 KiB in float32, so that they stay in a core's cache."""


def plain_edge_sum(
    f: Callable[[Tensor], Tensor],
    x: Float[Tensor, "n I"],
    a: Float[Tensor, "O I"],
    w: Float[Tensor, "O I"],
    d: Float[Tensor, "O I"] | None = None,
) -> Float[Tensor, "n O"]:
    r"""The formula as it stands, :math:`y_{no} = \sum_i a_{oi}\, f(w_{oi} x_{ni} + d_{oi})`.

    Example:
        >>> x, a, w = torch.tensor([[1.0, 2.0]]), torch.tensor([[3.0, 1.0]]), torch.ones(1, 2)
        >>> plain_edge_sum(torch.square, x, a, w)
        tensor([[7.]])

    """
    z = x.unsqueeze(1) * w
    return (a * f(z if d is None else z + d)).sum(-1)


def edge_sum(
    function: str | None,
    f: Callable[[Tensor], Tensor],
    x: Float[Tensor, "n I"],
    a: Float[Tensor, "O I"],
    w: Float[Tensor, "O I"],
    d: Float[Tensor, "O I"] | None = None,
) -> Float[Tensor, "n O"]:
    r"""The same sums, a block of samples and outputs at a time; only the arguments are kept.

    With t = f(z), z = w x + d, and g the gradient of y, the backward pass makes t again and adds up

    .. math::
        D_{noi} = g_{no}\, a_{oi}\, f'(z_{noi}), \quad
        \bar a_{oi} = \sum_n g_{no}\, t_{noi}, \quad
        \bar w_{oi} = \sum_n D_{noi}\, x_{ni}, \quad
        \bar d_{oi} = \sum_n D_{noi}, \quad
        \bar x_{ni} = \sum_o D_{noi}\, w_{oi} .

    It is computed in float32 at least. A second derivative goes through the plain formula, as do
    ``torch.compile``, ``torch.export``, ``torch.func`` and forward-mode differentiation.

    Args:
        function: The name of f in :data:`edgewise.layers.functions.FUNCTIONS`, or None for one of
            which no derivative is known, and which may hold parameters of its own.
        f: The function.
        x: The input.
        a: The heights of the edges' functions.
        w: Their slopes.
        d: Their shifts; None is none.

    Example:
        >>> x, a, w = torch.randn(4, 3), torch.randn(2, 3), torch.randn(2, 3)
        >>> y = edge_sum("tanh", torch.tanh, x, a, w)
        >>> torch.allclose(y, plain_edge_sum(torch.tanh, x, a, w), atol=1e-6)
        True

    """
    given = (x, a, w) if d is None else (x, a, w, d)
    if must_be_plain(*given) or not len(x):
        return _wide_plain(f, *given).to(x.dtype)
    if function is not None:
        return _EdgeSum.apply(function, *given)
    blocks = []
    for samples, rows in _blocks(x, a):
        own = [x[samples], *(t[rows] for t in given[1:])]
        blocks.append(recomputed(lambda *own: _wide_plain(f, *own), *own))
    return _joined(blocks, x, a).to(x.dtype)


def _wide(tensor: Tensor) -> Tensor:
    """In float32 at least: sums over many edges lose too much in half precision."""
    return tensor.to(torch.promote_types(tensor.dtype, torch.float32))


def _wide_plain(f: Callable[[Tensor], Tensor], *given: Tensor) -> Tensor:
    return plain_edge_sum(f, *map(_wide, given))


def _steps(x: Tensor, a: Tensor) -> tuple[int, int]:
    """How many samples and how many outputs a block has."""
    inputs = max(1, x.shape[1])
    samples = min(max(1, CHUNK // inputs), max(1, len(x)))
    return samples, min(max(1, CHUNK // (samples * inputs)), len(a))


def _blocks(x: Tensor, a: Tensor) -> Iterator[tuple[slice, slice]]:
    """Samples and outputs of each block, outputs within samples."""
    samples, rows = _steps(x, a)
    for n in range(0, len(x), samples):
        for o in range(0, len(a), rows):
            yield slice(n, n + samples), slice(o, o + rows)


def _joined(blocks: list[Tensor], x: Tensor, a: Tensor) -> Tensor:
    """The blocks side by side, in the order of :func:`_blocks`."""
    across = -(-len(a) // _steps(x, a)[1])
    bands = [torch.cat(blocks[k : k + across], dim=1) for k in range(0, len(blocks), across)]
    return torch.cat(bands)


class _EdgeSum(torch.autograd.Function):
    """Block after block, forward and backward; autocast does not reach inside."""

    @staticmethod
    def forward(ctx, function: str, x: Tensor, a: Tensor, w: Tensor, d: Tensor | None = None):
        ctx.function, ctx.shifted = function, d is not None
        ctx.save_for_backward(x, a, w, *([d] if ctx.shifted else []))
        f = FUNCTIONS.resolve(function)
        y = x.new_empty(len(x), len(a))
        with torch.autocast(x.device.type, enabled=False):
            for samples, rows in _blocks(x, a):
                own = [x[samples], *(t[rows] for t in (a, w, d) if t is not None)]
                y[samples, rows] = _sums(f, *map(_wide, own))
        return y

    @staticmethod
    def backward(ctx, g: Tensor):
        if torch.is_grad_enabled():
            gradients = _differentiable(ctx.function, g, ctx.saved_tensors)
        else:
            with torch.autocast(g.device.type, enabled=False):
                gradients = _gradients(FUNCTIONS.resolve(ctx.function), g, *ctx.saved_tensors)
        return None, *gradients, *([] if ctx.shifted else [None])


def _sums(f, x: Tensor, a: Tensor, w: Tensor, d: Tensor | None = None) -> Tensor:
    """The sums of one block: a product of matrices for each output."""
    t = f(_arguments(x, w, d), 0)[0]
    return (t @ a.unsqueeze(-1)).squeeze(-1).T


def _arguments(x: Tensor, w: Tensor, d: Tensor | None) -> Tensor:
    """Z = w x + d as (o, n, i): outputs first, so that each one's values lie together."""
    z = x * w.unsqueeze(1)
    return z if d is None else z.add_(d.unsqueeze(1))


def _gradients(
    f, g: Tensor, x: Tensor, a: Tensor, w: Tensor, d: Tensor | None = None
) -> list[Tensor]:
    """Those of x, a, w and, where there is one, d."""
    found = [torch.zeros_like(_wide(t)) for t in (x, a, w, d) if t is not None]
    for samples, rows in _blocks(x, a):
        own = [x[samples], *(t[rows] for t in (a, w, d) if t is not None)]
        block = _block_gradients(f, _wide(g[samples, rows]), *map(_wide, own))
        for total, part, where in zip(found, block, [samples, *[rows] * 3], strict=False):
            total[where] += part
    return [total.to(t.dtype) for total, t in zip(found, (x, a, w, d), strict=False)]


def _block_gradients(
    f, g: Tensor, x: Tensor, a: Tensor, w: Tensor, d: Tensor | None = None
) -> list[Tensor]:
    t, slope = f(_arguments(x, w, d), 1)
    g = g.T.unsqueeze(1)  # (o, 1, n)
    ga = (g @ t).squeeze(1)
    # What belongs to an edge is put on after its samples are summed.
    gw = (g @ torch.mul(slope, x, out=t)).squeeze(1) * a
    gd = [] if d is None else [(g @ slope).squeeze(1) * a]
    gx = slope.mul_((a * w).unsqueeze(1)).mul_(g.mT).sum(0)
    return [gx, ga, gw, *gd]


def _differentiable(function: str, g: Tensor, given: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
    """The gradients with a graph of their own, from the plain formula."""
    formula = FUNCTIONS.resolve(function)

    def f(*own: Tensor) -> tuple[Tensor]:
        return (_wide_plain(lambda z: formula(z, 0)[0], *own).to(g.dtype),)

    return tuple(partials(f, given, [t.requires_grad for t in given], [g]))
