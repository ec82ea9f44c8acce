"""A stack of edge layers taken apart: its features at every layer, linear in what is trained."""

import copy
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.func import functional_call

from edgewise.core import InputError

if TYPE_CHECKING:
    from edgewise.curvature.functional import Functional


@dataclass(frozen=True)
class EdgeLayer:
    """One layer z' = W · A(z) + b, and where its numbers lie.

    Attributes:
        module: The layer; its ``curves(x, order)`` is the only door to what its edges do.
        name: Its name in the model.
        rows: Where each weight W (K', I, O) lies in the flat vector, -1 where it is frozen; the
            activation's weights are the last of K'.
        bias: Likewise for b (O,), or None.

    """

    module: nn.Module
    name: str
    rows: Tensor
    bias: Tensor | None

    def weights(self, state: dict[str, Tensor]) -> tuple[Tensor, Tensor | None]:
        """W (K', I, O) and b (O,) or None."""
        W = state[f"{self.name}.coefficients"]
        if self.module.base_weight is not None:
            W = torch.cat([W, state[f"{self.name}.base_weight"].unsqueeze(0)])
        return W, state.get(f"{self.name}.bias")

    def features(
        self, z: Float[Tensor, "N I"], state: dict[str, Tensor], order: int = 0
    ) -> Float[Tensor, "N K2 I"]:
        """A(z), (B_1, …, B_K, a) of each input, or its derivatives: the curves of unit weights."""
        size, width = len(self.rows), self.rows.shape[1]
        unit = torch.eye(size, dtype=z.dtype, device=z.device)
        unit = unit.unsqueeze(1).expand(size, width, size)
        own = {k: v for k, v in state.items() if k.startswith(f"{self.name}.")}
        own = {f"layer{k[len(self.name) :]}": v for k, v in own.items()}
        if self.module.base_weight is not None:
            own |= {"layer.coefficients": unit[:-1], "layer.base_weight": unit[-1]}
        else:
            own["layer.coefficients"] = unit
        if self.module.bias is not None:
            own["layer.bias"] = z.new_zeros(size)
        return functional_call(_Curves(self.module, size), own, (z, order))


class _Curves(nn.Module):
    """A layer with this many outputs, whose call is its curves."""

    def __init__(self, layer: nn.Module, outputs: int) -> None:
        super().__init__()
        self.layer = copy.copy(layer)  # shares all tensors
        self.layer.out_features = outputs

    def forward(self, z: Tensor, order: int) -> Tensor:
        return self.layer.curves(z, order)


class Edges:
    """A functional's model as a stack of edge layers.

    Raises:
        InputError: If the model is no plain stack of layers that are linear in all that is
            trained; the message says what stands in the way.

    """

    def __init__(self, functional: "Functional") -> None:
        reason = obstacle(functional)
        if reason:
            raise InputError(f"there is no closed form: {reason}; use Functional.hessian()")
        self.functional = functional
        self.layers = list(_layers(functional))

    def state(self, theta: Tensor) -> dict[str, Tensor]:
        """All parameters and buffers with θ in place, in θ's dtype."""
        model = self.functional.model
        tensors = dict([*model.named_parameters(), *model.named_buffers()])
        kept = {k: t.detach().to(theta) for k, t in tensors.items() if t.is_floating_point()}
        return kept | self.functional.flat.split(theta)

    def pieces(self, most: int) -> Iterator[tuple[Tensor, Tensor, float]]:
        """Inputs, targets and shares, ``most`` examples at a time."""
        for chunk in self.functional.chunks():
            n = len(chunk.target)
            for start in range(0, n, most):
                x, y = chunk.inputs[0][start : start + most], chunk.target[start : start + most]
                yield x.to(self.functional.dtype), y, chunk.share * len(y) / n


def obstacle(functional: "Functional") -> str | None:
    """Why the closed forms do not hold for this functional, or None where they do."""
    model = functional.model
    layers = getattr(model, "layers", None)
    if not isinstance(layers, nn.ModuleList) or not all(hasattr(m, "curves") for m in layers):
        return f"{type(model).__name__} is no stack of layers with curves"
    for name, layer in layers.named_children():
        if getattr(layer, "norm", None) is not None:
            return f"layer {name} normalises its inputs"
    known = {n for i in range(len(layers)) for n in _names(f"layers.{i}")}
    for name in functional.slices:
        if name not in known:
            return f"{name!r} is trained, and the layers are not linear in it"
    chunk = next(iter(functional.chunks()))
    if len(chunk.inputs) != 1 or chunk.inputs[0].ndim != 2:
        return "the data are no (examples, features) matrix"
    return None


def _names(layer: str) -> tuple[str, ...]:
    return f"{layer}.coefficients", f"{layer}.base_weight", f"{layer}.bias"


def _layers(functional: "Functional") -> Iterator[EdgeLayer]:
    places = torch.arange(functional.size)
    for i, layer in enumerate(functional.model.layers):
        coefficients, base, bias = (
            None if parameter is None else _places(functional, places, name, parameter)
            for name, parameter in zip(
                _names(f"layers.{i}"),
                (layer.coefficients, layer.base_weight, layer.bias),
                strict=True,
            )
        )
        rows = coefficients if base is None else torch.cat([coefficients, base.unsqueeze(0)])
        yield EdgeLayer(layer, f"layers.{i}", rows, bias)


def _places(functional: "Functional", places: Tensor, name: str, parameter: Tensor) -> Tensor:
    if name not in functional.slices:
        return torch.full(parameter.shape, -1)
    return places[functional.slices[name]].view(parameter.shape)
