"""The space of a search: plain values of a study, some of which may move."""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Protocol

from edgewise.core import InputError
from edgewise.studies.kinds.configure import STUDIES, make_study
from edgewise.studies.kinds.encoder_study import EncoderStudy
from edgewise.studies.kinds.study import AbstractStudy

FIXED = (
    *("dataset", "dataset_options", "data_dir", "split_seed", "limit"),
    *("seeds", "workers", "device", "analyses"),
)
"""What a search can't move: all of its trials share the data, and are judged alike."""


class Suggests(Protocol):
    """What draws values: a trial of Optuna."""

    def suggest_float(self, name: str, low: float, high: float, *, log: bool) -> float: ...
    def suggest_int(self, name: str, low: int, high: int, *, log: bool) -> int: ...
    def suggest_categorical(self, name: str, choices: list[Any]) -> Any: ...


@dataclass(frozen=True)
class Range:
    """All numbers from low to high; whole ones where both are whole."""

    name: str
    low: float
    high: float
    log: bool = False

    @property
    def ends(self) -> list[Any]:
        """Values to try out whether they are accepted."""
        return [self.low, self.high]

    def suggest(self, trial: Suggests) -> float:
        """A number."""
        whole = isinstance(self.low, int) and isinstance(self.high, int)
        draw = trial.suggest_int if whole else trial.suggest_float
        return draw(self.name, self.low, self.high, log=self.log)


@dataclass(frozen=True)
class Choice:
    """One of several values."""

    name: str
    values: tuple[Any, ...]

    @property
    def ends(self) -> list[Any]:
        """Values to try out whether they are accepted."""
        return list(self.values)

    def suggest(self, trial: Suggests) -> Any:
        """One of the values; Optuna is given their places, as a value may be a list."""
        return self.values[trial.suggest_categorical(self.name, list(range(len(self.values))))]


@dataclass(frozen=True)
class Space:
    """What is fixed and what moves.

    Attributes:
        fixed: The plain values of a study, moving ones left out.
        subjects: Encoders or models to choose from.
        fields: What moves of the study.
        options: Of each subject, what moves of its options.

    """

    fixed: dict[str, Any]
    subjects: Choice
    fields: tuple[Range | Choice, ...]
    options: dict[str, tuple[Range | Choice, ...]]

    def point(self, trial: Suggests) -> dict[str, Any]:
        """The plain values of one study, with one subject."""
        subject = self.subjects.suggest(trial) if self._many else self.subjects.values[0]
        moving = {part.name: part.suggest(trial) for part in self.fields}
        own = {
            part.name.partition(".")[2]: part.suggest(trial)
            for part in self.options.get(subject, ())
        }
        return self._at(subject, moving, own)

    def moved(self, point: dict[str, Any]) -> dict[str, Any]:
        """Of a point's values those that move, by name."""
        kind = _kind(self.fixed)
        (subject,) = point[kind.subjects]
        found = {kind.subjects[:-1]: subject} if self._many else {}
        found |= {part.name: point[part.name] for part in self.fields}
        own = point.get(kind.options_field(), {}).get(subject, {})
        names = [part.name for part in self.options.get(subject, ())]
        return found | {name: own[name.partition(".")[2]] for name in names}

    @property
    def _many(self) -> bool:
        return len(self.subjects.values) > 1

    def _at(self, subject: str, moving: dict, own: dict) -> dict[str, Any]:
        kind = _kind(self.fixed)
        field = kind.options_field()
        options = self.fixed.get(field, {}).get(subject, {}) | own
        mine = {field: {subject: options}} if options else {}
        rest = {key: value for key, value in self.fixed.items() if key != field}
        return rest | moving | {kind.subjects: [subject]} | mine

    def corners(self) -> Iterator[dict[str, Any]]:
        """Points at which each part stands at each of its ends, the others at their first."""
        first = {part.name: part.ends[0] for part in self.fields}
        for subject in self.subjects.values:
            parts = {p.name.partition(".")[2]: p for p in self.options.get(subject, ())}
            own = {name: part.ends[0] for name, part in parts.items()}
            yield self._at(subject, first, own)
            for part in self.fields:
                for end in part.ends[1:]:
                    yield self._at(subject, first | {part.name: end}, own)
            for name, part in parts.items():
                for end in part.ends[1:]:
                    yield self._at(subject, first, own | {name: end})


