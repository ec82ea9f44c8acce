"""What all figures share: colours that stay apart, few lines."""

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

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


def numbers(values: Sequence[float | None], scale: float = 1.0) -> np.ndarray:
    """An array to draw; what is unknown becomes a gap."""
    return scale * np.array([np.nan if value is None else value for value in values], dtype=float)


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
