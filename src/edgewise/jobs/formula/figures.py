"""Figures of a formula: truth against formula, what is left, and the front."""

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from edgewise.drawing import COLOURS, GREY, clean
from edgewise.jobs.formula.job import Formulas, Found
from edgewise.jobs.formula.text import r_squared, rounded, short
from edgewise.symbolic import to_function

MOST_DOTS = 2000
"""More rows than this would be a smear; as many are drawn, evenly chosen."""

_LEAST = 1e-17
"""Where an error of exactly 0 is drawn on a logarithmic axis."""


def fit(formulas: Formulas, found: Found) -> Figure:
    """The target against the formula, and what is left, on held-out rows and on those of before."""
    figure = Figure(figsize=(10, 4.6), layout="constrained")
    parity, left = figure.subplots(1, 2)
    k = formulas.table.targets.index(found.target)
    y = formulas.table.y[:, k]
    said = to_function(found.expression, formulas.names)(formulas.table.x)
    looks = (
        (formulas.train, "rows it was found on", GREY, "o", 10, 0.35),
        (formulas.test, "held-out rows", COLOURS[4], "D", 14, 0.8),
    )
    for rows, label, colour, marker, size, alpha in looks:
        rows = rows[np.unique(np.linspace(0, len(rows) - 1, MOST_DOTS).astype(int))]
        look = {"color": colour, "marker": marker, "s": size, "alpha": alpha, "linewidths": 0}
        parity.scatter(said[rows], y[rows], label=f"{len(rows)} {label}", **look)
        left.scatter(said[rows], y[rows] - said[rows], **look)
    ends = [float(y.min()), float(y.max())]
    parity.plot(ends, ends, color="black", linewidth=1, label="equal")
    left.axhline(0, color="black", linewidth=1)
    parity.set_ylabel(f"{found.target}, in the table", fontsize=9)
    left.set_ylabel(f"{found.target} minus formula", fontsize=9)
    for axes, title in ((parity, "Formula and table"), (left, "What is left")):
        axes.set_title(title, fontsize=10)
        axes.set_xlabel(f"{found.target}, by the formula", fontsize=9)
        clean(axes, "both")
    figure.legend(
        *parity.get_legend_handles_labels(),
        loc="outside lower center",
        ncols=3,
        fontsize=9,
        frameon=False,
    )
    figure.suptitle(
        f"{_short(found)}: R² {r_squared(found.test.r2)} on held-out rows, "
        f"relative error {short(found.test.relative)}",
        fontsize=11,
    )
    return figure


def front(found: Found) -> Figure:
    """Error against length of the best formula of each length."""
    figure = Figure(figsize=(8, 4.4), layout="constrained")
    axes = figure.subplots()
    lengths = [candidate.complexity for candidate, _ in found.front]
    train = [max(candidate.error, _LEAST) for candidate, _ in found.front]
    test = np.array([max(score.relative, _LEAST) for _, score in found.front])
    test = np.where(np.isfinite(test), test, np.nan)
    axes.plot(lengths, train, "o--", color=GREY, markersize=4, label="rows it was found on")
    axes.plot(lengths, test, "D-", color=COLOURS[4], markersize=5, label="held-out rows")
    best = [c.expression for c, _ in found.front].index(found.discovery.expression)
    look = {"mfc": "none", "mec": COLOURS[5], "mew": 2, "markersize": 13, "linestyle": "none"}
    axes.plot([lengths[best]], [train[best]], "o", **look, label=f"chosen: {_short(found, 70)}")
    axes.set_yscale("log")
    axes.set_ylim(bottom=min(train + [e for e in test if e == e]) / 5, top=5)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.margins(x=0.05)
    axes.set_xlabel("length of the formula (symbols, numbers and operations)", fontsize=9)
    axes.set_ylabel(f"root mean square error\n(standard deviations of {found.target})", fontsize=9)
    axes.set_title(f"Short or accurate: formulas of {found.target}", fontsize=11, loc="left")
    figure.legend(
        *axes.get_legend_handles_labels(),
        loc="outside lower center",
        ncols=2,
        fontsize=9,
        frameon=False,
    )
    clean(axes, "both")
    return figure


def _short(found: Found, most: int = 60) -> str:
    return _cut(f"{found.symbol} = {rounded(found.expression, 4)}", most)


def _cut(text: str, most: int) -> str:
    # A dollar would begin a formula of matplotlib's own.
    text = text.replace("$", r"\$")
    return text if len(text) <= most else text[: most - 1] + "…"
