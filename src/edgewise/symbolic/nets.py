"""Small spline networks of a given shape, trained to a target by Levenberg–Marquardt."""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from edgewise.bases import BSpline
from edgewise.layers import KANLinear
from edgewise.symbolic.functions import ABSENT
from edgewise.symbolic.layer import SPLINE, SymbolicLayer, blank_splines
from edgewise.symbolic.network import SymbolicKAN
from edgewise.symbolic.polish import polish

Factor = tuple[int, ...]
"""The inputs that a sum takes."""
Node = tuple[Factor, ...]
"""The sums that are multiplied."""

HIDDEN = 2.0
"""Hidden values are kept within ±HIDDEN, the domain of the splines that take them."""


class Shape(NamedTuple):
    """The nodes of each layer; the last layer's edges may be plain sums.

    Example:
        >>> Shape.sum_of((0, 1)).layers
        ((((0, 1),),), (((0,),),))

    """

    layers: tuple[tuple[Node, ...], ...]
    plain_end: bool = False

    @staticmethod
    def sum_of(inputs: Sequence[int]) -> "Shape":
        """g(Σ fᵢ(xᵢ))."""
        return Shape(((((tuple(inputs)),),), (((0,),),)))

    @staticmethod
    def product_of(inputs: Sequence[int], plain: bool = False) -> "Shape":
        """g(Π fᵢ(xᵢ)), or the product itself."""
        return Shape(((tuple((i,) for i in inputs),), (((0,),),)), plain)

    @staticmethod
    def nodes(*nodes: Node, plain: bool = True) -> "Shape":
        """A sum of nodes, or of functions of them."""
        last = ((tuple(range(len(nodes))),),)
        return Shape((tuple(nodes), last), plain)


def build(shape: Shape, inputs: int, grid_size: int, generator: torch.Generator) -> SymbolicKAN:
    """A network of that shape with random curves, for inputs in [-1, 1], in float64."""
    layers, below = [], inputs
    for k, nodes in enumerate(shape.layers):
        factors = [factor for node in nodes for factor in node]
        plain = shape.plain_end and k == len(shape.layers) - 1
        name = "x" if plain else SPLINE
        table = [[name if i in factor else ABSENT for i in range(below)] for factor in factors]
        splines = None
        if not plain:
            bound = HIDDEN if k else 1.0
            basis = BSpline(grid_size, domain=(-bound, bound))
            splines = blank_splines(below, len(table), basis).double()
            _initialise(splines, bound, generator)
        layer = SymbolicLayer(below, table, [len(node) for node in nodes], splines).double()
        with torch.no_grad():
            for node, start in zip(nodes, _starts(nodes), strict=True):
                layer.bias[start : start + len(node)] = 1.0 if len(node) > 1 else 0.0
        layers.append(layer)
        below = len(nodes)
    return SymbolicKAN(layers)


def _starts(nodes: Sequence[Node]) -> list[int]:
    starts, start = [], 0
    for node in nodes:
        starts.append(start)
        start += len(node)
    return starts


@torch.no_grad()
def _initialise(splines: KANLinear, bound: float, generator: torch.Generator) -> None:
    """A line of random slope and a random curve on every edge."""
    K, I, O = splines.coefficients.shape
    # The line x has its own value at the nodes of Greville; the middle of the knots is near it.
    ramp = torch.linspace(-1, 1, K, dtype=torch.float64)[:, None, None]
    slope = torch.randn(1, I, O, generator=generator, dtype=torch.float64)
    bend = torch.randn(1, I, O, generator=generator, dtype=torch.float64)
    wiggle = torch.randn(K, I, O, generator=generator, dtype=torch.float64)
    splines.coefficients.copy_(slope * ramp + 0.7 * bend * ramp**2 + 0.2 * wiggle)


@torch.no_grad()
def _start_additive(model: SymbolicKAN, x: Tensor, y: Tensor, generator: torch.Generator) -> None:
    """The first sum's splines become those of the best additive model, and some chance."""
    splines = model.layers[0].splines
    A = splines.basis(x).flatten(1)
    ridge = 1e-5 * len(A) * torch.eye(A.shape[1], dtype=A.dtype)
    numbers = torch.linalg.solve(A.T @ A + ridge, A.T @ y)[:, 0].view(x.shape[1], -1)
    spread = numbers.std().clamp(min=1e-9)
    chance = torch.randn(numbers.shape, generator=generator, dtype=numbers.dtype)
    splines.coefficients[:, :, 0] = (numbers / spread + 0.1 * chance).T


