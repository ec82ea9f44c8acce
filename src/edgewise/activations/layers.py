"""Layers whose functions can be looked at: which there are, what reaches them, what each gives."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from typing import Any, ClassVar

import torch
from jaxtyping import Float
from torch import Tensor, nn

from edgewise.layers import KAF, GroupRational, KANLinear, edge_norms
from edgewise.layers.conv import AbstractKANConv

AT_ONCE = 1 << 22
"""Values of edges that are held at once: 16 MiB in float32."""
AT_MOST = 1 << 24
"""Values of edges that are made to find how much they vary, where no formula says it."""

Index = tuple[int, ...]


class AbstractFunctionLayer(ABC):
    """A layer, seen as functions of one number.

    Args:
        layer: The layer.

    """

    what: ClassVar[str]
    """What one function belongs to, as a figure calls it."""

    def __init__(self, layer: Any) -> None:
        self.layer = layer

    @abstractmethod
    def about(self) -> str:
        """Its kind and size in a few words."""

    @abstractmethod
    def rows(self, pieces: Sequence[Tensor]) -> Float[Tensor, "n I"]:
        """What was given to the layer in several calls, as its functions see it."""

    @abstractmethod
    def spreads(self, pieces: Sequence[Tensor]) -> Tensor:
        """The standard deviation of each function over the data; its shape indexes them."""

    @abstractmethod
    def columns(self, index: Index) -> slice:
        """The columns of :meth:`rows` that one function is given."""

    @abstractmethod
    def values(
        self, chosen: Sequence[Index], at: Float[Tensor, "k p"], rows: Float[Tensor, "n I"]
    ) -> Float[Tensor, "k p"]:
        """Each chosen function at its own numbers."""

    def label(self, index: Index) -> str:
        """One function, counted from 0."""
        return f"{self.what} {index[0]}"


class _Rowwise(AbstractFunctionLayer):
    """A layer that takes rows, each function a column of them or several."""

    def rows(self, pieces: Sequence[Tensor]) -> Tensor:
        return torch.cat([piece.reshape(-1, piece.shape[-1]) for piece in pieces])

    def values(self, chosen: Sequence[Index], at: Tensor, rows: Tensor) -> Tensor:
        # What the other columns hold is of no consequence; the median is a number they had.
        x = rows.median(0).values.repeat(at.shape[1], 1)
        for index, numbers in zip(chosen, at, strict=True):
            x[:, self.columns(index)] = numbers.to(x).unsqueeze(-1)
        return self.picked(chosen, x)

    @abstractmethod
    def picked(self, chosen: Sequence[Index], x: Tensor) -> Tensor:
        """The chosen functions at rows x, (k, p)."""


class Edges(_Rowwise):
    """A dense layer with ``curves(x)``, (…, out, in), such as `KANLinear`.

    Example:
        >>> layer, x = ew.layers.KANLinear(3, 2), torch.rand(50, 3)
        >>> Edges(layer).spreads([x]).shape, Edges(layer).label((1, 2))
        (torch.Size([2, 3]), '2 → 1')

    """

    what = "edge"

    def about(self) -> str:
        layer = self.layer
        return f"{type(layer).__name__}, {layer.in_features} → {layer.out_features}"

    def spreads(self, pieces: Sequence[Tensor]) -> Tensor:
        if isinstance(self.layer, KANLinear):
            return edge_norms(self.layer, self.rows(pieces), centred=True)
        rows = _thinned(self.rows(pieces), AT_MOST // self._edges())
        # Twice, rather than to hold the values or to lose digits.
        mean = self._summed(rows, lambda values: values) / len(rows)
        return (self._summed(rows, lambda values: (values - mean).square()) / len(rows)).sqrt()

    def columns(self, index: Index) -> slice:
        return slice(index[1], index[1] + 1)

    def picked(self, chosen: Sequence[Index], x: Tensor) -> Tensor:
        outs, ins = (list(ends) for ends in zip(*chosen, strict=True))
        parts = [self.layer.curves(part)[:, outs, ins] for part in x.split(self._step())]
        return torch.cat(parts).T

    def label(self, index: Index) -> str:
        return f"{index[1]} → {index[0]}"

    def _summed(self, rows: Tensor, of: Callable[[Tensor], Tensor]) -> Tensor:
        return sum(of(self.layer.curves(x).double()).sum(0) for x in rows.split(self._step()))

    def _edges(self) -> int:
        return self.layer.in_features * self.layer.out_features

    def _step(self) -> int:
        return max(1, AT_ONCE // self._edges())


class Taps(AbstractFunctionLayer):
    """A convolution whose taps are functions.

    Example:
        >>> layer = ew.layers.KANConv2d(3, 2, kernel_size=2)
        >>> Taps(layer).label((1, 2, 0, 1))
        '2 → 1 at 0, 1'

    """

    what = "tap"

    def about(self) -> str:
        layer = self.layer
        kernel = " × ".join(map(str, layer.geometry.kernel_size))
        return f"{type(layer).__name__}, {layer.in_channels} → {layer.out_channels}, {kernel}"

    def rows(self, pieces: Sequence[Tensor]) -> Tensor:
        """All pixels' channels, behind the normalisation."""
        norm = self.layer.norm
        seen = pieces if norm is None else [norm(piece) for piece in pieces]
        return torch.cat([x.movedim(1, -1).reshape(-1, x.shape[1]) for x in seen])

    def spreads(self, pieces: Sequence[Tensor]) -> Tensor:
        return edge_norms(self.layer, pieces, centred=True)

    def columns(self, index: Index) -> slice:
        own = self.layer.in_channels // self.layer.groups
        group = index[0] // (self.layer.out_channels // self.layer.groups)
        return slice(group * own + index[1], group * own + index[1] + 1)

    def values(self, chosen: Sequence[Index], at: Tensor, rows: Tensor) -> Tensor:
        step = max(1, AT_ONCE // self.layer.coefficients[0].numel())
        return torch.stack(
            [
                torch.cat([self.layer.curves(x)[(slice(None), *index)] for x in xs.split(step)])
                for index, xs in zip(chosen, at.to(rows), strict=True)
            ]
        )

    def label(self, index: Index) -> str:
        return f"{index[1]} → {index[0]} at {', '.join(map(str, index[2:]))}"


class Neurons(_Rowwise):
    """One function for each neuron: a `KAF`."""

    what = "neuron"

    def about(self) -> str:
        return f"{type(self.layer).__name__}, {self.layer.features} neurons"

    def spreads(self, pieces: Sequence[Tensor]) -> Tensor:
        return self.layer(self.rows(pieces)).double().std(0, correction=0)

    def columns(self, index: Index) -> slice:
        return slice(index[0], index[0] + 1)

    def picked(self, chosen: Sequence[Index], x: Tensor) -> Tensor:
        return self.layer(x)[:, [index[0] for index in chosen]].T


class Groups(_Rowwise):
    """One function for each group of channels: a `GroupRational`."""

    what = "group"

    def about(self) -> str:
        layer = self.layer
        return f"{type(layer).__name__}, {layer.features} channels in {layer.basis.groups} groups"

    def spreads(self, pieces: Sequence[Tensor]) -> Tensor:
        values = self.layer(self.rows(pieces)).double()
        return values.unflatten(-1, (self.layer.basis.groups, -1)).std((0, 2), correction=0)

    def columns(self, index: Index) -> slice:
        width = self.layer.features // self.layer.basis.groups
        return slice(index[0] * width, (index[0] + 1) * width)

    def picked(self, chosen: Sequence[Index], x: Tensor) -> Tensor:
        return self.layer(x)[:, [self.columns(index).start for index in chosen]].T


def function_layer(module: nn.Module) -> AbstractFunctionLayer | None:
    """The module, seen as functions of one number; None where it has none.

    One's own layer is seen, too, where it has ``in_features``, ``out_features`` and ``curves(x)``
    with a value for each edge, (…, out, in), as `KANLinear` and `KernelActivation` have.

    Example:
        >>> type(function_layer(ew.layers.KernelActivation(2, 3))).__name__
        'Edges'
        >>> function_layer(torch.nn.Linear(2, 3)) is None
        True

    """
    for kind, view in ((AbstractKANConv, Taps), (KAF, Neurons), (GroupRational, Groups)):
        if isinstance(module, kind):
            return view(module)
    sizes = [getattr(module, name, None) for name in ("in_features", "out_features")]
    if callable(getattr(module, "curves", None)) and all(isinstance(n, int) for n in sizes):
        return Edges(module)
    return None


def _thinned(rows: Tensor, at_most: int) -> Tensor:
    """So many rows, evenly from all; at least 50."""
    count = min(len(rows), max(50, at_most))
    return rows[torch.linspace(0, len(rows) - 1, count, device=rows.device).long()]
