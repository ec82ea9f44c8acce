"""The diagram of a network: nodes in rows, every edge with its curve, all in one picture."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float
from matplotlib.collections import LineCollection
from matplotlib.figure import Figure
from torch import Tensor, nn

from edgewise.core import InputError
from edgewise.symbolic.attribute import attribute
from edgewise.symbolic.edges import EdgeName, check_inputs, edge_curves
from edgewise.symbolic.functions import ABSENT
from edgewise.symbolic.layer import SPLINE
from edgewise.symbolic.network import SymbolicKAN, as_symbolic

_INK = "#1b2a41"
_FORMULA = "#b3391f"


class _Place(NamedTuple):
    """Where an edge is drawn: the middle of its curve, and the nodes at its ends."""

    edge: EdgeName
    middle: tuple[float, float]
    start: tuple[float, float]
    end: tuple[float, float]


@torch.no_grad()
def plot(
    model: nn.Module,
    x: Float[Tensor, "N I"],
    *,
    names: Sequence[str] | None = None,
    outputs: Sequence[str] | None = None,
    title: str | None = None,
    fade: float = 3.0,
) -> Figure:
    """Draws a network, inputs below, outputs above, each edge with its curve.

    An edge is the fainter the less it matters (:func:`~edgewise.symbolic.attribute.attribute`).
    Formulas are red and named; where sums are multiplied stands a ×.

    Args:
        model: A KAN or a symbolic one.
        x: Inputs; they give the ranges of the curves and what matters.
        names: What the inputs are called.
        outputs: What the outputs are called.
        title: A line above.
        fade: How quickly unimportant edges fade: an edge of score s has the strength tanh(fade s).

    Returns:
        A figure that belongs to no window; ``figure.savefig("kan.png")`` writes it.

    Raises:
        InputError: If x does not fit the model, or there are too few or too many names.

    Example:
        >>> model = ew.symbolic.from_expression("exp(sin(x1) + x2**2)", ["x1", "x2"])
        >>> figure = plot(model, torch.rand(50, 2, dtype=torch.float64))
        >>> len(figure.axes)
        1

    """
    model = as_symbolic(model)
    x = check_inputs(model, x)
    names = _labels(names, model.widths[0], "names", "x")
    outputs = _labels(outputs, model.widths[-1], "outputs", "y")
    places, width, heights = _layout(model)
    figure = Figure(figsize=(min(max(width, 3.5), 24), max(heights[-1] + 1.0, 2.5)), dpi=150)
    axes = figure.add_axes((0.0, 0.0, 1.0, 0.93 if title else 1.0))
    strengths = _strengths(model, x, places, fade)
    box = _box(places, width)
    _draw_wires(axes, places, strengths, box)
    _draw_curves(axes, model, x, places, strengths, box)
    _draw_nodes(axes, model, width, heights, names, outputs)
    axes.set_xlim(0, max(width, 3.5))
    axes.set_ylim(-0.55, heights[-1] + 0.45)
    axes.set_aspect("equal")
    axes.axis("off")
    if title:
        figure.suptitle(title, fontsize=10, color=_INK)
    return figure


def _labels(given: Sequence[str] | None, count: int, what: str, letter: str) -> list[str]:
    if given is None:
        return (
            [f"{letter}{k + 1}" for k in range(count)] if count > 1 or letter == "x" else [letter]
        )
    given = [str(name) for name in given]
    if len(given) != count:
        raise InputError(f"{what} must be {count}, one for each, got {given}")
    return given


def _layout(model: SymbolicKAN) -> tuple[list[_Place], float, list[float]]:
    """The edges' places, the width of the picture in inches, and the height of each row."""
    counts = [
        sum(name != ABSENT for row in layer.functions for name in row) for layer in model.layers
    ]
    width = max(3.5, 0.55 * max(counts), 0.8 * max(model.widths))
    width = min(width, 24.0)
    # Wide rows stand further apart, so that wires do not lie flat.
    row = max(1.6, width / 8)
    heights = [row * k for k in range(len(model.widths))]
    places = []
    for k, layer in enumerate(model.layers):
        below = _spread(layer.in_features, width)
        above = _spread(layer.out_features, width)
        edges = [
            (k, out, in_)
            for out, row in enumerate(layer.functions)
            for in_, name in enumerate(row)
            if name != ABSENT
        ]
        nodes = layer.nodes.tolist()
        # In the order of their ends' middles, wires cross least.
        edges.sort(key=lambda e: (below[e[2]] + above[nodes[e[1]]], below[e[2]], e[1]))
        for edge, at in zip(edges, _spread(len(edges), width), strict=True):
            middle = (at, heights[k] + row / 2)
            start = (below[edge[2]], heights[k])
            places.append(_Place(edge, middle, start, (above[nodes[edge[1]]], heights[k + 1])))
    return places, width, heights


