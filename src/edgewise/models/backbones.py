"""What turns a sequence of vectors into a sequence of states: recurrent networks, transformers."""

from collections.abc import Callable
from functools import partial

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from edgewise.core import InputError, Registry, check_count, remembers
from edgewise.layers.recurrent import KANGRU, KANLSTM, KANRNN, AbstractKANRecurrent
from edgewise.layers.transformer import TransformerBlock
from edgewise.models.sequence import Recurrent
from edgewise.models.sizes import check_dropout

Backbone = Callable[[int, int, int, float], nn.Module]

BACKBONES: Registry[Backbone] = Registry("backbone")
"""Functions (width, hidden_dim, num_layers, dropout) to a module, by name.

The module takes x (B, L, width) and mask (B, L), and gives states (B, L, hidden_dim).
"""


class KANRecurrent(nn.Module):
    """A recurrent network of functions that gives its states only."""

    def __init__(self, rnn: AbstractKANRecurrent) -> None:
        super().__init__()
        self.rnn = rnn

    def forward(self, x: Float[Tensor, "B L d"], mask: Bool[Tensor, "B L"]) -> Tensor:
        return self.rnn(x, mask)[0]


@remembers
class Transformer(nn.Module):
    """Positions as sinusoids, blocks of attention and feed-forward networks, a LayerNorm.

    Args:
        width: The size of the input's vectors; they are projected to ``hidden_dim``.
        hidden_dim: The size of the states, d.
        num_layers: The number of blocks.
        feed_forward: What stands in each block's feed-forward place, see `TransformerBlock`.
        heads: The number of heads.
        hidden: The hidden units of the feed-forward networks; None is 4 d.
        causal: Whether a step sees only itself and what came before.
        dropout: See `TransformerBlock`.

    Shape:
        x ``(B, L, width)`` [, mask ``(B, L)``] to ``(B, L, hidden_dim)``.

    Example:
        >>> model, x = Transformer(3, 8, heads=2).eval(), torch.randn(2, 5, 3)
        >>> torch.allclose(model(x)[1:], model(x[1:]), atol=1e-6)
        True

    """

    def __init__(
        self,
        width: int,
        hidden_dim: int,
        num_layers: int = 1,
        feed_forward: str | nn.Module = "mlp",
        *,
        heads: int = 4,
        hidden: int | None = None,
        causal: bool = False,
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        for name, size in (("width", width), ("num_layers", num_layers)):
            check_count(name, size)
        self.inlet = nn.Linear(width, hidden_dim)
        self.dropout = nn.Dropout(dropout)
        self.blocks = nn.ModuleList(
            TransformerBlock(
                hidden_dim, heads, feed_forward, hidden, causal=causal, dropout=dropout
            )
            for _ in range(num_layers)
        )
        self.norm = nn.LayerNorm(hidden_dim)

    def forward(
        self, x: Float[Tensor, "B L d"], mask: Bool[Tensor, "B L"] | None = None
    ) -> Float[Tensor, "B L H"]:
        if mask is not None:
            x = x.masked_fill(~mask.unsqueeze(-1), 0.0)
        h = self.inlet(x)
        h = self.dropout(h + sinusoids(x.shape[1], h))
        for block in self.blocks:
            h = block(h, mask)
        return self.norm(h)


def sinusoids(steps: int, like: Tensor) -> Float[Tensor, "L d"]:
    """Sines and cosines of the positions (Vaswani et al. 2017, sec. 3.5), like ``like``.

    Example:
        >>> sinusoids(2, torch.zeros(4)).round(decimals=2)
        tensor([[0.0000, 1.0000, 0.0000, 1.0000],
                [0.8400, 0.5400, 0.0100, 1.0000]])

    """
    dim = like.shape[-1]
    u = torch.arange(steps, device=like.device, dtype=torch.float32).unsqueeze(-1)
    angle = u * 10_000.0 ** -(torch.arange(0, dim, 2, device=like.device) / dim)
    return torch.stack([angle.sin(), angle.cos()], dim=-1).flatten(-2)[:, :dim].to(like.dtype)


class Bag(nn.Module):
    """A linear map of each vector by itself: pooled, a bag of words."""

    def __init__(self, width: int, hidden_dim: int, dropout: float) -> None:
        super().__init__()
        self.linear = nn.Linear(width, hidden_dim)
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: Float[Tensor, "B L d"], mask: Bool[Tensor, "B L"]) -> Tensor:
        return self.linear(self.dropout(x))


def _own(
    kind: type[nn.RNNBase], width: int, hidden_dim: int, num_layers: int, dropout: float
) -> nn.Module:
    between = dropout if num_layers > 1 else 0.0
    options = {"hidden_size": hidden_dim, "num_layers": num_layers, "dropout": between}
    return Recurrent(kind, width, **options)


def _kan(
    kind: type[AbstractKANRecurrent], width: int, hidden_dim: int, num_layers: int, dropout: float
) -> nn.Module:
    return KANRecurrent(kind(width, hidden_dim, num_layers, dropout=dropout))


def _transformer(
    feed_forward: str, width: int, hidden_dim: int, num_layers: int, dropout: float
) -> nn.Module:
    return Transformer(width, hidden_dim, num_layers, feed_forward, dropout=dropout)


@BACKBONES.register("bag")
def _bag(width: int, hidden_dim: int, num_layers: int, dropout: float) -> nn.Module:
    if num_layers != 1:
        raise InputError(f"a bag has no layers to stack: num_layers must be 1, got {num_layers}")
    return Bag(width, hidden_dim, dropout)


for _name, _kind in (("rnn", nn.RNN), ("gru", nn.GRU), ("lstm", nn.LSTM)):
    BACKBONES.register(_name)(partial(_own, _kind))
for _name, _kind in (("kan-rnn", KANRNN), ("kan-gru", KANGRU), ("kan-lstm", KANLSTM)):
    BACKBONES.register(_name)(partial(_kan, _kind))
BACKBONES.register("transformer")(partial(_transformer, "mlp"))
for _name in ("kan", "kaf", "grkan"):
    BACKBONES.register(f"{_name}-transformer")(partial(_transformer, _name))


def make_backbone(
    name: str, width: int, hidden_dim: int, num_layers: int, dropout: float
) -> nn.Module:
    """The backbone called ``name``, or made by the ``module:function`` it points to.

    Raises:
        InputError: If there is none, a size makes no sense, or what is named makes no module.

    Example:
        >>> backbone, x = make_backbone("kan-gru", 3, 4, 1, 0.0), torch.randn(2, 5, 3)
        >>> backbone(x, torch.ones(2, 5, dtype=torch.bool)).shape
        torch.Size([2, 5, 4])

    """
    for what, size in (("width", width), ("hidden_dim", hidden_dim), ("num_layers", num_layers)):
        check_count(what, size)
    made = BACKBONES.resolve(name)(width, hidden_dim, num_layers, check_dropout(dropout))
    if not isinstance(made, nn.Module):
        raise InputError(f"the backbone {name!r} must make a module, it gave {type(made).__name__}")
    return made
