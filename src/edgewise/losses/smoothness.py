"""How rough the learned functions are."""

from collections.abc import Callable

import torch
from jaxtyping import Float
from torch import Tensor, nn

from edgewise.core import InputError, check_count
from edgewise.layers import KANLinear


def smoothness(
    model: nn.Module, sobolev_weight: float = 1.0, variation_weight: float = 0.0, points: int = 256
) -> Float[Tensor, ""]:
    """A weighted sum of :func:`sobolev` and :func:`total_variation`.

    Args:
        model: A model with KAN layers.
        sobolev_weight: The weight of the former.
        variation_weight: The weight of the latter.
        points: At how many points of the domain each function is looked at.

    Example:
        >>> layer = ew.layers.KANLinear(2, 3)
        >>> smoothness(layer, 0.5, 2.0).isclose(0.5 * sobolev(layer) + 2 * total_variation(layer))
        tensor(True)

    """
    total = torch.zeros(())
    if sobolev_weight:
        total = total + sobolev_weight * sobolev(model, points)
    if variation_weight:
        total = total + variation_weight * total_variation(model, points)
    return total


def sobolev(model: nn.Module, points: int = 256) -> Float[Tensor, ""]:
    r"""The mean over edges of :math:`\int_D φ'^2 + φ''^2`, the domain D scaled to length 1.

    Each edge counts on its own, so that one edge can't cancel another; several layers count alike,
    whatever their sizes.

    Raises:
        InputError: If the model has no KAN layers or ``points`` is not at least 1.

    Example:
        >>> layer = ew.layers.KANLinear(1, 1, ew.bases.BSpline(4, 1), base=None)
        >>> with torch.no_grad():  # φ(x) = x: 2 over the domain [-1, 1], of length 2
        ...     _ = layer.coefficients.copy_(torch.linspace(-1, 1, 5).view(5, 1, 1))
        >>> sobolev(layer).round(decimals=4)
        tensor(4., grad_fn=<RoundBackward1>)

    """
    return _mean_over_layers(
        model, points, lambda first, second: first.square().mean() + second.square().mean()
    )


def total_variation(model: nn.Module, points: int = 256) -> Float[Tensor, ""]:
    r"""The mean over edges of :math:`\int_D |φ'|`, the way a function travels over its domain.

    Raises:
        InputError: If the model has no KAN layers or ``points`` is not at least 1.

    Example:
        >>> layer = ew.layers.KANLinear(1, 1, ew.bases.BSpline(4, 1), base=None)
        >>> with torch.no_grad():  # φ(x) = x, from -1 to 1
        ...     _ = layer.coefficients.copy_(torch.linspace(-1, 1, 5).view(5, 1, 1))
        >>> total_variation(layer).round(decimals=4)
        tensor(2., grad_fn=<RoundBackward1>)

    """
    return _mean_over_layers(model, points, lambda first, second: first.abs().mean())


def _mean_over_layers(
    model: nn.Module, points: int, term: Callable[[Tensor, Tensor], Tensor]
) -> Tensor:
    check_count("points", points)
    layers = [m for m in model.modules() if isinstance(m, KANLinear)]
    if not layers:
        raise InputError("smoothness needs a model with KAN layers, found none in it")
    return torch.stack([term(*_derivatives(layer, points)) for layer in layers]).mean()


def _derivatives(layer: KANLinear, points: int) -> tuple[Tensor, Tensor]:
    """φ' and φ'' of all edges at midpoints of the domain, in units of the domain's length."""
    low, high = layer.basis.domain
    middle = (torch.arange(points, dtype=torch.float64) + 0.5) / points
    x = (low + (high - low) * middle).to(layer.coefficients.device)
    x = x.unsqueeze(-1).expand(-1, layer.in_features)
    length = high - low
    return layer.curves(x, order=1) * length, layer.curves(x, order=2) * length**2
