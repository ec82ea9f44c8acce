"""Stacks in which linear layers and layers of functions stand one on the other."""

import copy
from collections.abc import Callable, Sequence

from jaxtyping import Float
from torch import Tensor, nn

from edgewise.core import InputError, Registry, did_you_mean, remembers
from edgewise.layers.kaf import KAF
from edgewise.layers.kernel_activation import KernelActivation
from edgewise.layers.linear import KANLinear
from edgewise.models.mlp import ACTIVATIONS, NORMALISATIONS
from edgewise.models.sizes import check_dropout, check_widths

KINDS: Registry[Callable[[int, int], nn.Module]] = Registry("kind of layer")
"""Functions (in, out) to a layer, by name."""


@KINDS.register("linear")
def _linear(inputs: int, outputs: int) -> nn.Module:
    return nn.Linear(inputs, outputs)


@KINDS.register("kan")
def _kan(inputs: int, outputs: int) -> nn.Module:
    return KANLinear(inputs, outputs, bias=True)


@KINDS.register("kernel")
def _kernel(inputs: int, outputs: int) -> nn.Module:
    return KernelActivation(inputs, outputs)


@KINDS.register("kaf")
def _kaf(inputs: int, outputs: int) -> nn.Module:
    """A linear layer, and behind it a learned function for each neuron."""
    return nn.Sequential(nn.Linear(inputs, outputs), KAF(outputs))


@remembers
class Hybrid(nn.Module):
    r"""A stack of layers of several kinds.

    .. math::
        x^{l+1} = \text{dropout}(a_l(\text{norm}(Φ_l(x^l))))

    The activation a stands between two linear layers only: where a layer of functions comes
    before or behind, it bends its inputs or outputs itself. Nothing follows the last layer.

    Args:
        widths: Inputs, hidden units of each layer, outputs: at least two numbers.
        kinds: What each layer Φ is: ``"linear"``, ``"kan"`` (`KANLinear`), ``"kernel"``
            (`KernelActivation`), ``"kaf"`` (linear, then `KAF`), ``"module:name"`` of a class or
            function (in, out) to a layer, or a layer, which is copied.
        activation: a: ``"silu"``, ``"relu"``, ``"gelu"`` or ``"tanh"``.
        normalize: What is done to what a hidden layer gives: ``"layer"`` (LayerNorm), ``"batch"``
            (BatchNorm, for x of shape (n, I)), or None for nothing.
        dropout: The probability of dropping a hidden unit.

    Attributes:
        layers: The layers.

    Shape:
        ``(..., widths[0])`` to ``(..., widths[-1])``.

    Raises:
        InputError: If there is not one kind for each layer, a given layer has other widths, or
            another argument or x makes no sense.

    Example:
        >>> model = Hybrid([4, 8, 3], ["linear", "kan"])
        >>> x = torch.rand(5, 4)
        >>> first, second = model.layers
        >>> torch.equal(model(x), second(first(x)))
        True

    """

    def __init__(
        self,
        widths: Sequence[int],
        kinds: Sequence[str | nn.Module],
        activation: str = "silu",
        *,
        normalize: str | None = None,
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        self.widths = check_widths(widths)
        self.kinds = _check_kinds(kinds, len(self.widths) - 1)
        if activation not in ACTIVATIONS:
            raise InputError(
                f"unknown activation {activation!r}: {did_you_mean(activation, ACTIVATIONS)}"
            )
        if normalize is not None and normalize not in NORMALISATIONS:
            raise InputError(
                f"unknown normalize {normalize!r}: {did_you_mean(normalize, NORMALISATIONS)}"
            )
        check_dropout(dropout)
        pairs = zip(self.widths[:-1], self.widths[1:], strict=True)
        self.layers = nn.ModuleList(
            _layer(place, kind, *pair)
            for place, (kind, pair) in enumerate(zip(self.kinds, pairs, strict=True))
        )
        norm = NORMALISATIONS[normalize] if normalize else nn.Identity
        self.between = nn.ModuleList(
            nn.Sequential(
                norm(self.widths[place + 1]),
                ACTIVATIONS[activation]() if self._both_linear(place) else nn.Identity(),
                nn.Dropout(dropout),
            )
            for place in range(len(self.layers) - 1)
        )

    def forward(self, x: Float[Tensor, "*batch I"]) -> Float[Tensor, "*batch O"]:
        """What the last layer gives."""
        if x.ndim == 0 or x.shape[-1] != self.widths[0]:
            raise InputError(
                f"Hybrid takes {self.widths[0]} features on the last axis, "
                f"got x of shape {tuple(x.shape)}"
            )
        first, *rest = self.layers
        x = first(x)
        for between, layer in zip(self.between, rest, strict=True):
            x = layer(between(x))
        return x

    def _both_linear(self, place: int) -> bool:
        return all(isinstance(layer, nn.Linear) for layer in self.layers[place : place + 2])


def _check_kinds(kinds: Sequence[str | nn.Module], layers: int) -> list[str | nn.Module]:
    if isinstance(kinds, str) or not isinstance(kinds, Sequence):
        raise InputError(
            f"kinds must be a list with one for each layer, such as ['linear', 'kan'], "
            f"got {kinds!r}"
        )
    if len(kinds) != layers:
        raise InputError(
            f"kinds is a list of {len(kinds)}, but the widths make {layers} layers: give one for "
            f"each"
        )
    return list(kinds)


def _layer(place: int, kind: str | nn.Module, inputs: int, outputs: int) -> nn.Module:
    if isinstance(kind, nn.Module):
        _check_fit(place, kind, inputs, outputs)
        return copy.deepcopy(kind)
    made = KINDS.resolve(kind)(inputs, outputs)
    if not isinstance(made, nn.Module):
        raise InputError(
            f"the kind of layer {kind!r} must make a module, it gave {type(made).__name__}"
        )
    _check_fit(place, made, inputs, outputs)
    return made


def _check_fit(place: int, layer: nn.Module, inputs: int, outputs: int) -> None:
    """A layer that says how wide it is must say what the widths say."""
    wanted = {"in_features": inputs, "out_features": outputs}
    for name, width in wanted.items():
        own = getattr(layer, name, width)
        if own != width:
            raise InputError(
                f"the widths don't fit: layer {place} is a {type(layer).__name__} with "
                f"{name}={own}, but the widths want {width} there"
            )
