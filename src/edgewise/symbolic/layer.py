"""A layer of which some edges are formulas, some splines, and some nodes products."""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor, nn

from edgewise.bases import AbstractBasis
from edgewise.core import InputError, check_count, remembers, seeded
from edgewise.layers import KANLinear
from edgewise.layers.linear import BASE_ACTIVATIONS
from edgewise.symbolic.functions import ABSENT, Function, find_function

SPLINE = "spline"
"""In a table of functions: an edge that is not read as a formula yet."""


class Edge(NamedTuple):
    """One symbolic edge c f(a x + b)."""

    out: int
    in_: int
    function: Function


@remembers
class SymbolicLayer(nn.Module):
    r"""Sums and products of functions of one number, each a formula or a spline.

    .. math::
        s_j = β_j + \sum_i φ_{ji}(x_i), \qquad φ(x) = c\,f(a x + b), \qquad
        y_o = \prod_{j \in \text{node } o} s_j

    Args:
        in_features: The number of inputs, I.
        functions: For each of the S sums the names of its I functions: one of
            :data:`~edgewise.symbolic.functions.FUNCTIONS`, ``"0"`` for no edge, or ``"spline"``.
        arities: How many neighbouring sums are multiplied into each output; by default 1 each.
        splines: The layer that holds the functions called ``"spline"``.

    Shape:
        ``(..., I)`` to ``(..., O)``, with O = ``len(arities)``.

    Attributes:
        a, b, c: One number for each symbolic edge, in the order of ``edges``.
        bias: β, one for each sum.
        edges: The symbolic edges.

    Raises:
        InputError: If the table has no I columns, a function is not known, the arities do not add
            up to S, or there are splines where none are called for, or none where they are.

    Example:
        >>> layer = SymbolicLayer(2, [["x", "0"], ["0", "x"]], arities=[2])
        >>> layer(torch.tensor([3.0, 5.0])).item()
        15.0

    """

    def __init__(
        self,
        in_features: int,
        functions: Sequence[Sequence[str]],
        arities: Sequence[int] | None = None,
        splines: KANLinear | None = None,
    ) -> None:
        super().__init__()
        self.in_features = check_count("in_features", in_features)
        self.functions = _checked_table(in_features, functions)
        self.arities = _checked_arities(len(self.functions), arities)
        self.splines = _checked_splines(self.in_features, self.functions, splines)
        self.edges = _edges(self.functions)
        count, sums = len(self.edges), len(self.functions)
        self.a, self.b = nn.Parameter(torch.ones(count)), nn.Parameter(torch.zeros(count))
        self.c, self.bias = nn.Parameter(torch.ones(count)), nn.Parameter(torch.zeros(sums))
        nodes = [o for o, arity in enumerate(self.arities) for _ in range(arity)]
        mask = [[name == SPLINE for name in row] for row in self.functions]
        for name, values in (
            ("outs", [e.out for e in self.edges]),
            ("ins", [e.in_ for e in self.edges]),
            ("nodes", nodes),
        ):
            self.register_buffer(name, torch.tensor(values, dtype=torch.long), persistent=False)
        self.register_buffer("mask", torch.tensor(mask), persistent=False)

    @property
    def out_features(self) -> int:
        """The number of outputs, O."""
        return len(self.arities)

    @property
    def groups(self) -> list[tuple[Function, slice]]:
        """The functions and where their edges stand in ``edges``."""
        found, start = [], 0
        for stop in range(1, len(self.edges) + 1):
            here = self.edges[start].function
            if stop == len(self.edges) or self.edges[stop].function is not here:
                found.append((here, slice(start, stop)))
                start = stop
        return found

    def forward(self, x: Float[Tensor, "*batch I"]) -> Float[Tensor, "*batch O"]:
        """The products of the sums."""
        return self.multiply(self.sums(x))

    def sums(self, x: Float[Tensor, "*batch I"]) -> Float[Tensor, "*batch S"]:
        """The sums s, before products are taken."""
        self._check(x)
        x = x.to(self.bias.dtype)
        y = self.bias.expand(*x.shape[:-1], -1)
        if self.edges:
            values = self.c * self.values(self.arguments(x))
            y = y.index_add(-1, self.outs, values)
        if self.splines is not None:
            y = y + (self.splines.curves(x) * self.mask).sum(-1)
        return y

    def multiply(self, s: Float[Tensor, "*batch S"]) -> Float[Tensor, "*batch O"]:
        """The outputs from the sums."""
        if len(self.arities) == s.shape[-1]:
            return s
        parts = s.split(self.arities, dim=-1)
        return torch.stack([part.prod(-1) for part in parts], dim=-1)

    def arguments(self, x: Float[Tensor, "*batch I"]) -> Float[Tensor, "*batch E"]:
        """What the symbolic edges' functions are of: a x + b."""
        return self.a * x[..., self.ins] + self.b

    def values(
        self, t: Float[Tensor, "*batch E"], slope: bool = False
    ) -> Float[Tensor, "*batch E"]:
        """The functions f, or their slopes f', at the arguments t."""
        parts = [
            (function.slope if slope else function)(t[..., where])
            for function, where in self.groups
        ]
        return torch.cat(parts, dim=-1) if parts else t

    def curves(self, x: Float[Tensor, "*batch I"], order: int = 0) -> Float[Tensor, "*batch S I"]:
        """Each edge's value φ_ji(x_i), or its derivative of order 1.

        The biases are spread evenly over the inputs, so that the values add up to the sums s.

        Raises:
            InputError: For another order.

        """
        self._check(x)
        if order not in (0, 1):
            raise InputError(f"symbolic edges have derivatives up to order 1, got order={order!r}")
        x = x.to(self.bias.dtype)
        t = self.arguments(x)
        values = self.c * (self.a * self.values(t, slope=True) if order else self.values(t))
        shape = (*x.shape[:-1], len(self.functions) * self.in_features)
        where = self.outs * self.in_features + self.ins
        y = x.new_zeros(shape).index_add(-1, where, values).unflatten(-1, (-1, self.in_features))
        if self.splines is not None:
            y = y + self.splines.curves(x, order) * self.mask
        return y if order else y + self.bias.unsqueeze(-1) / self.in_features

    def edge_index(self, out: int, in_: int) -> int:
        """Where an edge stands in ``edges``."""
        return next(k for k, e in enumerate(self.edges) if (e.out, e.in_) == (out, in_))

    def _check(self, x: Tensor) -> None:
        if x.ndim == 0 or x.shape[-1] != self.in_features:
            raise InputError(
                f"SymbolicLayer takes {self.in_features} features on the last axis, "
                f"got x of shape {tuple(x.shape)}"
            )

    def extra_repr(self) -> str:
        return f"{self.in_features}, {self.functions}, arities={self.arities}"


