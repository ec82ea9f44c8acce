"""A smaller network that does as well: edges and nodes go if the loss allows it."""

import math
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor, nn

from edgewise.core import InputError
from edgewise.symbolic.attribute import attribute
from edgewise.symbolic.edges import EdgeName, Reading, check_inputs, replace
from edgewise.symbolic.functions import ABSENT
from edgewise.symbolic.jacobian import Coordinates
from edgewise.symbolic.network import SymbolicKAN, as_symbolic
from edgewise.symbolic.polish import polish
from edgewise.symbolic.shrink import merge_nodes, shrink

MOST_CONSTANTS = 1500
"""Networks with more are pruned without refits in between: a step would take seconds."""


class PruneReport(NamedTuple):
    """What :func:`prune` did.

    Attributes:
        edges: The edges that went, (layer, sum, input) as they were called before.
        nodes: The hidden nodes that went with all their edges, (layer, node).
        merged: Pairs of nodes of a layer that were one: (layer, kept, gone).
        loss_before: The mean squared error before.
        loss_after: The mean squared error after.
        widths_before: The layers' widths before.
        widths_after: The layers' widths after.

    """

    edges: list[EdgeName]
    nodes: list[tuple[int, int]]
    merged: list[tuple[int, int, int]]
    loss_before: float
    loss_after: float
    widths_before: list[int]
    widths_after: list[int]


@torch.no_grad()
def prune(
    model: nn.Module,
    x: Float[Tensor, "N I"],
    y: Float[Tensor, "N O"],
    *,
    tolerance: float = 0.1,
    floor: float = 1e-6,
    refit: int = 8,
) -> tuple[SymbolicKAN, PruneReport]:
    """Removes what the loss does not need, and returns a network without it.

    Hidden nodes, then edges, the least important first (:func:`attribute`), are taken out on
    trial: what they gave on average goes to the biases, the rest of the network is refitted, and
    they stay out if the loss is still allowed. No output is ever cut off from all inputs. Nodes
    that are multiples of each other become one.

    Args:
        model: A KAN or a symbolic one; it stays as it is.
        x: Inputs.
        y: Targets.
        tolerance: By what share the mean squared error may grow in all.
        floor: A mean squared error, in units of the variance of y, that is always allowed.
        refit: Steps of Levenberg–Marquardt after each trial; 0 for none. Networks with more than
            1500 constants get none.

    Returns:
        The smaller network, with ``"0"`` where an edge went, and a report.

    Raises:
        InputError: If the data do not fit the model or hold NaN, or an argument is negative.

    Example:
        >>> model = ew.symbolic.from_expression("x1**2 + 1e-9*sin(x2)", ["x1", "x2"])
        >>> x = torch.rand(50, 2, dtype=torch.float64)
        >>> smaller, report = prune(model, x, x[:, :1] ** 2)
        >>> smaller.layers[0].functions, report.edges
        ([['x^2', '0']], [(0, 0, 1)])

    """
    for name, value in (("tolerance", tolerance), ("floor", floor), ("refit", refit)):
        if not value >= 0:
            raise InputError(f"{name} must not be negative, got {value!r}")
    model = as_symbolic(model)
    x, y = check_inputs(model, x), check_targets(model, y, len(x))
    before = mean_squared_error(model, x, y)
    widths = model.widths
    allowed = max((1 + tolerance) * before, floor * float(y.var(0, correction=0).mean()))
    steps = refit if len(Coordinates(model).read()) <= MOST_CONSTANTS else 0
    trial = Trial(x, y, allowed, steps)
    model, nodes = _without_nodes(model, trial)
    model, edges = without_edges(model, trial)
    model, merged = _without_duplicates(model, trial)
    model = shrink(model, x)
    after = mean_squared_error(model, x, y)
    # Edges of nodes that went are not listed again.
    edges = [e for e in edges if (e[0], e[1]) not in nodes and (e[0] - 1, e[2]) not in nodes]
    return model, PruneReport(edges, nodes, merged, before, after, widths, model.widths)


class Trial(NamedTuple):
    """Data, the loss that is allowed, and how many steps of refitting a trial gets."""

    x: Tensor
    y: Tensor
    allowed: float
    steps: int

    def accepts(self, model: SymbolicKAN) -> bool:
        """Refits, and whether the loss is allowed then."""
        if self.steps and mean_squared_error(model, self.x, self.y) > self.allowed:
            polish(model, self.x, self.y, steps=self.steps, target=self.allowed, patience=4)
        return mean_squared_error(model, self.x, self.y) <= self.allowed


