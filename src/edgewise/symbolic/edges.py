"""One edge at a time: read it, fix it, let it go."""

import copy
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor, nn

from edgewise.bases import BSpline
from edgewise.core import InputError
from edgewise.layers import KANLinear
from edgewise.symbolic.curves import POINTS, CurveFits, fit_curves
from edgewise.symbolic.functions import ABSENT, choose_functions, find_function
from edgewise.symbolic.layer import SPLINE, SymbolicLayer, blank_splines, spline_features
from edgewise.symbolic.network import SymbolicKAN, as_symbolic

EdgeName = tuple[int, int, int]
"""An edge: its layer, its sum (output), its input, all from 0."""


class Reading(NamedTuple):
    """An edge as c f(a x + b) + d, and the share of its variance that this misses."""

    function: str
    a: float = 1.0
    b: float = 0.0
    c: float = 1.0
    d: float = 0.0
    unexplained: float = 0.0


class Curves(NamedTuple):
    """Some edges of a network on an even grid over the range that data give them."""

    edges: list[EdgeName]
    low: Float[Tensor, " E"]
    high: Float[Tensor, " E"]
    values: Float[Tensor, "E P"]


@torch.no_grad()
def edge_curves(
    model: SymbolicKAN, x: Float[Tensor, "N I"], kinds: Sequence[str] = (SPLINE,)
) -> Curves:
    """The edges of these kinds, ``"spline"`` or ``"formula"``, as curves."""
    names, lows, highs, values = [], [], [], []
    for k, layer in enumerate(model.layers):
        low, high = x.amin(0), x.amax(0)
        even = low + torch.outer(torch.linspace(0, 1, POINTS).to(x), high - low)
        curves = layer.curves(even) - layer.bias.unsqueeze(1) / layer.in_features
        for out, row in enumerate(layer.functions):
            for in_, name in enumerate(row):
                if name != ABSENT and (SPLINE if name == SPLINE else "formula") in kinds:
                    names.append((k, out, in_))
                    lows.append(low[in_])
                    highs.append(high[in_])
                    values.append(curves[:, out, in_])
        x = layer(x)
    if not names:
        empty = x.new_zeros(0)
        return Curves([], empty, empty, x.new_zeros(0, POINTS))
    return Curves(names, torch.stack(lows), torch.stack(highs), torch.stack(values))


def replace(model: SymbolicKAN, readings: Mapping[EdgeName, Reading]) -> SymbolicKAN:
    """A copy of the network with these edges read as formulas; d goes to the biases."""
    by_layer: dict[int, dict] = {}
    for (k, out, in_), reading in readings.items():
        by_layer.setdefault(k, {})[out, in_] = reading
    layers = [
        _replace_in(layer, by_layer[k]) if k in by_layer else copy.deepcopy(layer)
        for k, layer in enumerate(model.layers)
    ]
    return SymbolicKAN(layers)


@torch.no_grad()
def _replace_in(layer: SymbolicLayer, readings: Mapping[tuple, Reading]) -> SymbolicLayer:
    table = [list(row) for row in layer.functions]
    for (out, in_), reading in readings.items():
        table[out][in_] = reading.function
    still = any(name == SPLINE for row in table for name in row)
    splines = copy.deepcopy(layer.splines) if still else None
    found = SymbolicLayer(layer.in_features, table, layer.arities, splines).to(layer.bias)
    found.bias.copy_(layer.bias)
    known = {(e.out, e.in_): k for k, e in enumerate(layer.edges)}
    for k, edge in enumerate(found.edges):
        reading = readings.get((edge.out, edge.in_))
        for letter in "abc":
            old = getattr(layer, letter)
            value = getattr(reading, letter) if reading else old[known[edge.out, edge.in_]]
            getattr(found, letter)[k] = value
    for (out, _), reading in readings.items():
        found.bias[out] += reading.d
    return found


def read(fits: CurveFits, edge: int, function: int) -> Reading:
    """One entry of the fits."""
    a, b, c, d, left = (float(z[edge, function]) for z in fits[1:])
    return Reading(fits.functions[function].name, a, b, c, d, left)


