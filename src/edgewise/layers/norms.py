"""How large each edge's function is on data, without the values of each edge on each sample."""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.checkpoint import checkpoint

from edgewise.core import InputError
from edgewise.layers.activation import BASE_ACTIVATIONS
from edgewise.layers.conv import AbstractKANConv
from edgewise.layers.linear import KANLinear

KANLayer = KANLinear | AbstractKANConv
"""The layers whose edges have norms."""

CHUNK = 1 << 19
"""Feature values that are held at once, 4 MiB in float64: about what a core's caches hold."""


def edge_norms(
    layer: KANLayer, x: Tensor | Sequence[Tensor], centred: bool = False
) -> Float[Tensor, "O I *kernel"]:
    r"""The L2 norm of each edge's function over a batch, :math:`\sqrt{E[φ_{oi}(x_i)^2]}`.

    It is exact, equal to ``layer.curves(x)`` without bias, squared, averaged and rooted, but the
    (N, O, I) values are never made. With the features f = (a(x), B₁(x), …, B_K(x)) of input i and
    the numbers c = (w, c₁, …, c_K) of an edge, φ = c · f, so that

    .. math::
        E[φ^2] = c^\top G_i\, c = c^\top C_i\, c + (c \cdot m_i)^2, \qquad
        G_i = E[f f^\top], \quad m_i = E[f], \quad C_i = E[(f - m_i)(f - m_i)^\top]

    It is computed by the second form, in float64 (float32 on Apple's GPU, which has no other): both
    terms are sums of squares, so that a small spread beside a large mean survives. The samples are
    taken in chunks that are computed again in the backward pass, so that memory grows neither with
    N nor with N · O; under ``torch.func`` transforms the features of all samples are kept.

    The gradient is that of the formula, for coefficients, base weight, basis and x; at an edge that
    is exactly zero, where the square root has none, it is 0. The bias belongs to no edge.

    The taps of a convolution share the samples of their channel: all its pixels, each counted once,
    although a tap does not reach some at the border and reaches the padding's zeros instead.

    A layer that normalises its input does so here; a batch norm in training mode by the batch
    itself, and its running statistics stay as they are.

    Args:
        layer: A `KANLinear`, or a `KANConv1d`, `KANConv2d` or `KANConv3d`.
        x: Its input, or its inputs in several calls, which then count as one batch: (..., I), all
            leading axes batch, or ``(N, C, *S)``.
        centred: Whether the mean over the batch is taken off each edge first: the result is then
            the standard deviation (of the batch, divided by N), and 0 for a constant edge.

    Returns:
        The norms, (O, I) or ``(O, C/groups, *kernel)``, in the dtype of the coefficients,
        but at least float32.

    Raises:
        InputError: If ``layer`` is no KAN layer, an x does not fit it, or there is no sample.

    Example:
        >>> layer, x = KANLinear(3, 2), torch.randn(100, 3)
        >>> naive = layer.curves(x).square().mean(0).sqrt()
        >>> torch.allclose(edge_norms(layer, x), naive, rtol=1e-5)
        True

    """
    mean, variance = edge_moments(layer, x)
    return _root(variance if centred else variance + mean.square()).to(_output_dtype(layer))


def edge_moments(
    layer: KANLayer, x: Tensor | Sequence[Tensor]
) -> tuple[Float[Tensor, "O I *kernel"], Float[Tensor, "O I *kernel"]]:
    """The mean of each edge's function over a batch, and its variance (divided by N).

    Both in float64 where the device has it. See :func:`edge_norms` for how, and for the arguments.

    Example:
        >>> layer, x = KANLinear(3, 2).double(), torch.randn(100, 3).double()
        >>> mean, variance = edge_moments(layer, x)
        >>> torch.allclose(mean.sum(-1), layer(x).mean(0))
        True

    """
    pieces = [x] if isinstance(x, Tensor) else list(x)
    _check(layer, pieces)
    m, C = _feature_moments(layer, pieces)
    c = _edge_numbers(layer).to(m)
    mean = (m.unsqueeze(1) @ c).squeeze(1)
    # The clamp takes off what rounding put below zero.
    variance = (c * (C @ c)).sum(1).clamp(min=0)
    return _by_edge(layer, mean), _by_edge(layer, variance)


class _Moments(NamedTuple):
    """Of n samples: the mean (I, F) and the sum of (f - mean)(f - mean)ᵀ (I, F, F)."""

    n: int
    mean: Tensor
    scatter: Tensor

    def merged(self, other: "_Moments") -> "_Moments":
        """Those of both sets of samples (Chan, Golub & LeVeque 1983, eq. 2.1)."""
        n = self.n + other.n
        step = other.mean - self.mean
        between = step.unsqueeze(-1) * step.unsqueeze(-2) * (self.n * other.n / n)
        scatter = self.scatter + other.scatter + between
        return _Moments(n, self.mean + step * (other.n / n), scatter)


def _feature_moments(layer: KANLayer, pieces: list[Tensor]) -> tuple[Tensor, Tensor]:
    """Each input's mean features m (I, F) and their covariances C (I, F, F), over all samples."""
    total = None
    for rows in _chunks(layer, pieces):
        moments = _Moments(len(rows), *_chunk_moments(layer, rows))
        total = moments if total is None else total.merged(moments)
    return total.mean, total.scatter / total.n


