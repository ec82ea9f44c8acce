"""Figures of how the runs went: learning curves, convergence, use of experts."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from edgewise.drawing import COLOURS, LINES, clean, message, numbers
from edgewise.studies.report.figures_results import NOTHING
from edgewise.studies.report.look import band, dots, drawn, level, metric, of_how_many, style


def training_curves(analysis: Mapping[str, Any]) -> Figure:
    """Validation score and loss by epoch: mean over seeds and its interval."""
    names = drawn(analysis)
    if not names:
        return message(NOTHING)
    figure = Figure(figsize=(10, 4.6), layout="constrained")
    score, loss = figure.subplots(1, 2)
    for name in names:
        curves = analysis["variants"][name]["curves"]
        look = style(analysis, name) | {"label": name}
        band(score, curves["epoch"], curves["validation_score"], look | {"scale": 100})
        band(loss, curves["epoch"], curves["validation_loss"], look)
    score.set_ylabel(f"validation {metric(analysis)} (%)", fontsize=9)
    loss.set_ylabel(f"validation loss ({analysis['study']['loss']})", fontsize=9)
    for axes in (score, loss):
        axes.set_xlabel("epoch", fontsize=9)
        axes.xaxis.get_major_locator().set_params(integer=True)
        clean(axes)
    _legend(figure, score, len(names))
    figure.suptitle(
        f"How the variants learn: mean over seeds, band = {level(analysis)} interval"
        f"{of_how_many(analysis)}",
        fontsize=11,
    )
    return figure


def convergence_analysis(analysis: Mapping[str, Any]) -> Figure:
    """Validation score against training time, and the epoch at which runs have converged."""
    names = drawn(analysis)
    if not names:
        return message(NOTHING)
    figure = Figure(figsize=(10, max(4.4, 2 + 0.34 * len(names))), layout="constrained")
    cost, epoch = figure.subplots(1, 2, width_ratios=(1.3, 1))
    for y, name in enumerate(names):
        entry = analysis["variants"][name]
        look = style(analysis, name) | {"label": name, "scale": 100}
        band(cost, entry["curves"]["seconds"], entry["curves"]["validation_score"], look)
        dots(epoch, y, entry["convergence_epoch"], look["color"])
    cost.set_xlabel("seconds of training (mean over seeds)", fontsize=9)
    cost.set_ylabel(f"validation {metric(analysis)} (%)", fontsize=9)
    clean(cost)
    epoch.set_yticks(range(len(names)), names)
    epoch.set_ylim(len(names) - 0.4, -0.6)
    epoch.set_xlim(left=0)
    epoch.set_xlabel("first epoch within 0.5 points of the run's best", fontsize=9)
    clean(epoch, "x")
    _legend(figure, cost, len(names))
    figure.suptitle(
        f"What training costs: mean over seeds, {level(analysis)} interval, each seed a faint dot"
        f"{of_how_many(analysis)}",
        fontsize=11,
    )
    return figure


def expert_usage(analysis: Mapping[str, Any]) -> Figure:
    """The share of the router's choices that fell on each expert, and how it went by epoch."""
    names = [name for name in drawn(analysis) if name in analysis["experts"]]
    if not names:
        return message("No variant of this study has experts, so there is no use of them to show.")
    over = any(analysis["experts"][name]["over_epochs"] for name in names)
    figure = Figure(
        figsize=(max(7, 3.4 * len(names) + 0.8), 6 if over else 3.4), layout="constrained"
    )
    panels = figure.subplots(2 if over else 1, len(names), squeeze=False, sharey=True)
    for column, name in enumerate(names):
        entry = analysis["experts"][name]
        _bars(panels[0, column], entry)
        panels[0, column].set_title(name, fontsize=10)
        if over:
            _over_epochs(panels[1, column], entry)
    if over:
        _legend(figure, panels[1, 0], len(analysis["experts"][names[0]]["experts"]))
    for axes in panels[:, 0]:
        axes.set_ylabel("router's choices (%)", fontsize=9)
    figure.suptitle(
        f"Which experts are used: mean over seeds, {level(analysis)} interval"
        f"{'; below, by epoch' if over else ''}",
        fontsize=11,
    )
    return figure


def _bars(axes: Axes, entry: Mapping[str, Any]) -> None:
    mean = numbers([share["mean"] for share in entry["selected"]], 100)
    low = numbers([share["low"] for share in entry["selected"]], 100)
    high = numbers([share["high"] for share in entry["selected"]], 100)
    x = np.arange(mean.size)
    axes.bar(x, mean, color=[_look(place)["color"] for place in x], width=0.65, alpha=0.85)
    axes.errorbar(x, mean, (mean - low, high - mean), fmt="none", ecolor="#555555", capsize=3)
    labels = [f"{n}\n(dead)" if n in entry["dead"] else n for n in entry["experts"]]
    axes.set_xticks(x, labels, fontsize=8)
    axes.set_ylim(bottom=0)
    clean(axes)


def _over_epochs(axes: Axes, entry: Mapping[str, Any]) -> None:
    over = entry["over_epochs"]
    if over is None:
        axes.set_axis_off()
        return
    for place, (expert, share) in enumerate(zip(entry["experts"], over["selected"], strict=True)):
        axes.plot(over["epoch"], 100 * np.array(share), **_look(place), label=expert, linewidth=1.6)
    axes.set_xlabel("epoch", fontsize=9)
    axes.xaxis.get_major_locator().set_params(integer=True)
    clean(axes)


def _look(place: int) -> dict[str, str]:
    # Not black: a black bar hides its own interval.
    return {"color": COLOURS[1 + place % (len(COLOURS) - 1)], "linestyle": LINES[place % 4]}


def _legend(figure: Figure, axes: Axes, entries: int) -> None:
    """Below the panels, where it covers no data."""
    handles, labels = axes.get_legend_handles_labels()
    figure.legend(
        handles,
        labels,
        loc="outside lower center",
        ncols=min(entries, 6),
        fontsize=8,
        frameon=False,
        handlelength=3.5,
    )
