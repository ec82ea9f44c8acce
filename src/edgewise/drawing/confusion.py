"""Matrices of mistakes: what is taken for what."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes


def shares(counts: Sequence[Sequence[int]]) -> np.ndarray:
    """Counts (C, C) by true class and answer, in percent of each true class.

    Example:
        >>> shares([[3, 1], [0, 0]]).tolist()
        [[75.0, 25.0], [0.0, 0.0]]
    """
    counts = np.asarray(counts, dtype=float)
    return 100 * counts / np.maximum(counts.sum(1, keepdims=True), 1)


def matrix(axes: Axes, share: np.ndarray, classes: Sequence[str], top: float) -> Any:
    """Draws shares (C, C) in percent, right answers grey, colours up to ``top``.

    Returns:
        The image, to draw a colour bar of.
    """
    size = len(classes)
    diagonal = np.eye(size, dtype=bool)
    image = axes.imshow(np.where(diagonal, np.nan, share), cmap="YlOrRd", vmin=0, vmax=top)
    axes.set_facecolor("#eeeeee")
    if size <= 12:
        axes.set_xticks(range(size), classes, fontsize=7)
        axes.set_yticks(range(size), classes, fontsize=7)
        if max(len(str(name)) for name in classes) > 2:
            axes.tick_params(axis="x", rotation=60)
        for (row, column), value in np.ndenumerate(share):
            if value >= 0.5 or row == column:
                dark = row != column and value > 0.6 * top
                colour = "#444444" if row == column else "white" if dark else "black"
                axes.text(
                    column, row, f"{value:.0f}", ha="center", va="center", fontsize=6, color=colour
                )
    return image
