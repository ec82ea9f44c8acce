"""Outputs of a symbolic network and their derivatives with respect to all free constants."""

from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from edgewise.symbolic.layer import SymbolicLayer, spline_features, spline_numbers
from edgewise.symbolic.network import SymbolicKAN


class _Pass(NamedTuple):
    """What one forward pass leaves of a layer."""

    x: Tensor  # (N, I)
    t: Tensor  # (N, E), arguments
    f: Tensor  # (N, E), values of the functions
    s: Tensor  # (N, S), sums


class Coordinates:
    r"""The free constants of a network as one vector θ.

    Of each layer in turn: a and b of the edges where they matter (``Function.free``), c, the
    biases, and the numbers of the splines in the order (input, function, sum).

    Args:
        model: The network; it is read and written in place.

    """

    def __init__(self, model: SymbolicKAN) -> None:
        self.model = model
        self._free = [_free(layer) for layer in model.layers]

    @torch.no_grad()
    def read(self) -> Float[Tensor, " n"]:
        """θ, a copy."""
        parts = []
        for layer, (a, b, splines) in zip(self.model.layers, self._free, strict=True):
            parts += [layer.a[a], layer.b[b], layer.c, layer.bias]
            if splines is not None:
                parts.append(spline_numbers(layer.splines).transpose(0, 1).reshape(-1)[splines])
        return torch.cat(parts)

    @torch.no_grad()
    def write(self, theta: Float[Tensor, " n"]) -> None:
        """Puts θ into the network."""
        start = 0

        def take(count: int) -> Tensor:
            nonlocal start
            start += count
            return theta[start - count : start]

        for layer, (a, b, splines) in zip(self.model.layers, self._free, strict=True):
            layer.a[a], layer.b[b] = take(len(a)), take(len(b))
            layer.c.copy_(take(len(layer.c)))
            layer.bias.copy_(take(len(layer.bias)))
            if splines is not None:
                _write_splines(layer, splines, take(len(splines)))

    @torch.no_grad()
    def evaluate(self, x: Float[Tensor, "N I"]) -> Float[Tensor, "N O"]:
        """The outputs."""
        for layer in self.model.layers:
            x = _run(layer, x)[1]
        return x

    @torch.no_grad()
    def jacobian(
        self, x: Float[Tensor, "N I"]
    ) -> tuple[Float[Tensor, "N O"], Float[Tensor, "N O n"]]:
        """The outputs and their derivatives with respect to θ, forward once and backward once."""
        passes = []
        for layer in self.model.layers:
            found, x = _run(layer, x)
            passes.append(found)
        G = torch.eye(x.shape[-1], dtype=x.dtype, device=x.device).expand(len(x), -1, -1)
        blocks: list[Tensor] = []
        for k in reversed(range(len(passes))):
            layer, found = self.model.layers[k], passes[k]
            G = G[:, :, layer.nodes] * _others(layer, found.s).unsqueeze(1)
            slope = layer.values(found.t, slope=True)
            blocks.append(_columns(layer, found, slope, G, self._free[k]))
            if k:
                G = G @ _slopes(layer, found, slope)
        return x, torch.cat(blocks[::-1], dim=-1)


def _free(layer: SymbolicLayer) -> tuple[Tensor, Tensor, Tensor | None]:
    """Which a, b and numbers of splines are free."""
    device = layer.bias.device
    a, b = (
        torch.tensor(
            [k for k, e in enumerate(layer.edges) if letter in e.function.free],
            dtype=torch.long,
            device=device,
        )
        for letter in "ab"
    )
    if layer.splines is None:
        return a, b, None
    mask = layer.mask.T.unsqueeze(1).expand(-1, len(spline_numbers(layer.splines)), -1)
    return a, b, mask.reshape(-1).nonzero().squeeze(1)


def _write_splines(layer: SymbolicLayer, where: Tensor, values: Tensor) -> None:
    numbers = spline_numbers(layer.splines).transpose(0, 1).contiguous()
    numbers.view(-1)[where] = values
    numbers = numbers.transpose(0, 1)
    size = len(layer.splines.coefficients)
    layer.splines.coefficients.copy_(numbers[:size])
    if layer.splines.base_weight is not None:
        layer.splines.base_weight.copy_(numbers[size])


