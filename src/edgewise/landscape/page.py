"""One HTML file with a figure that answers to the pointer; no script or style from elsewhere."""

import html
import json
import math
from collections.abc import Sequence
from importlib.resources import files
from typing import Any


def line_page(
    title: str,
    x_label: str,
    x: Sequence[float],
    panels: Sequence[tuple[str, Sequence[dict[str, Any]]]],
    note: str,
    at: Sequence[float] | None = None,
) -> str:
    """Panels of lines over one x, with all values under the pointer.

    Args:
        title: Above the figure.
        x_label: Of the shared axis.
        x: Ascending.
        panels: Label of the y axis, and lines: ``name``, ``y`` and maybe ``low`` and ``high``.
        note: Below the figure.
        at: Where each x stands, for an axis that is not linear; None is x itself.

    Example:
        >>> page = line_page("T", "α", [0, 1], [("loss", [{"name": "a", "y": [1, 2]}])], "n")
        >>> "https://" in page, "<title>T</title>" in page
        (False, True)

    """
    found = [{"label": label, "lines": list(lines)} for label, lines in panels]
    figure = {
        "kind": "lines",
        "x": list(x),
        "at": list(at or x),
        "xLabel": x_label,
        "panels": found,
    }
    return _page(title, note, figure)


def heat_page(
    title: str, a: Sequence[float], b: Sequence[float], loss: Sequence[Sequence[float]]
) -> str:
    """A plane of coloured cells, ``loss[i][j]`` at (a_i, b_j), with the value under the pointer."""
    note = "cells are coloured by rank; the model is in the middle"
    return _page(title, note, {"kind": "heat", "a": list(a), "b": list(b), "loss": list(loss)})


def _page(title: str, note: str, figure: dict[str, Any]) -> str:
    template = files("edgewise.landscape").joinpath("page.html").read_text(encoding="utf-8")
    # "</" would end the script that the numbers stand in.
    data = json.dumps(_finite(figure), ensure_ascii=False).replace("</", "<\\/")
    parts = {"TITLE": html.escape(title), "NOTE": html.escape(note), "DATA": data}
    for name, text in parts.items():
        template = template.replace(f"%{name}%", text)
    return template


def _finite(value: Any) -> Any:
    """JSON knows neither NaN nor infinity: they become gaps."""
    if isinstance(value, dict):
        return {key: _finite(part) for key, part in value.items()}
    if isinstance(value, (list, tuple)):
        return [_finite(part) for part in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
