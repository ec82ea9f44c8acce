"""One start of one shape of network: trained on a problem, read as a formula, offered."""

import torch
from torch import Tensor

from edgewise.core import generator
from edgewise.symbolic.formula import formula
from edgewise.symbolic.functions import Function
from edgewise.symbolic.nets import Shape, train
from edgewise.symbolic.network import SymbolicKAN
from edgewise.symbolic.problem import Problem
from edgewise.symbolic.prune import Trial, mean_squared_error, without_edges
from edgewise.symbolic.reading import EXACT, read_network
from edgewise.symbolic.transforms import transformed


def search_net(
    problem: Problem,
    functions: list[Function],
    seed: int,
    shape: Shape,
    start: int,
    transform: int = 0,
) -> None:
    """One start of one shape: train, read, offer."""
    kinds = list(transformed(problem.few_y))
    if transform >= len(kinds):
        return
    kind, t, sign = kinds[transform]
    low, high = problem.few_x.amin(0), problem.few_x.amax(0)
    half = ((high - low) / 2).clamp(min=1e-300)
    u = (problem.few_x - (low + high) / 2) / half
    mean, spread = t.mean(), t.std()
    target = ((t - mean) / spread).unsqueeze(1)
    grid_size = (6, 6, 10, 24)[start % 4]
    source = generator(seed, "discover", str(shape), start)
    warm = start % 2 == 0 and len(shape.layers[0]) == 1 and len(shape.layers[0][0]) == 1
    model, error = train(shape, u, target, source, grid_size, warm=warm)
    problem.least = min(problem.least, error)
    # With noise no network is exact; once each shape was tried, the best are worth reading.
    noisy = problem.depth == 0 and start > 0 and error < min(0.5, 1.2 * problem.least)
    if not (error < 3e-3 or noisy):
        return
    found = read_network(model, u, target, functions)
    if found is None:
        return
    model = found.model
    if found.error < 1e3 * EXACT:
        # What an exact formula has too much is next to nothing.
        allowed = max(EXACT, 2 * mean_squared_error(model, u, target))
        model, _ = without_edges(model, Trial(u, target, allowed, 15), highest=1e-3)
    unfolded = unfold(model, (low + high) / 2, half, mean, spread)
    inner = formula(unfolded, problem.names)
    how = f"{kind.name}: {describe(shape)}"
    problem.offer(kind.inverse(inner, sign), how)


def larger_shapes(inputs: list[int]) -> list[Shape]:
    """Two nodes: a sum beside a product, two products, two sums."""
    everything = tuple(inputs)
    product = tuple((i,) for i in inputs)
    found = []
    if len(inputs) > 1:
        found.append(Shape.nodes((everything,), product))
        found.append(Shape.nodes(product, product))
    if len(inputs) == 4:
        pairs = [((0, 1), (2, 3)), ((0, 2), (1, 3)), ((0, 3), (1, 2))]
        for p, q in pairs:
            p, q = tuple(inputs[i] for i in p), tuple(inputs[i] for i in q)
            found.append(Shape.nodes((p,), (q,), plain=False))
    found.append(Shape.nodes((everything,), (everything,), plain=False))
    return found


def describe(shape: Shape) -> str:
    """A shape in words, such as [2, (2), 1] for one product of two.

    Example:
        >>> describe(Shape.product_of((0, 1)))
        '[(2), 1]'

    """
    layers = [
        ", ".join(f"({len(node)})" if len(node) > 1 else "1" for node in nodes)
        for nodes in shape.layers
    ]
    return f"[{' | '.join(layers)}]".replace(" | 1]", ", 1]")


@torch.no_grad()
def unfold(
    model: SymbolicKAN, middle: Tensor, half: Tensor, mean: Tensor, spread: Tensor
) -> SymbolicKAN:
    """The network for inputs and targets as they were before they were scaled, in place.

    The last layer must be one of sums.
    """
    first, last = model.layers[0], model.layers[-1]
    a = first.a / half[first.ins]
    first.b.sub_(a * middle[first.ins])
    first.a.copy_(a)
    for k, edge in enumerate(first.edges):
        if edge.function.name == "x":
            first.bias[edge.out] += first.c[k] * first.b[k]
            first.c[k] *= first.a[k]
            first.a[k], first.b[k] = 1.0, 0.0
    last.c.mul_(spread)
    last.bias.mul_(spread).add_(mean)
    return model
