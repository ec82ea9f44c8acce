"""A figure as a file or as part of a page: the same figure gives the same bytes."""

import io
import re
from pathlib import Path

import matplotlib
from matplotlib.figure import Figure

from edgewise.core import write_atomically


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
