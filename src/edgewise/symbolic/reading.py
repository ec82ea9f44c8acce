"""A trained spline network read as formulas: the whole network decides, not each edge alone."""

import math
from collections.abc import Sequence
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from edgewise.symbolic.assign import assignments
from edgewise.symbolic.curves import fit_curves
from edgewise.symbolic.edges import edge_curves, read, replace
from edgewise.symbolic.functions import Function
from edgewise.symbolic.network import SymbolicKAN
from edgewise.symbolic.polish import polish

EXACT = 1e-21
"""A mean squared error, relative to the variance, that only the right formula reaches."""


class Read(NamedTuple):
    """A network of formulas and its mean squared error."""

    model: SymbolicKAN
    error: float


@torch.no_grad()
def read_network(
    model: SymbolicKAN,
    x: Float[Tensor, "N I"],
    y: Float[Tensor, "N O"],
    functions: Sequence[Function],
    most: int = 16,
    sample: int = 200,
) -> Read | None:
    """The best of several ways to read all splines as formulas, polished on the data.

    One that is exact, else the simplest of those that are about as good as the best.

    Args:
        model: A network with splines.
        x: Inputs.
        y: Targets of variance 1.
        functions: What edges are compared with.
        most: How many ways are tried at most; one that is exact ends it.
        sample: How many of the points decide.

    """
    curves = edge_curves(model, x)
    fits = fit_curves(*curves[1:], functions)
    few = slice(None, None, max(1, len(x) // sample))
    ways: list[tuple[Read, int]] = []
    for choice in assignments(fits, most):
        picked = [read(fits, k, j) for k, j in enumerate(choice)]
        if not all(math.isfinite(r.c + r.d + r.a + r.b) for r in picked):
            continue
        found = replace(model, dict(zip(curves.edges, picked, strict=True)))
        error = polish(found, x[few], y[few], steps=12, patience=3, target=EXACT / 10).error
        if error < 1e-5:
            error = polish(found, x[few], y[few], steps=60, patience=8, target=EXACT * 1e-9).error
        ways.append((Read(found, error), sum(functions[j].complexity for j in choice)))
        if error < EXACT:
            return ways[-1][0]
    if not ways:
        return None
    # Where the target is not exact, look-alikes come as near as the right one.
    least = min(way.error for way, _ in ways)
    return min((w for w in ways if w[0].error <= 1.5 * least), key=lambda w: w[1])[0]
