"""From a JSON file and flags to the values of a study: flags overrule the file."""

import inspect
import re
from collections.abc import Callable
from dataclasses import MISSING, Field, fields
from pathlib import Path
from typing import Annotated, Any

from cyclopts import Parameter

from edgewise.core import InputError, parse_json, read_json
from edgewise.studies import STUDIES, AbstractStudy, EncoderStudy

ConfigFile = Annotated[
    Path | None,
    Parameter(name=["CONFIG", "--config"], help="A JSON file of the options; flags overrule it."),
]
Folder = Annotated[Path, Parameter(help="The study's folder; run again with it, a study resumes.")]
_LISTS = ("encoders", "models", "analyses")
_NESTED = ("encoder_options", "model_options")
_PAIRS = ("dataset_options", "rates", "unfreeze")


def study_flags(verb: Callable[..., int]) -> Callable[..., int]:
    """Gives a verb ``(config, *, out, **values)`` ``--study`` and a flag for each field of a kind.

    A flag that the chosen kind does not have is refused when the study is made.
    """
    signature = inspect.signature(verb)
    own = [p for p in signature.parameters.values() if p.kind is not p.VAR_KEYWORD]
    chosen = inspect.Parameter(
        "study",
        inspect.Parameter.KEYWORD_ONLY,
        default=EncoderStudy.kind,
        annotation=Annotated[str, Parameter(help=f"What is compared: {', '.join(STUDIES)}.")],
    )
    flags = [chosen, *_flags()]
    verb.__signature__ = signature.replace(parameters=[*own, *flags])  # type: ignore[attr-defined]
    verb.__annotations__ = {p.name: p.annotation for p in [*own, *flags]} | {"return": int}
    return verb


def _flags() -> list[inspect.Parameter]:
    """A flag for each field of any kind of study, as the first kind that has it shows it."""
    kinds = [STUDIES.resolve(name) for name in STUDIES]
    having: dict[str, list[type[AbstractStudy]]] = {}
    for kind in kinds:
        for f in fields(kind):
            having.setdefault(f.name, []).append(kind)
    flags = []
    for name, those in having.items():
        f = next(f for f in fields(those[0]) if f.name == name)
        note = _field_notes(those[0])[name]
        if len(those) < len(kinds):
            note += f" (--study {' | '.join(kind.kind for kind in those)})"
        flags.append(
            inspect.Parameter(
                name,
                inspect.Parameter.KEYWORD_ONLY,
                default=_shown_default(f),
                annotation=Annotated[_shown_type(f), Parameter(help=note)],
            )
        )
    return flags


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
    if name in _LISTS:
        return [word.strip() for word in value.split(",") if word.strip()]
    if name in _PAIRS:
        return _pairs(name, value)
    if name in _NESTED:
        nested: dict[str, dict[str, Any]] = {}
        for key, option in _pairs(name, value).items():
            subject, dot, word = key.rpartition(".")
            if not dot:
                flag, what = name.replace("_", "-"), name.partition("_")[0]
                raise InputError(f"--{flag} takes {what}.option=value, got {key!r}")
            nested.setdefault(subject, {})[word] = option
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
            pairs[key.strip()] = parse_json(value)
        except ValueError:
            pairs[key.strip()] = value.strip()
    return pairs


def _field_notes(kind: type[AbstractStudy]) -> dict[str, str]:
    """What each field means, from the Attributes sections of the kind and of what it builds on."""
    notes: dict[str, str] = {}
    for study in reversed(kind.__mro__):
        text = inspect.cleandoc(vars(study).get("__doc__") or "").partition("Attributes:")[2]
        entries = re.findall(r"^    (\w+): (.+(?:\n        .+)*)", text, flags=re.MULTILINE)
        notes |= {name: " ".join(note.split()) for name, note in entries}
    return notes


def _shown_type(f: Field) -> Any:
    if f.name in (*_LISTS, *_NESTED, *_PAIRS):
        return str
    return str | None if f.name == "data_dir" else f.type


def _shown_default(f: Field) -> Any:
    default = f.default_factory() if f.default is MISSING else f.default
    return ",".join(default) if isinstance(default, (tuple, dict)) else default