def make_space(values: dict[str, Any], where: str = "the configuration") -> Space:
    """The space that a configuration describes, tried out at its ends.

    A value of a study, or an option of a subject, moves where an object ``{"low": …, "high": …,
    "log": true}`` or a list of choices stands for it. Of several subjects one is chosen, too.

    Args:
        values: As `edgewise.studies.make_study` takes them, with spaces for some.
        where: Where they come from, for the message.

    Raises:
        InputError: If nothing moves, something moves that can't, or a value is not accepted.

    Example:
        >>> space = make_space({"encoders": ["lete"], "dim": [8, 16], "learning_rate": {
        ...     "low": 1e-4, "high": 1e-2, "log": True}})
        >>> [part.name for part in space.fields], len(list(space.corners()))
        (['dim', 'learning_rate'], 3)

    """
    kind = _kind(values)
    field = kind.options_field()
    names = (kind.subjects, field, "study")
    moving = {key: value for key, value in values.items() if key not in names and _moves(value)}
    for key in moving:
        if key in FIXED:
            raise InputError(
                f"{where}: {key} can't be searched: all trials share the data and are judged alike"
            )
    options = values.get(field, {})
    nested = {
        subject: tuple(
            _part(f"{subject}.{key}", value, where) for key, value in own.items() if _moves(value)
        )
        for subject, own in (options.items() if isinstance(options, dict) else ())
        if isinstance(own, dict)
    }
    plain = {
        subject: {key: value for key, value in own.items() if not _moves(value)}
        for subject, own in (options.items() if isinstance(options, dict) else ())
        if isinstance(own, dict)
    }
    fixed = {key: value for key, value in values.items() if key not in moving}
    fixed |= {field: plain} if plain else {}
    subjects = values.get(kind.subjects, [getattr(kind(), kind.subjects)[0]])
    if not isinstance(subjects, (list, tuple)) or not subjects:
        raise InputError(f"{where}: {kind.subjects} must be a list of names, got {subjects!r}")
    space = Space(
        fixed,
        Choice(kind.subjects, tuple(subjects)),
        tuple(_part(key, value, where) for key, value in moving.items()),
        nested,
    )
    if not space.fields and not any(nested.values()) and len(subjects) == 1:
        raise InputError(
            f"{where}: nothing moves; give a list of choices or "
            f'{{"low": …, "high": …}} for what is searched'
        )
    for point in space.corners():
        make_study(point, where)
    return space


def _kind(values: dict[str, Any]) -> type[AbstractStudy]:
    return STUDIES.resolve(values.get("study", EncoderStudy.kind))


def _moves(value: Any) -> bool:
    return isinstance(value, list) or (
        isinstance(value, dict) and {"low", "high"} & set(value) != set()
    )


def _part(name: str, value: Any, where: str) -> Range | Choice:
    if isinstance(value, list):
        if not value:
            raise InputError(f"{where}: {name} is an empty list; give it at least one value")
        return Choice(name, tuple(value))
    unknown = set(value) - {"low", "high", "log"}
    ends = [value.get("low"), value.get("high")]
    good = all(isinstance(e, (int, float)) and not isinstance(e, bool) for e in ends)
    if unknown or not good or not isinstance(value.get("log", False), bool):
        raise InputError(
            f'{where}: {name} must be {{"low": number, "high": number}} with "log": true or '
            f"without, got {value!r}"
        )
    if not all(map(math.isfinite, ends)) or not ends[0] < ends[1]:
        raise InputError(f"{where}: {name} must have low < high, got {value!r}")
    if value.get("log") and ends[0] <= 0:
        raise InputError(f"{where}: {name} must have low > 0 on a logarithmic scale, got {value!r}")
    return Range(name, *ends, log=value.get("log", False))
