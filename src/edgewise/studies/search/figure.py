"""How a search went: every point in the order it was tried, and the best so far."""

from collections.abc import Sequence
from itertools import accumulate

from matplotlib.figure import Figure

from edgewise.drawing import COLOURS, GREY, clean
from edgewise.studies.search.search import Tried

_LOOKS = {
    "complete": {"color": COLOURS[4], "marker": "o", "label": "trained to its end"},
    "pruned": {"color": GREY, "marker": "x", "label": "pruned (its best epoch so far)"},
}


def search_history(tried: Sequence[Tried], score: str, title: str) -> Figure:
    """Scores by trial, the pruned ones crossed, and a line for the best so far.

    Args:
        tried: All points, in their order.
        score: What the score is, with its unit.
        title: What was searched.

    Example:
        >>> tried = [Tried(0, "complete", 0.5, 2, {}, {}), Tried(1, "failed", None, 0, {}, {})]
        >>> len(search_history(tried, "validation accuracy", "lete on digits").axes)
        1

    """
    figure = Figure(figsize=(7.6, 4), layout="constrained")
    axes = figure.subplots()
    for state, look in _LOOKS.items():
        those = [one for one in tried if one.state == state and one.score is not None]
        if those:
            x, y = [one.number + 1 for one in those], [one.score for one in those]
            axes.plot(x, y, linestyle="", markersize=5, **look)
    whole = [one for one in tried if one.state == "complete"]
    best = list(accumulate((one.score for one in whole), max))
    places = [one.number + 1 for one in whole]
    label = "best so far"
    axes.step(places, best, where="post", color=COLOURS[5], linewidth=1.5, label=label)
    axes.set_xlabel("trial", fontsize=9)
    axes.set_ylabel(score, fontsize=9)
    axes.xaxis.get_major_locator().set_params(integer=True)
    clean(axes)
    figure.legend(loc="outside lower center", ncols=3, fontsize=9, frameon=False)
    failed = sum(one.state == "failed" for one in tried)
    more = f", {failed} failed" if failed else ""
    figure.suptitle(f"Search: {title} ({len(tried)} trials{more})", fontsize=11, wrap=True)
    return figure
