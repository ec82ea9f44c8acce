"""The multilayer perceptron that a KAN is compared with."""

from collections.abc import Callable, Sequence

from jaxtyping import Float
from torch import Tensor, nn

from edgewise.core import InputError, did_you_mean, remembers
from edgewise.models.sizes import check_dropout, check_widths

ACTIVATIONS: dict[str, Callable[[], nn.Module]] = {
    "silu": nn.SiLU,
    "relu": nn.ReLU,
    "gelu": nn.GELU,
    "tanh": nn.Tanh,
}
"""Name to the module of an activation."""

NORMALISATIONS: dict[str, Callable[[int], nn.Module]] = {
    "layer": nn.LayerNorm,
    "batch": nn.BatchNorm1d,
}
"""Name to the module that normalises hidden sums."""


@remembers
class MLP(nn.Module):
    r"""Linear maps with one activation a between them.

    .. math::
        x^{l+1} = W_l\, a(x^l) + b_l, \qquad x^1 = W_0 x^0 + b_0

    Args:
        widths: Inputs, hidden units of each layer, outputs: at least two numbers.
        activation: ``"silu"``, ``"relu"``, ``"gelu"`` or ``"tanh"``.
        dropout: The probability of dropping a hidden unit.
        normalize: What is done to the hidden sums before the activation: ``"layer"`` (LayerNorm),
            ``"batch"`` (BatchNorm), or None for nothing. ``"batch"`` takes x of shape (n, I).

    Shape:
        ``(..., widths[0])`` to ``(..., widths[-1])``.

    Raises:
        InputError: If a width, the dropout or a name makes no sense, or x has other features.

    Example:
        >>> linear = MLP([3, 2])
        >>> x = torch.rand(4, 3)
        >>> torch.equal(linear(x), linear.layers[0](x))
        True

    """

    def __init__(
        self,
        widths: Sequence[int],
        activation: str = "silu",
        *,
        dropout: float = 0.0,
        normalize: str | None = None,
    ) -> None:
        super().__init__()
        self.widths = check_widths(widths)
        if activation not in ACTIVATIONS:
            raise InputError(
                f"unknown activation {activation!r}: {did_you_mean(activation, ACTIVATIONS)}"
            )
        if normalize is not None and normalize not in NORMALISATIONS:
            raise InputError(
                f"unknown normalize {normalize!r}: {did_you_mean(normalize, NORMALISATIONS)}"
            )
        check_dropout(dropout)
        norm = NORMALISATIONS[normalize] if normalize else nn.Identity
        pairs = zip(self.widths[:-1], self.widths[1:], strict=True)
        self.layers = nn.ModuleList(nn.Linear(i, o) for i, o in pairs)
        self.between = nn.ModuleList(
            nn.Sequential(norm(width), ACTIVATIONS[activation](), nn.Dropout(dropout))
            for width in self.widths[1:-1]
        )

    def forward(self, x: Float[Tensor, "*batch I"]) -> Float[Tensor, "*batch O"]:
        """The last layer's sums."""
        if x.ndim == 0 or x.shape[-1] != self.widths[0]:
            raise InputError(
                f"MLP takes {self.widths[0]} features on the last axis, "
                f"got x of shape {tuple(x.shape)}"
            )
        first, *rest = self.layers
        x = first(x)
        for between, layer in zip(self.between, rest, strict=True):
            x = layer(between(x))
        return x
