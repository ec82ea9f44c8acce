"""Few edges rather than many: the L1 norm and the entropy of edge norms."""

import math
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from edgewise.core import InputError
from edgewise.layers import MixtureOfExperts
from edgewise.layers.norms import KANLayer, edge_norms


def sparsity(
    model: nn.Module, x: Tensor | tuple, l1: float = 1.0, entropy: float = 1.0
) -> Float[Tensor, ""]:
    r"""How far the edges are from being few, given data (Liu et al. 2024, arXiv 2404.19756).

    .. math::
        \sum_l \left( λ_1 \sum_{oi} |φ|_{oi} + λ_S S_l \right), \qquad
        S_l = -\sum_{oi} p_{oi} \log p_{oi}, \quad p_{oi} = \frac{|φ|_{oi}}{\sum_{oi} |φ|_{oi}}

    over the KAN layers l (eq. 2.17 to 2.20 there). Here :math:`|φ|` is the root mean square of the
    edge over the batch (:func:`edgewise.layers.norms.edge_norms`), there its mean absolute
    value, which is never larger and equal where the edge is of constant size. The root mean square
    needs no (N, O, I) values and is smooth in the coefficients. The entropy is in nats; a layer
    whose edges are all zero adds 0 and no gradient.

    The model is called once on x, to learn what reaches each layer. In that call all modules are in
    evaluation mode, so that no dropout thins the edges and no running statistics move; afterwards
    each module's mode, and the routing of each mixture of experts, is as it was. Gradients reach
    the earlier layers through what they hand on. A layer that is called several times counts once,
    over all it was given; one that nothing reached (an expert nobody chose) adds nothing.

    Args:
        model: A model with KAN layers, or one such layer.
        x: Its input, or the tuple of its inputs.
        l1: The weight of the sum of norms, λ₁.
        entropy: The weight of the entropy, λ_S.

    Raises:
        InputError: If the model has no KAN layer or calls none, or a weight is not at least 0.

    Example:
        >>> layer, x = ew.layers.KANLinear(2, 1), torch.rand(50, 2)
        >>> with torch.no_grad():  # the second edge is off, the first is all there is
        ...     _ = layer.coefficients[:, 1].zero_(), layer.base_weight[1].zero_()
        >>> sparsity(layer, x, l1=0.0).item()
        0.0

    """
    for name, weight in (("l1", l1), ("entropy", entropy)):
        if not (0 <= weight < math.inf):
            raise InputError(f"{name} must be a finite number of at least 0, got {weight!r}")
    layers = [m for m in model.modules() if isinstance(m, KANLayer)]
    if not layers:
        raise InputError("sparsity needs a model with KAN layers, found none in it")
    with _as_found(model):
        inputs = _inputs(model, layers, x if isinstance(x, tuple) else (x,))
        norms = [edge_norms(layer, given) for layer, given in inputs.items()]
    terms = [l1 * n.sum() + entropy * _entropy(n) for n in norms]
    return sum(term.to(terms[0]) for term in terms)


def _entropy(norms: Tensor) -> Tensor:
    """-Σ p log p, with 0 log 0 = 0, value and gradient."""
    total = norms.sum()
    p = norms / total.masked_fill(total == 0, 1)
    return -(p * p.masked_fill(p == 0, 1).log()).sum()


def _inputs(
    model: nn.Module, layers: list[KANLayer], x: tuple[Any, ...]
) -> dict[KANLayer, list[Tensor]]:
    """What each layer is given in one call of the model, layers in the order of their names."""
    caught: dict[KANLayer, list[Tensor]] = {layer: [] for layer in layers}

    def catch(layer: nn.Module, args: tuple, kwargs: dict) -> None:
        given = args[0] if args else kwargs["x"]
        if given.numel():
            caught[layer].append(given)

    hooks = [layer.register_forward_pre_hook(catch, with_kwargs=True) for layer in layers]
    try:
        # A compiled module does not look for hooks that came after it.
        with torch.compiler.set_stance("force_eager"):
            model(*x)
    finally:
        for hook in hooks:
            hook.remove()
    found = {layer: given for layer, given in caught.items() if given}
    if not found:
        raise InputError(
            "the model has KAN layers, but gave none of them a sample when called on x"
        )
    return found


@contextmanager
def _as_found(model: nn.Module) -> Iterator[None]:
    """Inside, evaluation mode; afterwards modes and routings as they were, on errors too."""
    modes = {m: m.training for m in model.modules()}
    routings = {m: m.routing for m in modes if isinstance(m, MixtureOfExperts)}
    try:
        model.eval()
        yield
    finally:
        for module, training in modes.items():
            # Not train(): that would set the children too.
            module.training = training
        for mixture, routing in routings.items():
            mixture.routing = routing
