"""What all figures share: colours that stay apart, intervals, saving without a date."""

import io
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from edgewise.core import write_atomically

# Okabe and Ito (2008): told apart by people with any of the common colour deficiencies. Yellow
# can't be read on white; wine and grey stand in for it, so that nine encoders have nine colours.
COLOURS = (
    "#000000",
    "#e69f00",
    "#56b4e9",
    "#009e73",
    "#0072b2",
    "#d55e00",
    "#cc79a7",
    "#882255",
    "#888888",
)
MARKERS = ("o", "s", "^", "D", "v", "P", "X", "<", ">", "p", "h", "*")
LINES = ("-", "--", "-.", ":")
GREY = "#767676"

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


def numbers(values: Sequence[float | None], scale: float = 1.0) -> np.ndarray:
    """An array to draw; what is unknown becomes a gap."""
    return scale * np.array([np.nan if value is None else value for value in values], dtype=float)


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


def clean(axes: Axes, grid: str = "y") -> None:
    """Fewer lines: no box, a faint grid along one direction."""
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(axis=grid, color="#dddddd", linewidth=0.6)
    axes.set_axisbelow(True)
    axes.tick_params(labelsize=8)


def message(text: str) -> Figure:
    """A figure that only says something, where there is nothing to draw."""
    figure = Figure(figsize=(7, 1.6), layout="constrained")
    figure.text(0.5, 0.5, text, ha="center", va="center", fontsize=11, wrap=True)
    return figure


def settle(figure: Figure) -> Figure:
    """Works out the layout once, for all files that are made of the figure: half of their cost."""
    figure.draw_without_rendering()
    figure.set_layout_engine("none")
    return figure


def save_png(figure: Figure, path: str | Path) -> Path:
    """Writes a PNG that depends on nothing but the figure."""
    return write_atomically(path, png(figure))


def png(figure: Figure, dpi: int = 144) -> bytes:
    """The figure as a PNG."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=dpi, metadata={"Software": None}, facecolor="white")
    return buffer.getvalue()


def svg(figure: Figure, name: str) -> str:
    """The figure as an SVG element to stand in an HTML page.

    Args:
        figure: What to draw.
        name: Starts every id, so that several figures in one page don't share any.

    Returns:
        The element, without a date, links or name spaces that HTML does not need.
    """
    buffer = io.StringIO()
    with matplotlib.rc_context({"svg.hashsalt": name, "svg.fonttype": "path"}):
        figure.savefig(buffer, format="svg", metadata={"Date": None}, facecolor="white")
    text = buffer.getvalue()
    text = text[text.index("<svg") :]
    text = re.sub(r"<metadata>.*?</metadata>\s*", "", text, flags=re.DOTALL)
    text = re.sub(r"<!--.*?-->\s*", "", text, flags=re.DOTALL)
    text = re.sub(r'\sxmlns(:\w+)?="[^"]*"', "", text)
    text = text.replace("xlink:href", "href")
    text = re.sub(r'(\bid="|href="#|url\(#)', rf"\g<1>{name}-", text)
    # Without a size of its own it fills the column it stands in; the viewBox keeps its shape.
    return re.sub(r'\s(?:width|height)="[\d.]+pt"', "", text, count=2)
