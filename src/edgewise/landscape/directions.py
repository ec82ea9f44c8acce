"""Random directions that mean as much in every part of a model."""

import torch
from torch import Tensor, nn

from edgewise.core import InputError, did_you_mean
from edgewise.curvature import Functional
from edgewise.curvature.krylov import random_like
from edgewise.layers import KANLinear

NORMALIZE = ("filter", "function", "none")


def random_direction(
    functional: Functional, generator: torch.Generator, normalize: str = "filter"
) -> Tensor:
    """A random direction (n,) scaled part by part to the model's own size there.

    ``"filter"`` (Li et al. 2018, §4): a part is a row of a matrix, a filter of a convolution, or
    an edge of a KAN with all its weights; each gets the norm that the model has there, and
    parameters of one axis (biases) get none. ``"function"`` does for the edges of a KAN what does
    not depend on the grid: each edge's change has the root mean square over the data of the edge
    itself. ``"none"`` leaves a normal vector with the norm of θ.

    Raises:
        InputError: If the normalisation is unknown, or ``"function"`` finds no KAN layer.

    """
    if normalize not in NORMALIZE:
        raise InputError(
            f"unknown normalisation {normalize!r}: {did_you_mean(normalize, NORMALIZE)}"
        )
    theta = functional.point()
    d = random_like(theta, generator)
    if normalize == "none":
        return d * (theta.norm() / d.norm())
    own, parts = functional.flat.split(theta), functional.flat.split(d)
    layers = {
        name: layer
        for name, layer in functional.model.named_modules()
        if isinstance(layer, KANLinear)
    }
    if normalize == "function" and not layers:
        raise InputError("normalize='function' is for models with KAN layers; use 'filter'")
    sizes = _sizes(functional, layers) if normalize == "function" else {}
    for name in list(parts):
        module, _, kind = name.rpartition(".")
        if module in layers and kind in ("coefficients", "base_weight"):
            continue
        parts[name] = _like_filters(parts[name], own[name])
    for name, layer in layers.items():
        _scale_edges(functional, name, layer, parts, own, sizes.get(name))
    return torch.cat([parts[name].reshape(-1) for name in functional.slices])


def _like_filters(d: Tensor, w: Tensor) -> Tensor:
    if w.ndim < 2:
        return torch.zeros_like(d)
    norms = (w.flatten(1).norm(dim=1), d.flatten(1).norm(dim=1))
    return d * (norms[0] / norms[1]).view(-1, *[1] * (w.ndim - 1))


def _scale_edges(
    functional: Functional,
    name: str,
    layer: KANLinear,
    parts: dict[str, Tensor],
    own: dict[str, Tensor],
    z: Tensor | None,
) -> None:
    """Scales the directions of a layer's edges in place, by weights or by values at inputs z."""
    kinds = [k for k in ("coefficients", "base_weight") if f"{name}.{k}" in parts]
    if not kinds:
        return
    names = [f"{name}.{kind}" for kind in kinds]
    if z is None:
        size = lambda tensors: sum(_squares(tensors[n]) for n in names).sqrt()  # noqa: E731
    else:
        size = lambda tensors: _values(layer, name, tensors, z)  # noqa: E731
    scale = size(own) / size(parts).clamp(min=torch.finfo(functional.dtype).tiny)
    for n in names:
        parts[n] = parts[n] * scale


def _squares(weights: Tensor) -> Tensor:
    """Sums of squares of each edge, (I, O)."""
    return weights.square() if weights.ndim == 2 else weights.square().sum(0)


@torch.no_grad()
def _values(layer: KANLinear, name: str, tensors: dict[str, Tensor], z: Tensor) -> Tensor:
    """The root mean square of each edge's curve with these weights, (I, O)."""
    coefficients = tensors.get(f"{name}.coefficients", torch.zeros_like(layer.coefficients))
    state = {"layer.coefficients": coefficients.to(z)}
    if layer.base_weight is not None:
        base = tensors.get(f"{name}.base_weight", torch.zeros_like(layer.base_weight))
        state["layer.base_weight"] = base.to(z)
    if layer.bias is not None:
        state["layer.bias"] = torch.zeros_like(layer.bias).to(z)
    curves = torch.func.functional_call(_Curves(layer), state, (z,))
    return curves.square().mean(0).sqrt().T.to(coefficients)


class _Curves(nn.Module):
    """A layer whose call is its curves."""

    def __init__(self, layer: KANLinear) -> None:
        super().__init__()
        self.layer = layer

    def forward(self, z: Tensor) -> Tensor:
        return self.layer.curves(z)


@torch.no_grad()
def _sizes(functional: Functional, layers: dict[str, KANLinear]) -> dict[str, Tensor]:
    """What each layer gets on the data, (N, I)."""
    seen: dict[str, list[Tensor]] = {name: [] for name in layers}
    hooks = [
        layer.register_forward_pre_hook(
            lambda _, args, name=name: seen[name].append(args[0].reshape(-1, args[0].shape[-1]))
        )
        for name, layer in layers.items()
    ]
    try:
        theta = functional.point()
        for chunk in functional.chunks():
            functional.predict(theta, chunk)
    finally:
        for hook in hooks:
            hook.remove()
    return {name: torch.cat(parts) for name, parts in seen.items()}
