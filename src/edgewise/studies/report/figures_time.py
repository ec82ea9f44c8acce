"""Figures of time: score by sequence length, and the functions of time that were learned."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure, SubFigure

from edgewise.drawing import COLOURS, LINES, clean, message, numbers
from edgewise.studies.report.figures_results import NOTHING
from edgewise.studies.report.look import drawn, level, of_how_many, style

MAX_MIXTURES = 3
MAX_PLAIN = 5
MAX_FUNCTIONS = 3

# A row of panels: its title, and for each panel a title, the trial's curves and the family in them.
Row = tuple[str, list[tuple[str, Mapping[str, np.ndarray], str]]]


def temporal_patterns(
    analysis: Mapping[str, Any], curves: Mapping[str, Mapping[str, np.ndarray]]
) -> Figure:
    """Accuracy by the number of events, above the learned functions of time.

    Args:
        analysis: What `edgewise.studies.report.analysis.analyse` returned.
        curves: Of each variant that has any, the arrays of one trial's `Trial.curves`.
    """
    names = drawn(analysis)
    if not names:
        return message(NOTHING)
    rows = _rows(analysis, curves)
    figure = Figure(figsize=(10, 4.4 + 2.2 * len(rows)), layout="constrained")
    parts = figure.subfigures(1 + len(rows), 1, height_ratios=[4.2] + [2.2] * len(rows))
    parts = np.atleast_1d(parts)
    _by_length(parts[0], analysis, names)
    for part, (title, panels) in zip(parts[1:], rows, strict=True):
        _functions(part, title, panels)
    return figure


def families(curves: Mapping[str, np.ndarray]) -> list[str]:
    """The families of learned functions in a trial's curves: experts, then the rest.

    Example:
        >>> families({"time": 0, "router": 0, "density": 0, "expert:spline": 0})
        ['expert:spline', 'router']
    """
    names = [name for name in curves if name not in ("time", "density")]
    return sorted(names, key=lambda name: (not name.startswith("expert:"), name == "router"))


def _rows(analysis: Mapping[str, Any], curves: Mapping[str, Mapping[str, np.ndarray]]) -> list[Row]:
    """A row for each mixture, a panel an expert; one row for all the others, a panel a variant."""
    having = [name for name in analysis["ranking"] if families(curves.get(name, {}))]
    mixtures = [name for name in having if len(families(curves[name])) > 1][:MAX_MIXTURES]
    plain = [name for name in having if len(families(curves[name])) == 1][:MAX_PLAIN]
    rows: list[Row] = [
        (name, [(f.removeprefix("expert:"), curves[name], f) for f in families(curves[name])])
        for name in mixtures
    ]
    if plain:
        panels = [(name, curves[name], families(curves[name])[0]) for name in plain]
        rows.append(("Encoders without experts", panels))
    return rows


def _by_length(part: SubFigure, analysis: Mapping[str, Any], names: list[str]) -> None:
    axes = part.subplots()
    bins = analysis["by_length"]["bins"]
    for place, name in enumerate(names):
        entries = analysis["by_length"]["variants"][name]
        mean, low, high = (
            numbers([e[key] for e in entries], 100) for key in ("mean", "low", "high")
        )
        # Side by side, so that no interval hides another.
        x = np.arange(len(bins)) + 0.7 * ((place + 0.5) / len(names) - 0.5)
        look = style(analysis, name)
        axes.errorbar(
            x,
            mean,
            (np.nan_to_num(mean - low), np.nan_to_num(high - mean)),
            fmt=look["marker"],
            color=look["color"],
            markersize=5,
            linewidth=1.2,
            label=name,
        )
    ticks = [_bin(bin_) for bin_ in bins]
    axes.set_xticks(range(len(bins)), ticks, fontsize=8)
    for edge in range(len(bins) - 1):
        axes.axvline(edge + 0.5, color="#cccccc", linewidth=0.6)
    axes.set_xlim(-0.5, len(bins) - 0.5)
    axes.set_xlabel(f"{analysis['study']['length']} in the sequence", fontsize=9)
    axes.set_ylabel("test accuracy (%)", fontsize=9)
    clean(axes)
    part.legend(loc="outside right center", fontsize=8, frameon=False)
    part.suptitle(
        f"Accuracy by sequence length: mean and {level(analysis)} interval over seeds and items"
        f"{of_how_many(analysis)}",
        fontsize=11,
    )


def _bin(bin_: Mapping[str, int]) -> str:
    ends = sorted({bin_["shortest"], bin_["longest"]})
    return f"{'–'.join(str(end) for end in ends)}\n({bin_['items']} items)"


def _functions(
    part: SubFigure, title: str, panels: list[tuple[str, Mapping[str, np.ndarray], str]]
) -> None:
    """A row of panels over the density of the training events."""
    drawn_on = part.subplots(1, len(panels), squeeze=False)[0]
    for axes, (name, curves, family) in zip(drawn_on, panels, strict=True):
        router = family == "router"
        _panel(axes, curves["time"], np.asarray(curves[family], float), curves["density"], router)
        axes.set_title(name, fontsize=9)
        if router:
            axes.set_ylabel("weight", fontsize=8)
            _name_experts(axes, [n for n, _, other in panels if other.startswith("expert:")])
    drawn_on[0].set_ylabel("value", fontsize=8)
    part.supxlabel("time (the data's units)", fontsize=8)
    part.suptitle(
        f"{title}: some learned functions of time (one seed); grey: the training events",
        fontsize=10,
    )


def _name_experts(axes: Axes, experts: list[str]) -> None:
    if len(experts) == len(axes.lines):
        axes.legend(
            axes.lines,
            experts,
            fontsize=6,
            frameon=False,
            loc="center left",
            bbox_to_anchor=(1, 0.5),
        )


def _panel(
    axes: Axes, time: np.ndarray, values: np.ndarray, density: np.ndarray, router: bool
) -> None:
    count = values.shape[1]
    which = np.unique(np.linspace(0, count - 1, min(count, MAX_FUNCTIONS)).astype(int))
    for place, column in enumerate(range(count) if router else which):
        colour = COLOURS[(place + router) % len(COLOURS)]
        axes.plot(time, values[:, column], color=colour, linestyle=LINES[place % 4], linewidth=1.1)
    low, high = axes.get_ylim()
    # A third of the panel's height, standing on its floor; its own scale says nothing here.
    floor = low - 0.35 * (high - low)
    where, share = _coarse(np.asarray(time, float), np.asarray(density, float))
    top = floor + 0.33 * (high - low) * share
    axes.fill_between(where, floor, top, color="#cccccc", linewidth=0, step="mid")
    # Below the curves the scale is the density's, which needs no numbers.
    axes.set_yticks([tick for tick in axes.get_yticks() if low <= tick <= high])
    axes.set_ylim(floor, high)
    clean(axes)
    axes.tick_params(labelsize=7)
    axes.xaxis.get_major_locator().set_params(nbins=4)


def _coarse(time: np.ndarray, density: np.ndarray, bins: int = 80) -> tuple[np.ndarray, np.ndarray]:
    """The density in fewer, wider bins, its highest 1: finer ones are ragged and say no more."""
    parts = np.array_split(np.arange(time.size), min(bins, time.size))
    mean = np.array([density[part].mean() for part in parts])
    return np.array([time[part].mean() for part in parts]), mean / max(float(mean.max()), 1e-300)
