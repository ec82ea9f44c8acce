"""What the figures of a study share: which variants are drawn, how each looks, intervals."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes

from edgewise.drawing import COLOURS, LINES, MARKERS, numbers

MAX_DRAWN = 12
"""More variants than this can't be told apart in one panel; the best are drawn."""


def drawn(analysis: Mapping[str, Any]) -> list[str]:
    """The variants that a figure shows: all, or the `MAX_DRAWN` best."""
    return list(analysis["ranking"][:MAX_DRAWN])


def of_how_many(analysis: Mapping[str, Any]) -> str:
    """For a title: nothing, or that not every variant is drawn.

    Example:
        >>> of_how_many({"ranking": ["a", "b"]})
        ''
        >>> of_how_many({"ranking": list("abcdefghijklmn")})
        ' (the 12 best of 14 variants)'
    """
    count = len(analysis["ranking"])
    return f" (the {MAX_DRAWN} best of {count} variants)" if count > MAX_DRAWN else ""


def level(analysis: Mapping[str, Any]) -> str:
    """The intervals' coverage as text.

    Example:
        >>> level({"study": {"level": 0.95}})
        '95 %'
    """
    return f"{100 * analysis['study']['level']:g} %"


def metric(analysis: Mapping[str, Any]) -> str:
    """What the score is called."""
    return analysis["study"]["metric"]


def style(analysis: Mapping[str, Any], variant: str) -> dict[str, str]:
    """Colour, line and marker of a variant, the same in every figure of a study.

    Example:
        >>> style({"study": {"variants": ["raw", "lete"]}}, "lete")
        {'color': '#e69f00', 'linestyle': '--', 'marker': 's'}
    """
    place = analysis["study"]["variants"].index(variant)
    return {
        "color": COLOURS[place % len(COLOURS)],
        # Lines change with the colours and once more when the colours start again.
        "linestyle": LINES[(place + place // len(COLOURS)) % len(LINES)],
        "marker": MARKERS[place % len(MARKERS)],
    }


def band(axes: Axes, x: Sequence[float], entry: Mapping[str, Any], look: Mapping[str, str]) -> None:
    """A mean line with its interval as a band."""
    mean = numbers(entry["mean"], look.get("scale", 1.0))
    low, high = (numbers(entry[end], look.get("scale", 1.0)) for end in ("low", "high"))
    kind = {key: look[key] for key in ("color", "linestyle", "marker")}
    every = max(1, len(x) // 8)
    axes.plot(x, mean, **kind, markersize=3.5, linewidth=1.4, markevery=every, label=look["label"])
    axes.fill_between(x, low, high, color=look["color"], alpha=0.12, linewidth=0)


def dots(axes: Axes, y: float, entry: Mapping[str, Any], colour: str, scale: float = 1.0) -> None:
    """Each seed as a faint dot, the mean as a full one, the interval as a bar, in one row."""
    values = numbers(entry["values"], scale)
    # 1 000 seeds would be a smear; a spread of 60 of them shows the same.
    shown = np.sort(values)[np.unique(np.linspace(0, values.size - 1, 60).astype(int))]
    axes.plot(shown, np.full(shown.size, y), "o", color=colour, alpha=0.3, markersize=4, mew=0)
    if entry["low"] is not None:
        ends = [scale * entry["low"], scale * entry["high"]]
        axes.plot(ends, [y, y], color=colour, linewidth=2, solid_capstyle="butt")
    if entry["mean"] is not None:
        axes.plot([scale * entry["mean"]], [y], "o", color=colour, markersize=7, mec="white")
