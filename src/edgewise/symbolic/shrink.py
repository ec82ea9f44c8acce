"""The same function in a smaller network: dead nodes cut out, equal nodes made one."""

import copy

import torch
from jaxtyping import Float
from torch import Tensor

from edgewise.symbolic.functions import ABSENT
from edgewise.symbolic.layer import SPLINE, SymbolicLayer, blank_splines, spline_features
from edgewise.symbolic.network import SymbolicKAN


@torch.no_grad()
def shrink(model: SymbolicKAN, x: Float[Tensor, "N I"]) -> SymbolicKAN:
    """A network without the hidden nodes that nothing takes or that are constant.

    Args:
        model: The network; it stays as it is.
        x: Inputs, which say what the constant nodes are.

    """
    layers = [copy.deepcopy(layer) for layer in model.layers]
    for k in range(1, len(layers)):
        fed = [any(name != ABSENT for name in row) for row in layers[k - 1].functions]
        alive = [bool(any(part)) for part in _split(fed, layers[k - 1].arities)]
        _fold_constants(layers, k, alive, x)
        x = layers[k - 1](x)
    for k in range(len(layers) - 1, 0, -1):
        table = layers[k].functions
        used = [any(row[n] != ABSENT for row in table) for n in range(layers[k].in_features)]
        # One is kept where all are constant, so that there is a layer at all.
        keep = [n for n, u in enumerate(used) if u] or [0]
        layers[k - 1] = take(layers[k - 1], nodes=keep)
        layers[k] = take(layers[k], inputs=keep)
    return SymbolicKAN(layers)


def _split(values: list[bool], sizes: list[int]) -> list[list[bool]]:
    found, start = [], 0
    for size in sizes:
        found.append(values[start : start + size])
        start += size
    return found


def _fold_constants(layers: list[SymbolicLayer], k: int, alive: list[bool], x: Tensor) -> None:
    """What edges give to constant nodes goes to the biases of the next layer."""
    dead = [n for n, a in enumerate(alive) if not a]
    if not dead:
        return
    layer = layers[k]
    z = layers[k - 1](x[:1])
    curves = layer.curves(z)[0] - layer.bias.unsqueeze(1) / layer.in_features
    table = [list(row) for row in layer.functions]
    extra = torch.zeros_like(layer.bias)
    for n in dead:
        for out, row in enumerate(table):
            if row[n] != ABSENT:
                extra[out] += curves[out, n]
                row[n] = ABSENT
    layers[k] = rebuilt(layer, table)
    layers[k].bias.add_(extra)


@torch.no_grad()
def rebuilt(layer: SymbolicLayer, table: list[list[str]]) -> SymbolicLayer:
    """The layer with some of its edges taken out."""
    still = any(name == SPLINE for row in table for name in row)
    splines = copy.deepcopy(layer.splines) if still else None
    found = SymbolicLayer(layer.in_features, table, layer.arities, splines).to(layer.bias)
    found.bias.copy_(layer.bias)
    _copy_edges(layer, found, lambda edge: (edge.out, edge.in_))
    return found


def _copy_edges(old: SymbolicLayer, new: SymbolicLayer, where) -> None:
    known = {(e.out, e.in_): n for n, e in enumerate(old.edges)}
    for n, edge in enumerate(new.edges):
        for letter in "abc":
            getattr(new, letter)[n] = getattr(old, letter)[known[where(edge)]]


@torch.no_grad()
def take(
    layer: SymbolicLayer, nodes: list[int] | None = None, inputs: list[int] | None = None
) -> SymbolicLayer:
    """The layer with these nodes and these inputs only."""
    nodes = list(range(layer.out_features)) if nodes is None else nodes
    inputs = list(range(layer.in_features)) if inputs is None else inputs
    starts = [sum(layer.arities[:n]) for n in range(layer.out_features)]
    sums = [s for n in nodes for s in range(starts[n], starts[n] + layer.arities[n])]
    table = [[layer.functions[s][i] for i in inputs] for s in sums]
    splines = None
    if any(name == SPLINE for row in table for name in row):
        old = layer.splines
        basis = copy.deepcopy(old.basis)
        splines = blank_splines(len(inputs), len(sums), basis, old.base).to(layer.bias)
        splines.coefficients.copy_(old.coefficients[:, inputs][:, :, sums])
        if old.base_weight is not None:
            splines.base_weight.copy_(old.base_weight[inputs][:, sums])
    arities = [layer.arities[n] for n in nodes]
    found = SymbolicLayer(len(inputs), table, arities, splines).to(layer.bias)
    found.bias.copy_(layer.bias[sums])
    _copy_edges(layer, found, lambda edge: (sums[edge.out], inputs[edge.in_]))
    return found


@torch.no_grad()
def merge_nodes(
    model: SymbolicKAN, z: Float[Tensor, "N n"], k: int, keep: int, gone: int
) -> SymbolicKAN | None:
    """The network in which node ``keep`` of layer k does the work of ``gone`` too.

    Args:
        model: The network; it stays as it is.
        z: The outputs of layer k on data.
        k: The layer, not the last.
        keep: The node that stays.
        gone: The node that goes.

    Returns:
        The network, or None if the nodes are not multiples of each other (plus a constant), or a
        formula takes the second: formulas do not add up to one.

    """
    after = model.layers[k + 1]
    takers = [row[gone] for row in after.functions]
    mine = [row[keep] for row in after.functions]
    if all(name == ABSENT for name in takers) or all(name == ABSENT for name in mine):
        return None
    if any(
        t not in (ABSENT, SPLINE) or (t == SPLINE and m != SPLINE)
        for t, m in zip(takers, mine, strict=True)
    ):
        return None
    a, b = z[:, keep], z[:, gone]
    a, b = a - a.mean(), b - b.mean()
    if float((a @ b) ** 2) < (1 - 1e-6) * float((a @ a) * (b @ b)):
        return None
    values = after.splines.curves(z)
    features = spline_features(after.splines, z)[:, keep]
    sums = [s for s, name in enumerate(takers) if name == SPLINE]
    target = (values[:, sums, keep] + values[:, sums, gone]).to(features)
    ridge = 1e-10 * len(features) * torch.eye(features.shape[1]).to(features)
    numbers = torch.linalg.solve(features.T @ features + ridge, features.T @ target)
    table = [
        [ABSENT if i == gone else name for i, name in enumerate(row)] for row in after.functions
    ]
    layers = [copy.deepcopy(layer) for layer in model.layers]
    layers[k + 1] = rebuilt(after, table)
    splines = layers[k + 1].splines
    size = len(splines.coefficients)
    splines.coefficients[:, keep, sums] = numbers[:size]
    if splines.base_weight is not None:
        splines.base_weight[keep, sums] = numbers[size]
    return SymbolicKAN(layers)
