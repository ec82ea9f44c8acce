"""The block of a transformer, whose feed-forward place takes any layer."""

import math

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn
from torch.nn import functional as F

from edgewise.core import InputError, check_count, remembers
from edgewise.layers.feed_forward import make_feed_forward


@remembers
class SelfAttention(nn.Module):
    r"""Attention of a sequence to itself (Vaswani et al. 2017, arXiv 1706.03762, sec. 3.2).

    .. math::
        y = W_o\, \text{concat}_h\; \text{softmax}\!\left(\frac{Q_h K_h^\top}{\sqrt{d/H}}\right) V_h

    Args:
        dim: The size of the vectors, d.
        heads: The number of heads, H, which divides d.
        causal: Whether a step sees only itself and what came before.
        dropout: The probability of dropping a weight of the softmax.

    Shape:
        x ``(B, L, d)`` [, mask ``(B, L)``, true where a step is real] to ``(B, L, d)``.

    Raises:
        InputError: If an argument or an input makes no sense.

    Example:
        >>> layer, x = SelfAttention(4, heads=2, causal=True), torch.randn(1, 5, 4)
        >>> torch.allclose(layer(x)[:, :3], layer(x[:, :3]), atol=1e-6)
        True

    """

    def __init__(
        self, dim: int, heads: int = 4, causal: bool = False, dropout: float = 0.0
    ) -> None:
        super().__init__()
        if check_count("dim", dim) % check_count("heads", heads):
            raise InputError(f"dim is {dim}: it must be a multiple of heads={heads}")
        self.dim, self.heads, self.causal = dim, heads, causal
        self.dropout = _check_dropout(dropout)
        self.qkv = nn.Linear(dim, 3 * dim)
        self.out = nn.Linear(dim, dim)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Weights of unit gain, biases of zero; draws from torch's default generator."""
        for linear in (self.qkv, self.out):
            nn.init.normal_(linear.weight, std=1 / math.sqrt(self.dim))
            nn.init.zeros_(linear.bias)

    def forward(
        self, x: Float[Tensor, "B L d"], mask: Bool[Tensor, "B L"] | None = None
    ) -> Float[Tensor, "B L d"]:
        """What each step makes of the real steps; at padding the result means nothing."""
        _check(type(self).__name__, x, mask, self.dim)
        q, k, v = (t.unflatten(-1, (self.heads, -1)).transpose(1, 2) for t in self._split(x))
        y = F.scaled_dot_product_attention(
            q,
            k,
            v,
            attn_mask=_visible(x, mask, self.causal),
            dropout_p=self.dropout if self.training else 0.0,
        )
        return self.out(y.transpose(1, 2).flatten(-2))

    def _split(self, x: Tensor) -> tuple[Tensor, ...]:
        return self.qkv(x).chunk(3, dim=-1)

    def extra_repr(self) -> str:
        return f"{self.dim}, heads={self.heads}, causal={self.causal}"


@remembers
class TransformerBlock(nn.Module):
    r"""Attention, then a feed-forward network, each beside a residual and behind a LayerNorm.

    .. math::
        x' = x + \text{attention}(\text{norm}_1(x)), \qquad
        y = x' + Φ(\text{norm}_2(x'))

    Args:
        dim: The size of the vectors, d.
        heads: The number of heads, which divides d.
        feed_forward: Φ: ``"mlp"``, ``"kan"``, ``"kernel"``, ``"kaf"``, ``"grkan"``,
            ``"module:function"`` with a function (dim, hidden, dropout) to a module, or a module
            from (..., d) to (..., d), which is copied.
        hidden: The hidden units of Φ, where it is given by name; None is 4 d.
        causal: Whether a step sees only itself and what came before.
        dropout: The probability of dropping an attention weight, a hidden unit of a named Φ, or
            an entry of what is added to x.

    Attributes:
        attention: The `SelfAttention`.
        feed_forward: Φ.

    Shape:
        x ``(B, L, d)`` [, mask ``(B, L)``, true where a step is real] to ``(B, L, d)``. What stands
        at padding reaches no real step.

    Raises:
        InputError: If an argument or an input makes no sense, or Φ gives another shape.

    Example:
        >>> block, x = TransformerBlock(8, 2, "kan", hidden=4), torch.randn(1, 5, 8)
        >>> mask = torch.tensor([[True, True, True, False, False]])
        >>> torch.allclose(block(x, mask)[:, :3], block(x[:, :3]), atol=1e-6)
        True

    """

    def __init__(
        self,
        dim: int,
        heads: int = 4,
        feed_forward: str | nn.Module = "mlp",
        hidden: int | None = None,
        *,
        causal: bool = False,
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        self.attention = SelfAttention(dim, heads, causal, dropout)
        hidden = 4 * dim if hidden is None else check_count("hidden", hidden)
        self.feed_forward = make_feed_forward(feed_forward, dim, hidden, dropout)
        self.norms = nn.ModuleList(nn.LayerNorm(dim) for _ in range(2))
        self.dropout = nn.Dropout(dropout)

    def forward(
        self, x: Float[Tensor, "B L d"], mask: Bool[Tensor, "B L"] | None = None
    ) -> Float[Tensor, "B L d"]:
        """The sequence after the block."""
        _check(type(self).__name__, x, mask, self.attention.dim)
        if mask is not None:
            # A weight of zero does not hide a NaN.
            x = x.masked_fill(~mask.unsqueeze(-1), 0.0)
        first, second = self.norms
        x = x + self.dropout(self.attention(first(x), mask))
        added = self.feed_forward(second(x))
        if added.shape != x.shape:
            raise InputError(
                f"the feed-forward must keep the shape {tuple(x.shape)}, it gave "
                f"{tuple(added.shape)}"
            )
        return x + self.dropout(added)


def _visible(x: Tensor, mask: Tensor | None, causal: bool) -> Tensor | None:
    """Which step sees which, (B or 1, 1, L, L); each sees itself, so that no softmax is empty."""
    if mask is None and not causal:
        return None
    steps = torch.arange(x.shape[1], device=x.device)
    rows, columns = steps.unsqueeze(-1), steps
    seen = torch.ones_like(rows == columns)
    seen = seen if not causal else rows >= columns
    if mask is None:
        return seen[None, None]
    return ((seen & mask.unsqueeze(1)) | (rows == columns)).unsqueeze(1)


def _check(name: str, x: Tensor, mask: Tensor | None, dim: int) -> None:
    if x.ndim != 3 or x.shape[-1] != dim:
        raise InputError(f"{name} takes x of shape (batch, steps, {dim}), got {tuple(x.shape)}")
    if mask is not None and (mask.shape != x.shape[:2] or mask.dtype != torch.bool):
        raise InputError(
            f"mask must be {tuple(x.shape[:2])} truth values, got {mask.dtype} of shape "
            f"{tuple(mask.shape)}"
        )


def _check_dropout(dropout: float) -> float:
    number = isinstance(dropout, (int, float)) and not isinstance(dropout, bool)
    if not number or not 0 <= dropout < 1:
        raise InputError(f"dropout must lie in [0, 1), got {dropout!r}")
    return dropout
