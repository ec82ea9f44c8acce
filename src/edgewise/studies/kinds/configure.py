"""From plain values to a study, each key and type checked; lists become a grid of variants."""

import itertools
from collections.abc import Iterable
from dataclasses import fields
from typing import Any

from edgewise.core import InputError, Registry, did_you_mean
from edgewise.studies.kinds.dense_studies import FunctionStudy, TabularStudy
from edgewise.studies.kinds.encoder_study import EncoderStudy
from edgewise.studies.kinds.image_study import ImageStudy
from edgewise.studies.kinds.study import SHARED_FREELY, AbstractStudy, Variant
from edgewise.studies.kinds.text_study import TextStudy

STUDIES: Registry[type[AbstractStudy]] = Registry("kind of study")
"""Kinds of studies by name."""

for _kind_of_study in (EncoderStudy, ImageStudy, TextStudy, FunctionStudy, TabularStudy):
    STUDIES.register(_kind_of_study.kind)(_kind_of_study)

_NAMES = {"encoders", "models", "analyses"}
_NESTED = {"encoder_options", "model_options"}
_DATA = ("dataset", "dataset_options", "split_seed", "limit")


def make_study(values: dict[str, Any], where: str = "the configuration") -> AbstractStudy:
    """A study from plain values, each key and type checked.

    Args:
        values: Field to value, as read from JSON or the command line; ``study`` is its kind, and
            encoders where it is left out.
        where: Where they come from, for the message.

    Raises:
        InputError: For an unknown key (with the nearest known one) or a value of the wrong type.

    Example:
        >>> make_study({"epochs": 3}).epochs
        3
        >>> make_study({"epoch": 3})
        Traceback (most recent call last):
        edgewise.core.errors.InputError: the configuration has an unknown key 'epoch': did you
        mean 'epochs'? ...

    """
    _check_object(values, where)
    values = dict(values)
    kind = _kind_of_study(values)
    values.pop("study", None)
    known = {f.name: f for f in fields(kind)}
    for key, value in values.items():
        if key not in known:
            what = "" if kind is EncoderStudy else f" (of a study of {kind.kind})"
            raise InputError(
                f"{where} has an unknown key {key!r}{what}: {did_you_mean(key, known)}"
            )
        _check_type(kind, key, value, where)
    return kind(**values)


def _check_object(values: Any, where: str) -> None:
    if not isinstance(values, dict):
        shown = str(values)[:60]
        raise InputError(f"{where} must be one object of names and values, got {shown!r}")


def _kind_of_study(values: dict[str, Any]) -> type[AbstractStudy]:
    name = values.get("study", EncoderStudy.kind)
    kind = STUDIES.resolve(name)
    if not (isinstance(kind, type) and issubclass(kind, AbstractStudy)):
        raise InputError(f"the kind of study {name!r} must be a class of studies, got {kind!r}")
    return kind


def _check_type(study: type[AbstractStudy], key: str, value: Any, where: str) -> None:
    kind, words = _kind(study, key)
    good = isinstance(value, kind) and not (isinstance(value, bool) and bool not in kind)
    if good and key in _NAMES:
        good = all(isinstance(v, str) for v in value)
    if good and key in _NESTED:
        good = all(isinstance(v, dict) for v in value.values())
    if not good:
        raise InputError(f"{where}: {key} must be {words}, got {value!r}")


def _kind(study: type[AbstractStudy], key: str) -> tuple[tuple[type, ...], str]:
    """The types a field accepts, and how to say so."""
    if key in _NAMES:
        return (list, tuple), "a list of names"
    if key in _NESTED:
        return (dict,), f"an object of {key.partition('_')[0]} name to options"
    if key in ("dataset_options", "rates", "unfreeze"):
        return (dict,), "an object"
    if key == "data_dir":
        return (str, type(None)), "a path"
    default = getattr(study, key, 0)
    if isinstance(default, bool):
        return (bool,), "true or false"
    if isinstance(default, float):
        return (int, float), "a number"
    if isinstance(default, int):
        return (int,), "a whole number"
    return (str,), "a word"


def study_values(study: AbstractStudy) -> dict[str, Any]:
    """The study as :func:`make_study` takes it back: its kind and all its fields."""
    return {"study": study.kind} | study.as_dict()


def grid(
    values: dict[str, Any], where: str = "the configuration"
) -> tuple[AbstractStudy, list[Variant]]:
    """Lists in a configuration become a grid of variants.

    A list where a single value belongs is an axis: ``{"dim": [16, 32]}`` makes two variants of
    each encoder. So is a list among the options of a subject; one that is itself a value, such as a
    choice of experts, goes into another list.

    Returns:
        The study of the first value of each axis, and all variants.

    Raises:
        InputError: As :func:`make_study`, for every point of the grid.

    Example:
        >>> study, variants = grid({"encoders": ["lete"], "dim": [8, 16], "hidden_dim": [4, 5]})
        >>> [v.name for v in variants][:3]
        ['lete dim=8 hidden_dim=4', 'lete dim=8 hidden_dim=5', 'lete dim=16 hidden_dim=4']

    """
    _check_object(values, where)
    kind = _kind_of_study(values)
    nested = kind.options_field()
    axes = {k: v for k, v in values.items() if isinstance(v, list) and k not in _NAMES}
    for key in axes:
        if key in SHARED_FREELY or key in _DATA:
            raise InputError(
                f"{where}: {key} can't be a list in an ablation: all variants share the data, "
                f"the seeds and the processes"
            )
        if not axes[key]:
            raise InputError(f"{where}: {key} is an empty list; give it at least one value")
    options = values.get(nested, {})
    _check_options(kind, options, where)
    plain = {k: v for k, v in values.items() if k not in axes}
    plain[nested] = {
        subject: {k: v[0] if isinstance(v, list) else v for k, v in chosen.items()}
        for subject, chosen in options.items()
    }
    points = [dict(zip(axes, point, strict=True)) for point in itertools.product(*axes.values())]
    for point in points:
        make_study(plain | point, where)
    study = make_study(plain | points[0], where)
    variants = []
    for subject in getattr(study, study.subjects):
        for chosen in _option_grid(options.get(subject, {})):
            moving = {k: v for k, v in chosen.items() if isinstance(options[subject][k], list)}
            for point in points:
                name = " ".join([subject, *_words(moving), *_words(point)])
                variants.append(Variant(name, subject, chosen, point))
    return study, variants


def _check_options(kind: type[AbstractStudy], options: Any, where: str) -> None:
    _check_type(kind, kind.options_field(), options, where)
    for subject, chosen in options.items():
        for key, value in chosen.items():
            if value == []:
                raise InputError(
                    f"{where}: {subject}.{key} is an empty list; give it at least one value"
                )


def _option_grid(options: dict[str, Any]) -> Iterable[dict[str, Any]]:
    axes = [v if isinstance(v, list) else [v] for v in options.values()]
    return [dict(zip(options, point, strict=True)) for point in itertools.product(*axes)]


def _words(values: dict[str, Any]) -> list[str]:
    return [f"{k}={'+'.join(map(str, v)) if isinstance(v, list) else v}" for k, v in values.items()]
