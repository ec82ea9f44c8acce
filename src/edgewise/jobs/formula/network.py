"""A formula as a network: its diagram, what each edge does, and what else it could be."""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from matplotlib.figure import Figure

from edgewise.core import InputError
from edgewise.jobs.formula.job import Formulas, Found
from edgewise.jobs.formula.text import short
from edgewise.symbolic import SymbolicKAN, attribute, from_expression, plot, suggest
from edgewise.symbolic.functions import choose_functions, find_function

ROWS = 1000
"""So many rows say what matters; more say the same."""

MOST_EDGES = 40
"""Of larger networks the edges that matter most are listed."""


class Network(NamedTuple):
    """A formula as a network.

    Attributes:
        figure: Its diagram, or None if it can't be written as a network.
        edges: A row for each edge, the one that matters most first.
        inputs: What each input does, as a share of the target's spread.
        reason: Why there is none.

    """

    figure: Figure | None
    edges: list[dict[str, str]]
    inputs: list[float]
    reason: str = ""


def network(formulas: Formulas, found: Found) -> Network:
    """The formula of one target as a network, looked at on the rows it was found on."""
    try:
        model = from_expression(found.expression, formulas.names)
    except InputError as error:
        return Network(None, [], [], f"It can't be drawn as a network: {error}.")
    few = torch.linspace(0, len(formulas.train) - 1, min(ROWS, len(formulas.train))).long()
    x = torch.from_numpy(formulas.table.x[formulas.train])[few]
    figure = plot(
        model,
        x,
        names=formulas.names,
        outputs=[found.symbol],
        title=f"The formula of {found.symbol} as a network",
    )
    scores = attribute(model, x)
    return Network(figure, _edges(model, x, scores.edges, formulas, found), scores.inputs.tolist())


def _edges(
    model: SymbolicKAN, x: torch.Tensor, scores: list, formulas: Formulas, found: Found
) -> list[dict[str, str]]:
    names = [
        (float(scores[k][edge.out, edge.in_]), (k, edge.out, edge.in_))
        for k, layer in enumerate(model.layers)
        for edge in layer.edges
    ]
    names.sort(key=lambda pair: (-pair[0], pair[1]))
    functions = formulas.job.functions
    return [
        _edge(model, x, edge, score, formulas.names, found.symbol, functions)
        for score, edge in names[:MOST_EDGES]
    ]


def _edge(
    model: SymbolicKAN,
    x: torch.Tensor,
    edge: tuple[int, int, int],
    score: float,
    inputs: Sequence[str],
    output: str,
    functions: Sequence[str] | None,
) -> dict[str, str]:
    k, out, in_ = edge
    layer = model.layers[k]
    start = inputs[in_] if k == 0 else f"node {k}.{in_ + 1}"
    node = int(layer.nodes[out])
    end = output if k == len(model.layers) - 1 else f"node {k + 1}.{node + 1}"
    if layer.arities[node] > 1:
        end += f", factor {out - sum(layer.arities[:node]) + 1}"
    own = layer.functions[out][in_]
    row = {"edge": f"{start} → {end}", "function": own, "importance": short(score)}
    rivals = [r for r in _as_simple(own, functions) if r != own]
    found = suggest(model, x, edge, top=1, functions=rivals) if rivals else []
    if found:
        row |= {
            "runner-up": found[0].function,
            "it misses": f"{short(100 * found[0].unexplained)} %",
        }
    return row


def _as_simple(name: str, functions: Sequence[str] | None) -> list[str]:
    """The functions that are as simple; a richer one can follow any curve in some limit."""
    most = find_function(name).complexity
    return [f.name for f in choose_functions(functions) if f.complexity <= most]