def _spread(count: int, width: float) -> list[float]:
    """So many places side by side, as in count equal cells."""
    return [(k + 0.5) * width / count for k in range(count)]


def _box(places: list[_Place], width: float) -> float:
    """The side of the little square that a curve is drawn in."""
    rows: dict[int, int] = {}
    for place in places:
        rows[place.edge[0]] = rows.get(place.edge[0], 0) + 1
    return min(0.5, 0.8 * width / max([1, *rows.values()]))


def _strengths(model: SymbolicKAN, x: Tensor, places: list[_Place], fade: float) -> np.ndarray:
    scores = attribute(model, x).edges
    found = [float(scores[k][out, in_]) for k, out, in_ in (p.edge for p in places)]
    return 0.12 + 0.88 * np.tanh(fade * np.nan_to_num(np.array(found)))


def _draw_wires(axes, places: list[_Place], strengths: np.ndarray, box: float) -> None:
    lines, colours = [], []
    for place, strength in zip(places, strengths, strict=True):
        x, y = place.middle
        lines += [[place.start, (x, y - box / 2)], [(x, y + box / 2), place.end]]
        colours += [(_INK, 0.8 * float(strength))] * 2
    axes.add_collection(LineCollection(lines, colors=colours, linewidths=0.7, zorder=1))


def _draw_curves(axes, model, x, places, strengths, box) -> None:
    curves = edge_curves(model, x, (SPLINE, "formula"))
    where = {edge: n for n, edge in enumerate(curves.edges)}
    lines, frames, colours, frame_colours = [], [], [], []
    u = np.linspace(-0.42, 0.42, curves.values.shape[1])
    for place, strength in zip(places, strengths, strict=True):
        k, out, in_ = place.edge
        name = model.layers[k].functions[out][in_]
        colour = _INK if name == SPLINE else _FORMULA
        v = np.nan_to_num(curves.values[where[place.edge]].cpu().numpy())
        height = float(np.ptp(v))
        v = (v - v.min()) / height - 0.5 if height > 0 else 0 * v
        cx, cy = place.middle
        lines.append(np.stack([cx + box * u, cy + 0.8 * box * v], axis=1))
        h = box / 2
        corners = [(-h, -h), (h, -h), (h, h), (-h, h), (-h, -h)]
        frames.append([(cx + p, cy + q) for p, q in corners])
        colours.append((colour, float(strength)))
        frame_colours.append((_INK, 0.5 * float(strength)))
        if name != SPLINE:
            size = float(np.clip(14 * box, 3.0, 7.0))
            axes.text(
                *(cx + 0.5 * box, cy + 0.52 * box),
                name,
                fontsize=size,
                ha="right",
                va="bottom",
                color=_FORMULA,
                alpha=max(float(strength), 0.4),
                zorder=4,
            )
    axes.add_collection(LineCollection(frames, colors=frame_colours, linewidths=0.5, zorder=2))
    axes.add_collection(LineCollection(lines, colors=colours, linewidths=1.2, zorder=3))


def _draw_nodes(axes, model, width, heights, names, outputs) -> None:
    for k, count in enumerate(model.widths):
        xs = _spread(count, width)
        axes.scatter(xs, [heights[k]] * count, s=26, color=_INK, zorder=5)
        if k:
            for at, arity in zip(xs, model.layers[k - 1].arities, strict=True):
                if arity > 1:
                    axes.text(
                        at, heights[k] - 0.07, "×", ha="center", va="top", fontsize=11, color=_INK
                    )
    for at, name in zip(_spread(len(names), width), names, strict=True):
        axes.text(at, -0.14, name, ha="center", va="top", fontsize=_size(names, width), color=_INK)
    for at, name in zip(_spread(len(outputs), width), outputs, strict=True):
        axes.text(
            at,
            heights[-1] + 0.12,
            name,
            ha="center",
            va="bottom",
            fontsize=_size(outputs, width),
            color=_INK,
        )


def _size(labels: list[str], width: float) -> float:
    """A size at which so many labels stand beside each other."""
    longest = max(len(label) for label in labels)
    return float(np.clip(110 * width / (len(labels) * (longest + 1)), 4, 10))
