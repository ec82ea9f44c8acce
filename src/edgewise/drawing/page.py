"""Pages that open offline: one skeleton, one sheet of style, drawings inside."""

import base64
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import jinja2
from matplotlib.figure import Figure

from edgewise.drawing.save import png, settle, svg

LARGEST_SVG = 300_000
"""Bytes; a larger drawing is put into the page as a PNG."""


@dataclass(frozen=True)
class Picture:
    """A figure to show: its name as a file, what is said below it, and both forms of it.

    Example:
        >>> drawn = Picture("learning_curves", "Loss by epoch.", Figure())
        >>> drawn.png[1:4], drawn.html[:49]
        (b'PNG', '<svg role="img" aria-label="learning curves" view')
    """

    name: str
    caption: str
    figure: Figure

    @cached_property
    def png(self) -> bytes:
        """The figure as an image."""
        return png(self._settled)

    @cached_property
    def html(self) -> str:
        """The figure as a drawing in the page; as an image where that would be large."""
        drawing, title = svg(self._settled, self.name), self.name.replace("_", " ")
        if len(drawing) <= LARGEST_SVG:
            return drawing.replace("<svg", f'<svg role="img" aria-label="{title}"', 1)
        data = base64.b64encode(self.png).decode("ascii")
        return f'<img alt="{title}" src="data:image/png;base64,{data}">'

    @cached_property
    def _settled(self) -> Figure:
        return settle(self.figure)


def columns(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    """The headings of a table: the keys of all rows, in the order they appear.

    Example:
        >>> columns([{"a": 1}, {"b": 2, "a": 3}])
        ['a', 'b']
    """
    return list(dict.fromkeys(str(key) for row in rows for key in row))


def render(template: str | Path, content: Mapping[str, Any]) -> str:
    """A template filled in; one of HTML may extend ``page.html.j2`` and import ``parts.html.j2``.

    Args:
        template: A Jinja template; what stands in a file whose name has ``.html`` is escaped.
        content: What it asks for; to leave out one name is an error.

    Returns:
        The text, ending in one new line.
    """
    template = Path(template)
    templates = jinja2.Environment(
        loader=jinja2.FileSystemLoader([template.parent, Path(__file__).parent]),
        autoescape=lambda name: name is not None and ".html" in name,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    templates.globals["columns"] = columns
    return templates.get_template(template.name).render(content).rstrip() + "\n"
