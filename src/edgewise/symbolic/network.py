"""Symbolic layers on top of each other, and any KAN read as such a stack."""

import copy
import itertools
from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor, nn

from edgewise.core import InputError, recipe_of, remembers
from edgewise.layers import KANLinear
from edgewise.models import KAN
from edgewise.symbolic.layer import SPLINE, SymbolicLayer, blank_splines


@remembers
class SymbolicKAN(nn.Module):
    """A network whose edges are formulas, splines, or some of each.

    Args:
        layers: The layers, each with as many inputs as the one before has outputs.

    Attributes:
        layers: The layers.
        widths: Inputs, outputs of each layer.

    Shape:
        ``(..., widths[0])`` to ``(..., widths[-1])``.

    Raises:
        InputError: If there is no layer or two do not fit.

    Example:
        >>> model = SymbolicKAN([SymbolicLayer(2, [["sin", "x^2"]]), SymbolicLayer(1, [["exp"]])])
        >>> x = torch.rand(5, 2)
        >>> torch.allclose(model(x)[:, 0], torch.exp(torch.sin(x[:, 0]) + x[:, 1] ** 2))
        True

    """

    def __init__(self, layers: Sequence[SymbolicLayer]) -> None:
        super().__init__()
        layers = list(layers)
        if not layers or not all(isinstance(layer, SymbolicLayer) for layer in layers):
            raise InputError("a SymbolicKAN is made of at least one SymbolicLayer")
        for before, after in itertools.pairwise(layers):
            if before.out_features != after.in_features:
                raise InputError(
                    f"a layer with {before.out_features} outputs can't be followed by one with "
                    f"{after.in_features} inputs"
                )
        self.layers = nn.ModuleList(layers)

    @property
    def widths(self) -> list[int]:
        """Inputs, then the outputs of each layer."""
        return [self.layers[0].in_features, *(layer.out_features for layer in self.layers)]

    def forward(self, x: Float[Tensor, "*batch I"]) -> Float[Tensor, "*batch O"]:
        """The last layer's outputs."""
        for layer in self.layers:
            x = layer(x)
        return x

    def curves(self, x: Float[Tensor, "*batch I"]) -> list[Float[Tensor, "*batch S I2"]]:
        """Each layer's edge values where ``x`` takes them."""
        found = []
        for layer in self.layers:
            found.append(layer.curves(x))
            x = layer.multiply(found[-1].sum(-1))
        return found


def as_symbolic(model: nn.Module) -> SymbolicKAN:
    """A copy of a network of KAN layers as a :class:`SymbolicKAN`; it computes the same.

    Args:
        model: A ``KAN``, a ``KANLinear``, a ``torch.nn.Sequential`` of them, or a ``SymbolicKAN``.

    Raises:
        InputError: If it is made of anything else, or normalises between layers.

    Example:
        >>> model, x = ew.models.KAN([2, 3, 1]), torch.rand(5, 2)
        >>> torch.allclose(as_symbolic(model)(x), model(x), atol=1e-6)
        True

    """
    if isinstance(model, SymbolicKAN):
        return copy.deepcopy(model)
    if isinstance(model, KAN):
        layers = list(model.layers)
    elif isinstance(model, nn.Sequential):
        layers = list(model)
    else:
        layers = [model]
    for layer in layers:
        if not isinstance(layer, (KANLinear, SymbolicLayer)):
            raise InputError(
                f"formulas are read from KAN, KANLinear, SymbolicKAN or a Sequential of these "
                f"layers, got {type(layer).__name__}"
            )
    return SymbolicKAN([_as_symbolic_layer(layer) for layer in layers])


def _as_symbolic_layer(layer: KANLinear | SymbolicLayer) -> SymbolicLayer:
    if isinstance(layer, SymbolicLayer):
        return copy.deepcopy(layer)
    if getattr(layer, "norm", None) is not None:
        raise InputError(
            "a layer that normalises its inputs has no formula of its own; "
            "train with normalize=None"
        )
    splines = without_bias(layer)
    table = [[SPLINE] * layer.in_features for _ in range(layer.out_features)]
    found = SymbolicLayer(layer.in_features, table, splines=splines).to(layer.coefficients)
    if layer.bias is not None:
        found.bias.data.copy_(layer.bias.data)
    return found


def without_bias(layer: KANLinear) -> KANLinear:
    """A copy of the layer without its bias."""
    basis = copy.deepcopy(layer.basis)
    found = blank_splines(layer.in_features, layer.out_features, basis, layer.base)
    found.to(layer.coefficients)
    with torch.no_grad():
        found.coefficients.copy_(layer.coefficients)
        if layer.base_weight is not None:
            found.base_weight.copy_(layer.base_weight)
    recipe_of(found)  # or it could not be saved later
    return found