def blank_splines(
    inputs: int, sums: int, basis: AbstractBasis, base: str | None = None
) -> KANLinear:
    """A layer of splines that are zero; torch's random state stays as it is."""
    with seeded(0, "blank"):
        layer = KANLinear(inputs, sums, basis, base=base)
    with torch.no_grad():
        for parameter in (layer.coefficients, layer.base_weight):
            if parameter is not None:
                parameter.zero_()
    return layer


def spline_features(
    layer: KANLinear, x: Float[Tensor, "N I"], order: int = 0
) -> Float[Tensor, "N I F"]:
    """The features (B₁ … B_K, a) that the splines of a layer are sums of."""
    f = layer.basis.derivative(x, order)
    if layer.base is None:
        return f
    return torch.cat([f, BASE_ACTIVATIONS[layer.base](x, order).unsqueeze(-1)], dim=-1)


def spline_numbers(layer: KANLinear) -> Float[Tensor, "F I S"]:
    """What multiplies them."""
    if layer.base_weight is None:
        return layer.coefficients
    return torch.cat([layer.coefficients, layer.base_weight.unsqueeze(0)])


def _checked_table(in_features: int, functions: Sequence[Sequence[str]]) -> list[list[str]]:
    table = [list(row) for row in functions]
    if not table or any(len(row) != in_features for row in table):
        raise InputError(
            f"functions must be a table with {in_features} names in each row, one for each input, "
            f"got rows of {[len(row) for row in table]}"
        )
    return [[name if name == SPLINE else find_function(name).name for name in row] for row in table]


def _checked_arities(sums: int, arities: Sequence[int] | None) -> list[int]:
    arities = [1] * sums if arities is None else list(arities)
    if any(not isinstance(n, int) or n < 1 for n in arities) or sum(arities) != sums:
        raise InputError(
            f"arities must be whole numbers of at least 1 that add up to the {sums} sums, "
            f"got {arities}"
        )
    return arities


def _checked_splines(
    inputs: int, functions: list[list[str]], splines: KANLinear | None
) -> KANLinear | None:
    wanted = any(name == SPLINE for row in functions for name in row)
    if wanted != (splines is not None):
        raise InputError(
            "edges called 'spline' need the layer that holds them"
            if wanted
            else "there are splines, but no edge is called 'spline'"
        )
    if splines is None:
        return None
    if not isinstance(splines, KANLinear) or splines.bias is not None:
        raise InputError("splines must be a KANLinear without bias; the sums have their own")
    if (splines.in_features, splines.out_features) != (inputs, len(functions)):
        raise InputError(
            f"splines must have {inputs} inputs and {len(functions)} outputs, got "
            f"{splines.in_features} and {splines.out_features}"
        )
    if getattr(splines, "norm", None) is not None:
        raise InputError("splines must not normalise their inputs; make them with normalize=None")
    return splines


def _edges(functions: list[list[str]]) -> list[Edge]:
    """The symbolic edges, those of one function next to each other."""
    edges = [
        Edge(out, in_, find_function(name))
        for out, row in enumerate(functions)
        for in_, name in enumerate(row)
        if name not in (SPLINE, ABSENT)
    ]
    order = {e.function.name: k for k, e in reversed(list(enumerate(edges)))}
    return sorted(edges, key=lambda e: order[e.function.name])