def _chunks(layer: KANLayer, pieces: list[Tensor]) -> Iterator[Tensor]:
    """The samples as (n, I), as many at once as CHUNK allows."""
    features = layer.basis.size + 1
    for piece in pieces:
        rows = _rows(layer, piece)
        # With fewer samples than features the matrices would be larger than what they are made of.
        at_once = max(features, CHUNK // (features * rows.shape[1]))
        if len(rows):
            yield from rows.split(at_once)


def _chunk_moments(layer: KANLayer, rows: Tensor) -> tuple[Tensor, Tensor]:
    """The mean and scatter of one chunk; the features are made again in the backward pass."""
    learned = any(p.requires_grad for p in layer.basis.parameters())
    # torch.func takes no saved-tensor hooks, and a compiler chooses for itself what to recompute.
    plain = torch._C._are_functorch_transforms_active() or torch.compiler.is_compiling()
    if plain or not (torch.is_grad_enabled() and (rows.requires_grad or learned)):
        return _spread(layer, rows)
    return checkpoint(_spread, layer, rows, use_reentrant=False, preserve_rng_state=False)


def _spread(layer: KANLayer, rows: Tensor) -> tuple[Tensor, Tensor]:
    f = _features(layer, rows)
    mean = f.mean(-1)
    f = f - mean.unsqueeze(-1)
    return mean, f @ f.mT


# What follows is all that is known here of how the layers are made.


def _rows(layer: KANLayer, x: Tensor) -> Tensor:
    """The samples of each input, (n, I), as its functions see them."""
    if isinstance(layer, KANLinear):
        # All leading axes are batch, for a batch norm too.
        return _normalised(layer.norm, x.reshape(-1, x.shape[-1]))
    return _normalised(layer.norm, x).movedim(1, -1).flatten(0, -2)


def _normalised(norm: nn.Module | None, x: Tensor) -> Tensor:
    if norm is None:
        return x
    if isinstance(norm, nn.modules.batchnorm._BatchNorm) and norm.training:
        # Called itself, it would move its running statistics.
        return F.batch_norm(x, None, None, norm.weight, norm.bias, training=True, eps=norm.eps)
    return norm(x)


def _features(layer: KANLayer, rows: Tensor) -> Tensor:
    """The features (a, B₁, …, B_K) of each input, or those without a: (I, F, n)."""
    dtype = layer.coefficients.dtype  # in which the layer computes
    f = layer.basis(rows).to(dtype).permute(1, 2, 0)
    if layer.base is not None:
        a = BASE_ACTIVATIONS[layer.base](rows.to(dtype), 0)
        f = torch.cat([a.T.unsqueeze(1), f], dim=1)
    return f.to(torch.float32 if f.device.type == "mps" else torch.float64)


def _edge_numbers(layer: KANLayer) -> Tensor:
    """The numbers (w, c₁, …, c_K) of each edge, or those without w: (I, F, edges of the input)."""
    c = layer.coefficients
    if layer.base_weight is not None:
        c = torch.cat([layer.base_weight.unsqueeze(0), c])
    if isinstance(layer, KANLinear):
        return c.transpose(0, 1)
    # (F, O, C/g, *kernel) → (F, g, O/g, C/g, taps) → (g, C/g, F, O/g, taps)
    c = c.flatten(3).unflatten(1, (layer.groups, -1)).permute(1, 3, 0, 2, 4)
    return c.flatten(3).flatten(0, 1)


def _by_edge(layer: KANLayer, values: Tensor) -> Tensor:
    """From (I, edges of the input) to the layer's own order, (O, I) or (O, C/groups, *kernel)."""
    if isinstance(layer, KANLinear):
        return values.T
    shape = layer.coefficients.shape[1:]
    values = values.unflatten(0, (layer.groups, -1))
    values = values.unflatten(2, (shape[0] // layer.groups, -1)).transpose(1, 2)
    return values.reshape(shape)


def _root(square: Tensor) -> Tensor:
    """The square root, with gradient 0 at 0; NaN stays NaN."""
    zero = square == 0
    return square.masked_fill(zero, 1).sqrt().masked_fill(zero, 0)


def _output_dtype(layer: KANLayer) -> torch.dtype:
    return torch.promote_types(layer.coefficients.dtype, torch.float32)


def _check(layer: KANLayer, pieces: list[Tensor]) -> None:
    if not isinstance(layer, KANLayer):
        raise InputError(f"edge norms are of a KAN layer, got {type(layer).__name__}")
    for x in pieces:
        if not _fits(layer, x):
            dense = isinstance(layer, KANLinear)
            wanted = f"(..., {layer.in_features})" if dense else f"(N, {layer.in_channels}, *S)"
            raise InputError(f"the layer takes x of shape {wanted}, got {tuple(x.shape)}")
    if not any(x.numel() for x in pieces):
        shapes = ", ".join(str(tuple(x.shape)) for x in pieces) or "none at all"
        raise InputError(f"edge norms are means over samples, got x without one: {shapes}")


def _fits(layer: KANLayer, x: Tensor) -> bool:
    if isinstance(layer, KANLinear):
        return x.ndim > 0 and x.shape[-1] == layer.in_features
    return x.ndim == layer.dims + 2 and x.shape[1] == layer.in_channels