def suggest(
    model: nn.Module,
    x: Float[Tensor, "N I"],
    edge: EdgeName,
    top: int = 5,
    functions: Sequence[str] | None = None,
) -> list[Reading]:
    """What one edge could be: the functions that follow its curve best, over the range of x.

    Args:
        model: A KAN or a symbolic one.
        x: Inputs of the network.
        edge: Layer, output, input.
        top: How many.
        functions: The names to compare with; by default those that rarely mislead.

    Returns:
        The best first. Those that miss less than one part in 10¹⁰ are as good as each other, and
        the simplest of them comes first.

    Raises:
        InputError: If there is no such edge, or a function is not known.

    Example:
        >>> model = SymbolicKAN([SymbolicLayer(1, [["exp"]])]).double()
        >>> x = torch.rand(50, 1, dtype=torch.float64)
        >>> [r.function for r in suggest(model, x, edge=(0, 0, 0), top=1)]
        ['exp']

    """
    model = as_symbolic(model)
    check_edge(model, edge)
    if not isinstance(top, int) or top < 1:
        raise InputError(f"top must be a whole number of at least 1, got {top!r}")
    chosen = choose_functions(functions)
    curves = edge_curves(model, check_inputs(model, x), (SPLINE, "formula"))
    k = curves.edges.index(tuple(edge)) if tuple(edge) in curves.edges else None
    if k is None:
        raise InputError(f"the edge {tuple(edge)} was pruned: it is 0 everywhere")
    one = slice(k, k + 1)
    fits = fit_curves(curves.low[one], curves.high[one], curves.values[one], chosen)
    readings = [read(fits, 0, j) for j in range(len(chosen))]
    ranks = {f.name: f.complexity for f in chosen}
    order = sorted(readings, key=lambda r: (max(r.unexplained, 1e-10), ranks[r.function]))
    return [r for r in order if r.unexplained < float("inf")][:top]


@torch.no_grad()
def fix(
    model: nn.Module,
    edge: EdgeName,
    function: str,
    x: Float[Tensor, "N I"] | None = None,
) -> SymbolicKAN:
    """A copy of the network with one edge read as a function.

    Args:
        model: A KAN or a symbolic one; it stays as it is.
        edge: Layer, output, input.
        function: A name from the library; ``"0"`` removes the edge and leaves its mean.
        x: Inputs of the network: the function follows the edge's curve over their range. Without
            them it follows the curve over the domain of its basis, or [-1, 1].

    Raises:
        InputError: If there is no such edge, the function is not known or can't follow the curve
            within its domain.

    Example:
        >>> model = fix(ew.models.KAN([2, 1]).double(), edge=(0, 0, 1), function="sin")
        >>> model.layers[0].functions
        [['spline', 'sin']]

    """
    name = find_function(function).name
    model = as_symbolic(model)
    k, out, in_ = check_edge(model, edge)
    curve = _curve(model, (k, out, in_), x)
    if name == ABSENT:
        return replace(model, {(k, out, in_): Reading(ABSENT, d=float(curve.values.mean()))})
    fits = fit_curves(*curve[1:], [find_function(name)])
    reading = read(fits, 0, 0)
    if not reading.unexplained < float("inf"):
        raise InputError(f"{name!r} can't follow the edge {(k, out, in_)} within its domain")
    return replace(model, {(k, out, in_): reading})


