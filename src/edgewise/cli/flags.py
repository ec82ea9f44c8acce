"""Flags from the fields of a dataclass: names, types, defaults and what its docstring says."""

import inspect
import re
from collections.abc import Callable
from dataclasses import fields
from typing import Annotated, Any, get_type_hints

from cyclopts import Parameter


def flags_of(kind: type) -> Callable[[Callable[..., int]], Callable[..., int]]:
    """Gives a verb ``(…, **values)`` a flag for each field of a dataclass.

    Only what was said arrives in ``values``, so that a configuration file is overruled by flags and
    not by their defaults. The help is the Attributes section of the dataclass's docstring.

    Args:
        kind: A dataclass of plain fields with plain defaults.

    """

    def give(verb: Callable[..., int]) -> Callable[..., int]:
        signature = inspect.signature(verb)
        own = [p for p in signature.parameters.values() if p.kind is not p.VAR_KEYWORD]
        notes, types = _notes(kind), get_type_hints(kind)
        flags = [
            inspect.Parameter(
                f.name,
                inspect.Parameter.KEYWORD_ONLY,
                default=f.default,
                annotation=Annotated[types[f.name], Parameter(help=notes[f.name])],
            )
            for f in fields(kind)
        ]
        verb.__signature__ = signature.replace(parameters=[*own, *flags])  # type: ignore[attr-defined]
        verb.__annotations__ = {p.name: p.annotation for p in [*own, *flags]} | {"return": int}
        return verb

    return give


def _notes(kind: type) -> dict[str, str]:
    """What each field means, from the Attributes section."""
    text: Any = (inspect.getdoc(kind) or "").partition("Attributes:")[2]
    entries = re.findall(r"^    (\w+): (.+(?:\n        .+)*)", text, flags=re.MULTILINE)
    return {name: " ".join(note.split()) for name, note in entries}
