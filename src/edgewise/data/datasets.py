"""Data sets by name, by ``module:function`` or by file, all through one door."""

import inspect
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import UnionType
from typing import Any, get_args

from edgewise.core import InputError, Registry, did_you_mean
from edgewise.data.splits import EventDataset, stratified_split
from edgewise.data.table import load_table
from edgewise.data.table_files import SUFFIXES

DATASETS: Registry[Callable[..., EventDataset]] = Registry("data set")

# What every data set may be given; all else a loader's signature names is an option of its own.
_COMMON = ("path", "data_dir", "split_seed")


def load_dataset(
    source: str | Path,
    *,
    data_dir: str | Path | None = None,
    split_seed: int = 0,
    limit: int | None = None,
    **options: Any,
) -> EventDataset:
    """Loads a data set's three parts and its card.

    Args:
        source: A name in ``DATASETS``, a CSV or Parquet file (see ``load_table``), or
            ``module:function`` for a function that returns an ``EventDataset``; it is passed
            ``data_dir`` and ``split_seed`` if its signature has them.
        data_dir: The folder of downloaded data sets; None takes EDGEWISE_DATA or the user's cache.
        split_seed: What the random parts of the split depend on.
        limit: Keeps so many training streams, with the classes in proportion; None keeps all.
        options: What the data set's own function takes.

    Raises:
        InputError: If there is no such data set or option, an option has the wrong type, or files
            are missing or wrong.

    Example:
        >>> data = load_dataset("digits", limit=100, threshold=0.5)
        >>> len(data.train), len(data.test), data.card["options"]["threshold"]
        (100, 360, 0.5)

    """
    if split_seed < 0:
        raise InputError(f"split_seed must be at least 0, not {split_seed}")
    if limit is not None and limit < 1:
        raise InputError(f"limit must be at least 1, not {limit}")
    loader, common = _find(source)
    common |= {"data_dir": data_dir, "split_seed": split_seed}
    taken = inspect.signature(loader).parameters
    _check_options(str(source), loader, options)
    common = {key: value for key, value in common.items() if key in taken}
    dataset = loader(**common, **options)
    if not isinstance(dataset, EventDataset):
        raise InputError(
            f"the data set {str(source)!r} must return an EventDataset, "
            f"not {type(dataset).__name__}"
        )
    return dataset if limit is None else _limited(dataset, limit, split_seed)


def _find(source: str | Path) -> tuple[Callable[..., EventDataset], dict[str, Any]]:
    """The function that loads ``source``, and the path if that is a file."""
    name = str(source)
    if isinstance(source, str) and name in DATASETS:
        return DATASETS.resolve(name), {}
    if Path(source).is_file() or name.lower().endswith(SUFFIXES):
        return load_table, {"path": source}
    if isinstance(source, str) and ":" in name:
        return DATASETS.resolve(name), {}
    raise InputError(
        f"there is no data set and no file {name!r}: {did_you_mean(name, DATASETS)}; "
        f"a file ends in {', '.join(SUFFIXES)}"
    )


def _check_options(source: str, loader: Callable[..., Any], options: dict[str, Any]) -> None:
    taken = dict(inspect.signature(loader).parameters)
    free = [key for key, it in taken.items() if it.kind is inspect.Parameter.VAR_KEYWORD]
    known = [key for key in taken if key not in (*_COMMON, *free)]
    for key, value in options.items():
        if key not in known and not free:
            way = did_you_mean(key, known) if known else "it has none"
            raise InputError(f"data set {source!r} has no option {key!r}: {way}")
        kind = taken[key].annotation if key in known else inspect.Parameter.empty
        if not _fits(value, kind):
            wanted = kind.__name__ if isinstance(kind, type) else kind
            raise InputError(
                f"data set {source!r}: the option {key!r} takes {wanted}, not {value!r}"
            )
    for key in known:
        if key not in options and taken[key].default is inspect.Parameter.empty:
            raise InputError(f"data set {source!r} needs the option {key!r}")


def _fits(value: Any, kind: Any) -> bool:
    """Whether ``value`` is of ``kind``; annotations that isinstance can't tell are trusted."""
    kinds = get_args(kind) if isinstance(kind, UnionType) else (kind,)
    if kind is inspect.Parameter.empty or not all(isinstance(k, type) for k in kinds):
        return True
    if isinstance(value, bool):  # True is an int to Python, but no number of events
        return bool in kinds
    return isinstance(value, (*kinds, int) if float in kinds else kinds)


def _limited(dataset: EventDataset, limit: int, seed: int) -> EventDataset:
    there = len(dataset.train)
    if limit > there:
        raise InputError(
            f"limit is {limit}, but the data set {dataset.name!r} has {there} training streams"
        )
    kept, _ = stratified_split(dataset.train.labels, (limit, there - limit), seed)
    parts = (dataset.train.subset(kept), dataset.validation, dataset.test)
    described = EventDataset.described(dataset.name, parts, dataset.card)
    return replace(described, card=described.card | {"limit": limit})