def _without_nodes(model: SymbolicKAN, trial: Trial) -> tuple[SymbolicKAN, list[tuple[int, int]]]:
    gone: list[tuple[int, int]] = []
    refused: set[tuple[int, int]] = set()
    while True:
        scores = attribute(model, trial.x).nodes
        candidates = [
            (float(score), (k - 1, n))
            for k, layer in enumerate(scores)
            if k
            for n, score in enumerate(layer)
            if (k - 1, n) not in refused and (k - 1, n) not in gone
        ]
        if not candidates:
            return model, gone
        _, (k, n) = min(candidates)
        smaller = _cut(model, _edges_from(model, k + 1, n), trial.x)
        if smaller is not None and trial.accepts(smaller):
            model = smaller
            gone.append((k, n))
        else:
            refused.add((k, n))


def _edges_from(model: SymbolicKAN, layer: int, in_: int) -> list[EdgeName]:
    table = model.layers[layer].functions
    return [(layer, out, in_) for out, row in enumerate(table) if row[in_] != ABSENT]


@torch.no_grad()
def without_edges(
    model: SymbolicKAN, trial: Trial, highest: float = math.inf
) -> tuple[SymbolicKAN, list[EdgeName]]:
    """The network without the edges that the trial does without, and these.

    Args:
        model: The network.
        trial: What is allowed.
        highest: Edges with a higher score (:func:`attribute`) are not tried.

    """
    gone: list[EdgeName] = []
    refused: set[EdgeName] = set()
    while True:
        scores = attribute(model, trial.x).edges
        candidates = [
            (float(scores[k][out, in_]), (k, out, in_))
            for k, layer in enumerate(model.layers)
            for out, row in enumerate(layer.functions)
            for in_, name in enumerate(row)
            if name != ABSENT and (k, out, in_) not in refused
        ]
        if not candidates or min(candidates)[0] > highest:
            return model, gone
        _, edge = min(candidates)
        smaller = _cut(model, [edge], trial.x)
        if smaller is not None and trial.accepts(smaller):
            model = smaller
            gone.append(edge)
        else:
            refused.add(edge)


@torch.no_grad()
def _cut(model: SymbolicKAN, edges: list[EdgeName], x: Tensor) -> SymbolicKAN | None:
    """The network without these edges, their means left; None if an output were cut off."""
    if not edges:
        return model
    means, inputs = {}, x
    for k, layer in enumerate(model.layers):
        curves = layer.curves(inputs).mean(0) - layer.bias.unsqueeze(1) / layer.in_features
        means.update({e: float(curves[e[1], e[2]]) for e in edges if e[0] == k})
        inputs = layer(inputs)
    smaller = replace(model, {e: Reading(ABSENT, d=means[e]) for e in edges})
    return smaller if connected(smaller) else None


def connected(model: SymbolicKAN) -> bool:
    """Whether every output depends on some input."""
    alive = torch.ones(model.layers[0].in_features, dtype=torch.bool)
    for layer in model.layers:
        there = torch.tensor([[name != ABSENT for name in row] for row in layer.functions])
        sums = (there & alive).any(1)
        alive = torch.stack([part.any() for part in sums.split(layer.arities)])
    return bool(alive.all())


def _without_duplicates(
    model: SymbolicKAN, trial: Trial
) -> tuple[SymbolicKAN, list[tuple[int, int, int]]]:
    """Hidden nodes that are multiples of each other, plus a constant, made one."""
    merged = []
    for k in range(len(model.layers) - 1):
        z = trial.x
        for layer in model.layers[: k + 1]:
            z = layer(z)
        for keep in range(z.shape[1]):
            for gone in range(keep + 1, z.shape[1]):
                smaller = merge_nodes(model, z, k, keep, gone)
                if smaller is not None and trial.accepts(smaller):
                    model = smaller
                    merged.append((k, keep, gone))
    return model, merged


def mean_squared_error(model: nn.Module, x: Tensor, y: Tensor) -> float:
    """The mean squared error; infinite where the model is not finite."""
    with torch.no_grad():
        error = float((model(x) - y).square().mean())
    return error if error == error else float("inf")


def check_targets(model: SymbolicKAN, y: Tensor, samples: int) -> Float[Tensor, "N O"]:
    """The targets in the network's precision, or an :class:`InputError`."""
    outputs = model.widths[-1]
    if isinstance(y, Tensor) and y.ndim == 1 and outputs == 1:
        y = y.unsqueeze(1)
    if not isinstance(y, Tensor) or y.shape != (samples, outputs):
        shape = tuple(y.shape) if isinstance(y, Tensor) else type(y).__name__
        raise InputError(f"y must be a tensor of shape ({samples}, {outputs}), got {shape}")
    if not torch.isfinite(y).all():
        raise InputError("y holds NaN or infinity; drop or fill those rows first")
    return y.to(model.layers[0].bias)