@torch.no_grad()
def unfix(
    model: nn.Module,
    edge: EdgeName,
    x: Float[Tensor, "N I"] | None = None,
    grid_size: int = 10,
) -> SymbolicKAN:
    """A copy of the network with one formula turned into a spline that follows it.

    Args:
        model: A symbolic network; it stays as it is.
        edge: Layer, output, input.
        x: Inputs of the network: the spline follows the formula over their range, without them
            over [-1, 1]. Where the layer has splines already, over the domain of these.
        grid_size: The cells of the spline where the layer has no splines yet.

    Raises:
        InputError: If there is no such edge or it is a spline.

    Example:
        >>> model = unfix(SymbolicKAN([SymbolicLayer(1, [["exp"]])]).double(), edge=(0, 0, 0))
        >>> x = torch.rand(9, 1, dtype=torch.float64)
        >>> bool((model(x) - x.exp()).abs().max() < 1e-4)
        True

    """
    model = as_symbolic(model)
    k, out, in_ = check_edge(model, edge)
    layer = model.layers[k]
    if layer.functions[out][in_] == SPLINE:
        raise InputError(f"the edge {(k, out, in_)} is a spline already")
    curve = _curve(model, (k, out, in_), x)
    table = [list(row) for row in layer.functions]
    table[out][in_] = SPLINE
    splines = copy.deepcopy(layer.splines)
    if splines is None:
        domain = (float(curve.low), float(curve.high))
        basis = BSpline(grid_size, domain=domain)
        splines = blank_splines(layer.in_features, len(table), basis).to(layer.bias)
    _follow(splines, out, in_, curve)
    found = SymbolicLayer(layer.in_features, table, layer.arities, splines).to(layer.bias)
    found.bias.copy_(layer.bias)
    for n, e in enumerate(found.edges):
        old = layer.edge_index(e.out, e.in_)
        for letter in "abc":
            getattr(found, letter)[n] = getattr(layer, letter)[old]
    layers = [found if n == k else copy.deepcopy(other) for n, other in enumerate(model.layers)]
    return SymbolicKAN(layers)


def _follow(splines: KANLinear, out: int, in_: int, curve: Curves) -> None:
    """Fits one edge's numbers to a curve, in least squares."""
    at = curve.low + (curve.high - curve.low) * torch.linspace(0, 1, POINTS).to(curve.low)
    x = at.unsqueeze(1).expand(-1, splines.in_features)
    features = spline_features(splines, x)[:, in_].double()
    solution = torch.linalg.lstsq(features, curve.values[0].double().unsqueeze(1)).solution[:, 0]
    size = len(splines.coefficients)
    splines.coefficients[:, in_, out] = solution[:size].to(splines.coefficients)
    if splines.base_weight is not None:
        splines.base_weight[in_, out] = solution[size]


@torch.no_grad()
def _curve(model: SymbolicKAN, edge: EdgeName, x: Tensor | None) -> Curves:
    """One edge's curve over the range of x, or over the domain of its layer's basis."""
    k, out, in_ = edge
    layer = model.layers[k]
    if x is not None:
        inputs = check_inputs(model, x)
        for before in model.layers[:k]:
            inputs = before(inputs)
        low, high = inputs[:, in_].amin(), inputs[:, in_].amax()
    else:
        low, high = layer.bias.new_tensor(
            layer.splines.basis.domain if layer.splines is not None else (-1.0, 1.0)
        )
    even = low + (high - low) * torch.linspace(0, 1, POINTS).to(layer.bias)
    values = layer.curves(even.unsqueeze(1).expand(-1, layer.in_features))[:, out, in_]
    values = values - layer.bias[out] / layer.in_features
    return Curves([edge], low.reshape(1), high.reshape(1), values.unsqueeze(0))


def check_edge(model: SymbolicKAN, edge: EdgeName) -> EdgeName:
    """The edge, or an :class:`InputError` if there is none of that name."""
    try:
        k, out, in_ = (int(n) for n in edge)
    except (TypeError, ValueError):
        raise InputError(f"an edge is (layer, output, input), got {edge!r}") from None
    if not 0 <= k < len(model.layers):
        raise InputError(
            f"there is no layer {k}; the network has layers 0 to {len(model.layers) - 1}"
        )
    layer = model.layers[k]
    if not (0 <= out < len(layer.functions) and 0 <= in_ < layer.in_features):
        raise InputError(
            f"there is no edge {(k, out, in_)}: layer {k} has {len(layer.functions)} sums and "
            f"{layer.in_features} inputs, counted from 0"
        )
    return k, out, in_


def check_inputs(model: SymbolicKAN, x: Tensor) -> Float[Tensor, "N I"]:
    """The inputs in the network's precision, or an :class:`InputError`."""
    inputs = model.layers[0].in_features
    if not isinstance(x, Tensor) or x.ndim != 2 or x.shape[1] != inputs or not len(x):
        shape = tuple(x.shape) if isinstance(x, Tensor) else type(x).__name__
        raise InputError(f"x must be a tensor of shape (N, {inputs}), got {shape}")
    if not torch.isfinite(x).all():
        raise InputError("x holds NaN or infinity; drop or fill those rows first")
    return x.to(model.layers[0].bias)
