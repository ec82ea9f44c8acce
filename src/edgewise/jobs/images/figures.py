"""Figures of one network trained on images: how it learned, and what it takes for what."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from edgewise.drawing import COLOURS, GREY, clean, numbers
from edgewise.drawing.confusion import matrix, shares

_LOOKS = {
    "train": {"color": COLOURS[4], "linestyle": "--", "marker": "s"},
    "validation": {"color": COLOURS[5], "linestyle": "-", "marker": "o"},
}


def learning_curves(rows: Sequence[Mapping[str, Any]], best: int, title: str) -> Figure:
    """Loss and accuracy by epoch, in training and on the validation images.

    Args:
        rows: A history, as `edgewise.train.fit` gives it.
        best: The epoch whose weights were kept.
        title: What was trained.

    """
    figure = Figure(figsize=(10, 4.4), layout="constrained")
    loss, accuracy = figure.subplots(1, 2)
    _curves(loss, rows, "loss", 1.0)
    loss.set_ylabel("loss (cross-entropy, nats)", fontsize=9)
    _curves(accuracy, rows, "accuracy", 100.0)
    accuracy.set_ylabel("accuracy (%)", fontsize=9)
    for axes in (loss, accuracy):
        axes.axvline(best, color=GREY, linewidth=1, linestyle=":", label=f"kept: epoch {best}")
        axes.set_xlabel("epoch", fontsize=9)
        axes.xaxis.get_major_locator().set_params(integer=True)
        clean(axes)
    handles, labels = loss.get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=3, fontsize=9, frameon=False)
    figure.suptitle(f"How it learned: {title}", fontsize=11, wrap=True)
    return figure


def confusion(counts: Sequence[Sequence[int]], classes: Sequence[str], title: str) -> Figure:
    """Which classes are taken for which, in percent of each true class.

    Args:
        counts: (C, C) images by true class and answer.
        classes: The names of the classes.
        title: What was tested.

    """
    share = shares(counts)
    wrong = share * ~np.eye(len(classes), dtype=bool)
    figure = Figure(figsize=(6.6, 5.6), layout="constrained")
    axes = figure.subplots()
    image = matrix(axes, share, classes, max(float(wrong.max()), 0.01))
    axes.set_xlabel("answer", fontsize=9)
    axes.set_ylabel("true class", fontsize=9)
    bar = figure.colorbar(image, ax=axes, shrink=0.8)
    bar.set_label("answered wrongly (% of the true class)", fontsize=9)
    bar.ax.tick_params(labelsize=8)
    figure.suptitle(f"{title}\npercent of each true class, right answers in grey", fontsize=10)
    return figure


def _curves(axes: Axes, rows: Sequence[Mapping[str, Any]], what: str, scale: float) -> None:
    epochs = [row["epoch"] for row in rows]
    every = max(1, len(rows) // 10)
    for part, look in _LOOKS.items():
        values = numbers([row[f"{part}_{what}"] for row in rows], scale)
        label = "training (as it went by)" if part == "train" else "validation"
        axes.plot(epochs, values, **look, label=label, linewidth=1.5, markersize=4, markevery=every)
