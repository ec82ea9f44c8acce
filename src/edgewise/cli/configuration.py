"""From a JSON file and flags to the values of a study: flags overrule the file."""

import inspect
import json
import re
from collections.abc import Callable
from dataclasses import MISSING, Field, fields
from pathlib import Path
from typing import Annotated, Any

from cyclopts import Parameter

from edgewise.core import InputError, read_json
from edgewise.studies import Study

ConfigFile = Annotated[
    Path | None,
    Parameter(name=["CONFIG", "--config"], help="A JSON file of the options; flags overrule it."),
]
Folder = Annotated[Path, Parameter(help="The study's folder; run again with it, a study resumes.")]


def study_flags(verb: Callable[..., int]) -> Callable[..., int]:
    """Gives a verb ``(config, *, out, **values)`` a flag for each field of a study."""
    signature = inspect.signature(verb)
    own = [p for p in signature.parameters.values() if p.kind is not p.VAR_KEYWORD]
    notes = _field_notes()
    flags = [
        inspect.Parameter(
            f.name,
            inspect.Parameter.KEYWORD_ONLY,
            default=_shown_default(f),
            annotation=Annotated[_shown_type(f), Parameter(help=notes[f.name])],
        )
        for f in fields(Study)
    ]

    verb.__signature__ = signature.replace(parameters=[*own, *flags])  # type: ignore[attr-defined]
    verb.__annotations__ = {p.name: p.annotation for p in [*own, *flags]} | {"return": int}
    return verb


def read_values(config: Path | None, said: dict[str, Any]) -> dict[str, Any]:
    """The values of the file, overruled by the flags that were said."""
    values: dict[str, Any] = {}
    if config is not None:
        values = read_json(config)
        if not isinstance(values, dict):
            raise InputError(f"{config} must hold one JSON object, got {type(values).__name__}")
        # A resolved configuration is accepted back; the card is a note about the data.
        values.pop("data_card", None)
    return values | {name: _parse(name, value) for name, value in said.items()}


def _parse(name: str, value: Any) -> Any:
    if name in ("encoders", "analyses"):
        return [word.strip() for word in value.split(",") if word.strip()]
    if name == "dataset_options":
        return _pairs(name, value)
    if name == "encoder_options":
        nested: dict[str, dict[str, Any]] = {}
        for key, option in _pairs(name, value).items():
            encoder, dot, word = key.rpartition(".")
            if not dot:
                raise InputError(f"--encoder-options takes encoder.option=value, got {key!r}")
            nested.setdefault(encoder, {})[word] = option
        return nested
    return value


def _pairs(name: str, text: str) -> dict[str, Any]:
    """``a=1,b=x`` as a dictionary; values are JSON where they can be, words elsewhere."""
    pairs = {}
    for part in re.split(r",(?=[^\[\]{}]*=)", text):
        key, equals, value = part.partition("=")
        if not equals or not key.strip():
            raise InputError(f"--{name.replace('_', '-')} takes name=value pairs, got {part!r}")
        try:
            pairs[key.strip()] = json.loads(value)
        except json.JSONDecodeError:
            pairs[key.strip()] = value.strip()
    return pairs


def _field_notes() -> dict[str, str]:
    """What each field means, from the Attributes section of the study's docstring."""
    text = inspect.getdoc(Study).partition("Attributes:")[2]
    entries = re.findall(r"^    (\w+): (.+(?:\n        .+)*)", text, flags=re.MULTILINE)
    return {name: " ".join(note.split()) for name, note in entries}


def _shown_type(f: Field) -> Any:
    if f.name in ("encoders", "analyses", "dataset_options", "encoder_options"):
        return str
    return str | None if f.name == "data_dir" else f.type


def _shown_default(f: Field) -> Any:
    default = f.default_factory() if f.default is MISSING else f.default
    return ",".join(default) if isinstance(default, (tuple, dict)) else default
