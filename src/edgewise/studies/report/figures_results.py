"""Figures of what came out: scores, confusion, and which differences are established."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from matplotlib.ticker import EngFormatter

from edgewise.drawing import GREY, clean, message
from edgewise.drawing.confusion import matrix, shares
from edgewise.studies.report.look import dots, drawn, level, metric, of_how_many, style
from edgewise.studies.statistics.verdicts import ALPHA, MIN_SEEDS, established, too_few_seeds

NOTHING = "No trial finished, so there is nothing to draw."


def accuracy_overview(analysis: Mapping[str, Any]) -> Figure:
    """Test score with its interval and every seed, beside parameters and seconds an epoch."""
    names = drawn(analysis)
    if not names:
        return message(NOTHING)
    figure = Figure(figsize=(9, 1.5 + 0.34 * len(names)), layout="constrained")
    score, size, cost = figure.subplots(1, 3, sharey=True, width_ratios=(3, 1, 1))
    for y, name in enumerate(names):
        entry = analysis["variants"][name]
        colour = style(analysis, name)["color"]
        dots(score, y, entry["test_score"], colour, 100)
        for axes, key in ((size, "parameters"), (cost, "seconds_per_epoch")):
            if entry[key] is not None:
                axes.plot([entry[key]], [y], "D", color=colour, markersize=5)
    score.set_yticks(range(len(names)), names)
    score.set_ylim(len(names) - 0.4, -0.6)
    score.set_xlabel(f"test {metric(analysis)} (%)")
    size.set_xlabel("parameters")
    size.xaxis.set_major_formatter(EngFormatter(sep=""))
    size.xaxis.get_major_locator().set_params(nbins=4)
    cost.set_xlabel("seconds an epoch")
    for axes in (score, size, cost):
        clean(axes, "both")
        axes.tick_params(axis="y", length=0)
    for axes in (size, cost):
        # Room on the right, so that the largest marker is drawn whole.
        axes.set_xlim(0, 1.1 * axes.get_xlim()[1])
    figure.suptitle(
        f"Test {metric(analysis)}: mean over seeds, {level(analysis)} interval, each seed a faint "
        f"dot{of_how_many(analysis)}",
        fontsize=11,
    )
    return figure


def confusion_matrices(analysis: Mapping[str, Any]) -> Figure:
    """One matrix a variant, summed over seeds; the mistakes carry the colour, not the diagonal."""
    names = drawn(analysis)
    if not names:
        return message(NOTHING)
    classes = analysis["study"]["classes"]
    columns = min(3, len(names))
    rows = -(-len(names) // columns)
    figure = Figure(figsize=(max(6.0, 3.4 * columns + 0.6), 3.3 * rows + 0.9), layout="constrained")
    panels = figure.subplots(rows, columns, squeeze=False)
    found = {name: shares(analysis["confusion"][name]) for name in names}
    top = max(float((share * ~np.eye(len(classes), dtype=bool)).max()) for share in found.values())
    image = None
    for axes, name in zip(panels.flat, names, strict=False):
        image = matrix(axes, found[name], classes, max(top, 0.01))
        axes.set_title(name, fontsize=10)
    for axes in panels.flat[len(names) :]:
        axes.set_axis_off()
    for axes in panels[:, 0]:
        axes.set_ylabel("true class", fontsize=9)
    for place in range(columns):
        panels[(len(names) - 1 - place) // columns, place].set_xlabel("answer", fontsize=9)
    bar = figure.colorbar(image, ax=panels, shrink=0.6, pad=0.01)
    bar.set_label("answered wrongly (% of the true class)", fontsize=9)
    bar.ax.tick_params(labelsize=8)
    figure.suptitle(
        f"Which classes are taken for which: percent of each true class, all seeds together; "
        f"correct answers in grey{of_how_many(analysis)}",
        fontsize=11,
        wrap=True,
    )
    return figure


def statistical_significance(analysis: Mapping[str, Any]) -> Figure:
    """Differences from the leader with intervals, and the adjusted p of every pair."""
    names = drawn(analysis)
    if len(names) < 2:
        return message(
            "A comparison needs two variants with finished trials." if names else NOTHING
        )
    few = not analysis["study"]["enough_seeds"]
    height = 2.2 + 0.42 * len(names) + (0.4 if few else 0)
    figure = Figure(figsize=(11, max(3.4, height)), layout="constrained")
    forest, matrix = figure.subplots(1, 2, width_ratios=(1.15, 1))
    pairs = {(pair["a"], pair["b"]): pair for pair in analysis["pairs"]}
    _forest(forest, names, pairs, analysis)
    _p_values(matrix, names, pairs)
    title = f"Which differences in test {metric(analysis)} are established{of_how_many(analysis)}"
    if few:
        most = max(pair["seeds"] for pair in analysis["pairs"])
        title += f"\n{too_few_seeds(most)}"
    figure.suptitle(title, fontsize=11, color="#a33c00" if few else "black", wrap=True)
    return figure


def _forest(
    axes: Axes,
    names: Sequence[str],
    pairs: Mapping[tuple[str, str], Mapping[str, Any]],
    analysis: Mapping[str, Any],
) -> None:
    leader, others = names[0], names[1:]
    axes.axvline(0, color="black", linewidth=0.8)
    for y, other in enumerate(others):
        pair = pairs[leader, other]
        if pair["difference_points"] is None:
            continue
        sure = established(pair)
        colour = "#0072b2" if sure else GREY
        if pair["low_points"] is not None:
            axes.plot([pair["low_points"], pair["high_points"]], [y, y], color=colour, linewidth=2)
        axes.plot(
            [pair["difference_points"]],
            [y],
            "o",
            color=colour,
            markerfacecolor=colour if sure else "white",
            markersize=7,
        )
    axes.plot([], [], "o-", color="#0072b2", label="established")
    axes.plot([], [], "o-", color=GREY, markerfacecolor="white", label="not established")
    axes.legend(fontsize=8, frameon=False, loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=2)
    axes.set_yticks(range(len(others)), others)
    axes.set_ylim(len(others) - 0.4, -0.6)
    axes.set_xlabel(
        f"{leader} minus the other: points of test {metric(analysis)}, {level(analysis)} interval",
        fontsize=9,
    )
    clean(axes, "x")


def _p_values(
    axes: Axes, names: Sequence[str], pairs: Mapping[tuple[str, str], Mapping[str, Any]]
) -> None:
    """Lower triangle of adjusted p; the claims stand out, all else is grey."""
    size = len(names)
    for row in range(1, size):
        for column in range(row):
            pair = pairs.get((names[column], names[row]))
            if pair is None:
                continue
            claimed = established(pair)
            axes.add_patch(_cell(column, row, "#0072b2" if claimed else "#e8e8e8"))
            axes.text(
                column,
                row,
                _p_text(pair),
                ha="center",
                va="center",
                fontsize=7.5 if size <= 8 else 6.5,
                color="white" if claimed else "#333333",
            )
    axes.set_xlim(-0.5, size - 1.5)
    axes.set_ylim(size - 0.5, 0.5)
    axes.set_xticks(range(size - 1), names[:-1], rotation=45, ha="right", fontsize=8)
    axes.set_yticks(range(1, size), names[1:], fontsize=8)
    axes.spines[:].set_visible(False)
    axes.tick_params(length=0)
    axes.set_title(
        f"p, adjusted for all comparisons (Holm)\nblue: the column is established as better "
        f"(p < {ALPHA:g}, at least {MIN_SEEDS} seeds)",
        fontsize=9,
    )


def _cell(column: int, row: int, colour: str) -> Rectangle:
    return Rectangle((column - 0.47, row - 0.45), 0.94, 0.9, color=colour, linewidth=0)


def _p_text(pair: Mapping[str, Any]) -> str:
    """The adjusted p; none under six seeds, where `calibrate` shows that it can't be trusted."""
    p = pair["p_holm"]
    if p is None or pair["seeds"] < MIN_SEEDS:
        return "too few\nseeds"
    return "<.001" if p < 0.001 else f"{p:.3f}" if p < 0.1 else f"{p:.2f}"