def _run(layer: SymbolicLayer, x: Tensor) -> tuple[_Pass, Tensor]:
    t = layer.arguments(x)
    f = layer.values(t)
    s = layer.bias.expand(len(x), -1)
    if layer.edges:
        s = s.index_add(-1, layer.outs, layer.c * f)
    if layer.splines is not None:
        numbers = spline_numbers(layer.splines) * layer.mask.T
        features = spline_features(layer.splines, x)
        s = s + features.transpose(1, 2).flatten(1) @ numbers.flatten(0, 1)
    return _Pass(x, t, f, s), layer.multiply(s)


def _others(layer: SymbolicLayer, s: Tensor) -> Tensor:
    """∂(node)/∂(sum): the product of the other sums of the node."""
    if len(layer.arities) == s.shape[-1]:
        return torch.ones_like(s)
    found = []
    for part in s.split(layer.arities, dim=-1):
        ones = torch.ones_like(part[:, :1])
        before = torch.cat([ones, part[:, :-1]], dim=-1).cumprod(-1)
        after = torch.cat([ones, part.flip(-1)[:, :-1]], dim=-1).cumprod(-1).flip(-1)
        found.append(before * after)
    return torch.cat(found, dim=-1)


def _columns(
    layer: SymbolicLayer, p: _Pass, slope: Tensor, G: Tensor, free: tuple
) -> Float[Tensor, "N O n"]:
    """The layer's columns of the Jacobian, in the order of the coordinates."""
    a, b, splines = free
    G_edge = G[:, :, layer.outs]
    by_b = G_edge * (layer.c * slope).unsqueeze(1)
    blocks = [
        by_b[:, :, a] * p.x[:, None, layer.ins[a]],
        by_b[:, :, b],
        G_edge * p.f.unsqueeze(1),
        G,
    ]
    if splines is not None:
        features = spline_features(layer.splines, p.x)
        outer = features[:, None, :, :, None] * G[:, :, None, None, :]
        outer = outer.flatten(2)
        blocks.append(outer if len(splines) == outer.shape[-1] else outer[:, :, splines])
    return torch.cat(blocks, dim=-1)


def _slopes(layer: SymbolicLayer, p: _Pass, slope: Tensor) -> Float[Tensor, "N S I"]:
    """∂(sum)/∂(input)."""
    I, S = layer.in_features, len(layer.functions)
    found = p.x.new_zeros(len(p.x), S * I)
    if layer.edges:
        found = found.index_add(-1, layer.outs * I + layer.ins, layer.a * layer.c * slope)
    found = found.unflatten(-1, (S, I))
    if layer.splines is not None:
        numbers = spline_numbers(layer.splines) * layer.mask.T
        features = spline_features(layer.splines, p.x, 1)
        found = found + torch.einsum("nif,fis->nsi", features, numbers)
    return found


class Sensitivity(NamedTuple):
    """How a layer acts on the network's outputs, sample by sample."""

    inputs: Float[Tensor, "N I"]
    to_sums: Float[Tensor, "N Q S"]
    """∂(network's output) / ∂(sum of this layer)."""
    to_inputs: Float[Tensor, "N Q I"]
    """∂(network's output) / ∂(input of this layer)."""


@torch.no_grad()
def sensitivities(model: SymbolicKAN, x: Float[Tensor, "N I"]) -> list[Sensitivity]:
    """Each layer's :class:`Sensitivity`, in closed form."""
    passes = []
    for layer in model.layers:
        found, x = _run(layer, x)
        passes.append(found)
    G = torch.eye(x.shape[-1], dtype=x.dtype, device=x.device).expand(len(x), -1, -1)
    result = []
    for layer, found in reversed(list(zip(model.layers, passes, strict=True))):
        to_sums = G[:, :, layer.nodes] * _others(layer, found.s).unsqueeze(1)
        G = to_sums @ _slopes(layer, found, layer.values(found.t, slope=True))
        result.append(Sensitivity(found.x, to_sums, G))
    return result[::-1]