@torch.no_grad()
def settle(model: SymbolicKAN, x: Float[Tensor, "N I"]) -> None:
    """Scales each hidden node into the domain of the splines that take it, keeping the function.

    A sum is shifted too. The splines that take it are fitted to what they were.
    """
    for layer, after in zip(model.layers[:-1], model.layers[1:], strict=True):
        z = layer(x)
        shift, scale = _where(layer, z)
        _move(layer, shift, scale)
        moved = layer(x)
        _follow(after, z, moved, shift, scale)
        x = moved


def _where(layer: SymbolicLayer, z: Tensor) -> tuple[Tensor, Tensor]:
    """Shift and scale of each node so that (z - shift) / scale fills ±0.95 HIDDEN."""
    low, high = z.amin(0), z.amax(0)
    products = torch.tensor([n > 1 for n in layer.arities])
    shift = torch.where(products, 0.0, (low + high) / 2)
    reach = torch.maximum((high - shift).abs(), (low - shift).abs())
    return shift, (reach / (0.95 * HIDDEN)).clamp(min=1e-9)


def _move(layer: SymbolicLayer, shift: Tensor, scale: Tensor) -> None:
    start = 0
    for o, arity in enumerate(layer.arities):
        # Of a product the first factor is scaled.
        layer.bias[start] = (layer.bias[start] - shift[o]) / scale[o]
        if layer.splines is not None:
            layer.splines.coefficients[:, :, start] /= scale[o]
        on_it = layer.outs == start
        layer.c[on_it] /= scale[o]
        start += arity


def _follow(after: SymbolicLayer, old: Tensor, new: Tensor, shift: Tensor, scale: Tensor) -> None:
    """Makes the next layer do with the moved values what it did with the old ones."""
    for k, edge in enumerate(after.edges):
        if edge.function.name == "x":
            after.bias[edge.out] += after.c[k] * after.a[k] * shift[edge.in_]
        after.a[k] *= scale[edge.in_]
    if after.edges and after.splines is None:
        # "x" is written without a; what a took up goes to c.
        after.c *= after.a
        after.a.fill_(1.0)
    if after.splines is None:
        return
    values = after.splines.curves(old)
    features = after.splines.basis(new)
    for i in range(after.in_features):
        A = features[:, i]
        ridge = 1e-9 * len(A) * torch.eye(A.shape[1], dtype=A.dtype)
        numbers = torch.linalg.solve(A.T @ A + ridge, A.T @ values[:, :, i])
        after.splines.coefficients[:, i] = numbers


@torch.no_grad()
def train(
    shape: Shape,
    x: Float[Tensor, "N I"],
    y: Float[Tensor, "N 1"],
    generator: torch.Generator,
    grid_size: int = 6,
    hopeless: float = 0.05,
    warm: bool = False,
) -> tuple[SymbolicKAN, float]:
    """A network of that shape fitted to data, and its mean squared error.

    Args:
        shape: The shape.
        x: Inputs in [-1, 1].
        y: Targets of mean 0 and variance 1.
        generator: For the start.
        grid_size: Cells of each spline.
        hopeless: An error above which the second half of the steps is not worth while.
        warm: Whether the first sum begins near the best sum of functions of one input.

    """
    model = build(shape, x.shape[1], grid_size, generator)
    if warm:
        _start_additive(model, x, y, generator)
    settle(model, x)
    _fit_end(model, x, y)
    # Noise can't be told yet from what a wrong start leaves.
    ridge = 1e-9
    error = polish(model, x, y, steps=12, patience=4, penalty=_ridge(ridge)).error
    if error > 0.7:
        return model, error
    settle(model, x)
    error = polish(model, x, y, steps=12, patience=4, penalty=_ridge(ridge)).error
    if error < hopeless:
        settle(model, x)
        error = polish(model, x, y, steps=25, patience=3, penalty=_ridge(1e-12)).error
    return model, error


def _ridge(strength: float):
    return lambda theta: strength * torch.eye(len(theta), dtype=theta.dtype)


def _fit_end(model: SymbolicKAN, x: Tensor, y: Tensor) -> None:
    """The last layer in least squares, the others as they are."""
    last = model.layers[-1]
    if len(last.arities) != len(last.functions):
        return
    z = x
    for layer in model.layers[:-1]:
        z = layer(z)
    if last.splines is None:
        A = torch.cat([z[:, last.ins], torch.ones_like(z[:, :1])], dim=1)
    else:
        A = last.splines.basis(z).flatten(1)
        A = torch.cat([A, torch.ones_like(z[:, :1])], dim=1)
    ridge = 1e-4 * len(A) * torch.eye(A.shape[1], dtype=A.dtype)
    numbers = torch.linalg.solve(A.T @ A + ridge, A.T @ y)
    if last.splines is None:
        last.c.copy_(numbers[:-1, 0])
    else:
        K = last.splines.basis.size
        last.splines.coefficients.copy_(numbers[:-1].view(last.in_features, K, 1).transpose(0, 1))
    last.bias.copy_(numbers[-1])
