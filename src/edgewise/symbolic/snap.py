"""Splines become formulas, as long as the whole network does as well."""

import math
from collections.abc import Sequence
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor, nn

from edgewise.core import InputError
from edgewise.symbolic.curves import CurveFits, fit_curves
from edgewise.symbolic.edges import EdgeName, Reading, check_inputs, edge_curves, read, replace
from edgewise.symbolic.functions import choose_functions
from edgewise.symbolic.network import SymbolicKAN, as_symbolic
from edgewise.symbolic.polish import polish
from edgewise.symbolic.prune import Trial, check_targets, mean_squared_error, without_edges
from edgewise.symbolic.reading import EXACT, read_network


class SnapRow(NamedTuple):
    """One edge: what it became, and how sure that is.

    Attributes:
        edge: Layer, sum, input.
        function: Its name, or ``"spline"`` if no function would do.
        unexplained: What share of the curve's variance the function alone missed.
        loss: The mean squared error of the network when the edge was decided.

    """

    edge: EdgeName
    function: str
    unexplained: float
    loss: float


@torch.no_grad()
def snap(
    model: nn.Module,
    x: Float[Tensor, "N I"],
    y: Float[Tensor, "N O"],
    functions: Sequence[str] | None = None,
    *,
    tolerance: float = 0.1,
    tries: int = 3,
) -> tuple[SymbolicKAN, list[SnapRow]]:
    """Reads the splines of a network as formulas, and polishes all constants on the data.

    First all edges at once, in several ways, the simple ones first. If no way keeps the loss, edge
    by edge, the surest first: a function is accepted if the whole network, polished, does as well
    as before; an edge that no function suits stays a spline.

    Args:
        model: A KAN or a symbolic one, best in float64; it stays as it is.
        x: Inputs.
        y: Targets.
        functions: The names of the functions to try; by default those that rarely mislead.
        tolerance: By what share the mean squared error may grow.
        tries: How many functions are tried on an edge.

    Returns:
        The new network and a row for each spline that there was.

    Raises:
        InputError: If the data do not fit the model, or a function is not known.

    Example:
        >>> x = torch.linspace(-1, 1, 200, dtype=torch.float64)[:, None]
        >>> model = ew.symbolic.from_expression("exp(2*x1)", ["x1"])
        >>> model = ew.symbolic.unfix(model, edge=(0, 0, 0), x=x)
        >>> found, rows = snap(model, x, torch.exp(2 * x))
        >>> rows[0].function, bool((found(x) - torch.exp(2 * x)).abs().max() < 1e-12)
        ('exp', True)

    """
    if not tolerance >= 0:
        raise InputError(f"tolerance must not be negative, got {tolerance!r}")
    chosen = choose_functions(functions)
    model = as_symbolic(model).double()
    x = check_inputs(model, x)
    y = check_targets(model, y, len(x))
    before = mean_squared_error(model, x, y)
    spread = float(y.var(0, correction=0).mean())
    allowed = max((1 + tolerance) * before, EXACT * spread)
    curves = edge_curves(model, x)
    if not curves.edges:
        return model, []
    fits = fit_curves(*curves[1:], chosen)
    found = _all_at_once(model, x, y, chosen, allowed)
    if found is not None:
        return found, _rows(found, curves.edges, fits, mean_squared_error(found, x, y))
    return _one_by_one(model, x, y, fits, curves.edges, allowed, tries)


def _all_at_once(
    model: SymbolicKAN, x: Tensor, y: Tensor, functions: list, allowed: float
) -> SymbolicKAN | None:
    found = read_network(model, x, y, functions)
    if found is None:
        return None
    polish(found.model, x, y, steps=60, patience=6)
    if mean_squared_error(found.model, x, y) > allowed:
        return None
    # Once the formula is exact, what the spline network had too much is next to nothing.
    smaller, _ = without_edges(found.model, Trial(x, y, allowed, 15), highest=1e-5)
    return smaller


def _rows(model: SymbolicKAN, edges: list[EdgeName], fits: CurveFits, loss: float) -> list[SnapRow]:
    names = [f.name for f in fits.functions]
    rows = []
    for n, (k, out, in_) in enumerate(edges):
        name = model.layers[k].functions[out][in_]
        left = float(fits.unexplained[n, names.index(name)]) if name in names else math.nan
        rows.append(SnapRow((k, out, in_), name, left, loss))
    return rows


def _one_by_one(
    model: SymbolicKAN,
    x: Tensor,
    y: Tensor,
    fits: CurveFits,
    edges: list[EdgeName],
    allowed: float,
    tries: int,
) -> tuple[SymbolicKAN, list[SnapRow]]:
    """The surest edge first; all others may move while one is decided."""
    sure = fits.unexplained.nan_to_num(math.inf).amin(1)
    rows = []
    for n in sure.argsort().tolist():
        # The curve may have moved since.
        now = edge_curves(model, x)
        at = now.edges.index(edges[n])
        one = slice(at, at + 1)
        fresh = fit_curves(now.low[one], now.high[one], now.values[one], fits.functions)
        for reading in _promising(fresh)[:tries]:
            trial = replace(model, {edges[n]: reading})
            polish(trial, x, y, steps=15, target=0.5 * allowed, patience=4)
            loss = mean_squared_error(trial, x, y)
            if loss <= allowed:
                model = trial
                rows.append(SnapRow(edges[n], reading.function, reading.unexplained, loss))
                break
        else:
            loss = mean_squared_error(model, x, y)
            rows.append(SnapRow(edges[n], "spline", float(sure[n]), loss))
    return model, sorted(rows)


def _promising(fits: CurveFits) -> list[Reading]:
    """Functions that follow the curve at all, the simple and good ones first."""
    ranks = {f.name: f.complexity for f in fits.functions}
    readings = [read(fits, 0, j) for j in range(len(fits.functions))]
    good = [r for r in readings if r.unexplained < 0.05 and math.isfinite(r.c + r.d)]
    return sorted(
        good, key=lambda r: ranks[r.function] + 1.5 * math.log10(max(r.unexplained, 1e-7))
    )
