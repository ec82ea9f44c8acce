"""One's own events: a CSV or Parquet file with a row an event, as an ``EventDataset``."""

import hashlib
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch

from edgewise.core import InputError, did_you_mean
from edgewise.data.columns import (
    class_codes,
    feature_values,
    sequence_codes,
    split_codes,
    time_values,
)
from edgewise.data.splits import PARTS, EventDataset, stratified_split
from edgewise.data.streams import EventStreams
from edgewise.data.table_files import read_table, stem

if TYPE_CHECKING:
    import pyarrow as pa

_NEEDED = ("sequence", "time", "label")
_FRACTIONS = (0.6, 0.2, 0.2)


def load_table(path: str | Path, *, split_seed: int = 0) -> EventDataset:
    """Reads events in long form: ``sequence, time, label[, split][, features...]``, a row an event.

    ``sequence`` says which stream an event is in; its rows may be anywhere, but their times must
    not decrease. ``time`` is a number, or a timestamp or date, which becomes int64 microseconds.
    ``label`` is one value for a whole sequence, of any type; the classes are its values, sorted.
    ``split``, if there is one, says train, validation or test for a whole sequence; without
    it every class is divided 60 / 20 / 20 at random. All other columns are numeric features.

    Args:
        path: A file ending in .csv, .tsv, .csv.gz, .tsv.gz or .parquet.
        split_seed: What the split depends on, if the table does not say.

    Raises:
        InputError: If the file can't be read or breaks a rule above, with the column, the sequence
            and the row (1 is the first below the header).

    Example:
        >>> import tempfile
        >>> from pyarrow import csv, table
        >>> rows = {"sequence": list(range(10)) * 2, "time": [1] * 10 + [5] * 10}
        >>> rows["label"] = ["a", "b"] * 10
        >>> file = Path(tempfile.mkdtemp()) / "visits.csv"
        >>> csv.write_csv(table(rows), file)
        >>> data = load_table(file)
        >>> data.train.classes, len(data.train), len(data.test), data.test.lengths.tolist()
        (('a', 'b'), 6, 2, [2, 2])

    """
    path = Path(path)
    if split_seed < 0:
        raise InputError(f"split_seed must be at least 0, not {split_seed}")
    content, table = read_table(path)
    _check_columns(path, table)
    streams, part = _streams(path, table)
    if part is None:
        parts = stratified_split(streams.labels, _FRACTIONS, split_seed)
        _check_classes(path, streams, parts)
    else:
        parts = [torch.from_numpy(np.flatnonzero(part == number)) for number in range(3)]
        _check_parts(path, parts)
    facts = {
        "title": f"events of {path.name}",
        "source": str(path),
        "sha256": hashlib.sha256(content).hexdigest(),
        "licence": "the owner's",
        "citation": "",
        "options": {"split_seed": split_seed} if part is None else {"split": "by column"},
    }
    return EventDataset.described(stem(path), [streams.subset(part) for part in parts], facts)


def _check_columns(path: Path, table: "pa.Table") -> None:
    names = table.column_names
    for name in _NEEDED:
        if name not in names:
            raise InputError(f"{path} has no column {name!r}: {did_you_mean(name, names)}")


def _streams(path: Path, table: "pa.Table") -> tuple[EventStreams, np.ndarray | None]:
    """All sequences in order of first appearance, and the part of each if the table says it."""
    ids, sequence = sequence_codes(path, table["sequence"])
    # Rows of one sequence come together and keep their order.
    order = np.argsort(sequence, kind="stable")
    grouped = sequence[order]
    first = np.flatnonzero(np.diff(grouped, prepend=-1))
    times, unit = time_values(path, table["time"])
    times = times[order]
    _check_order(path, ids, grouped, order, times)
    classes, label = class_codes(path, table["label"])
    _check_constant(path, "label", classes, label[order], first, order, ids)
    part = None
    if "split" in table.column_names:
        split = split_codes(path, table["split"])[order]
        _check_constant(path, "split", PARTS, split, first, order, ids)
        part = split[first]
    names = tuple(name for name in table.column_names if name not in (*_NEEDED, "split"))
    features = [feature_values(path, name, table[name])[order] for name in names]
    streams = EventStreams(
        times=torch.from_numpy(times),
        offsets=torch.from_numpy(np.append(first, len(order))),
        labels=torch.from_numpy(label[order][first]),
        classes=classes,
        features=torch.from_numpy(np.stack(features, 1)) if features else None,
        feature_names=names,
        name=stem(path),
        time_unit=unit,
    )
    return streams, part


def _check_order(
    path: Path, ids: list, sequence: np.ndarray, order: np.ndarray, times: np.ndarray
) -> None:
    falls = np.flatnonzero((times[1:] < times[:-1]) & (sequence[1:] == sequence[:-1]))
    if len(falls):
        at = falls[0] + 1
        raise InputError(
            f"{path}: times must not decrease within a sequence, but in {ids[sequence[at]]!r} row "
            f"{order[at] + 1} is at {times[at]}, after {times[at - 1]} in row {order[at - 1] + 1}"
        )


def _check_constant(
    path: Path,
    column: str,
    names: tuple[str, ...],
    codes: np.ndarray,
    first: np.ndarray,
    order: np.ndarray,
    ids: list,
) -> None:
    lengths = np.diff(first, append=len(codes))
    begun = np.repeat(first, lengths)
    changes = np.flatnonzero(codes != codes[begun])
    if len(changes):
        at = changes[0]
        start = begun[at]
        raise InputError(
            f"{path}: a sequence has one {column}, but {ids[np.searchsorted(first, start)]!r} has "
            f"{names[codes[start]]!r} in row {order[start] + 1} "
            f"and {names[codes[at]]!r} in row {order[at] + 1}"
        )


def _check_classes(path: Path, streams: EventStreams, parts: list[torch.Tensor]) -> None:
    for part in parts:
        members = streams.labels[part].bincount(minlength=streams.num_classes)
        if not bool(members.all()):
            rare = int(members.argmin())
            count = int((streams.labels == rare).sum())
            raise InputError(
                f"{path}: the class {streams.classes[rare]!r} has {count} sequence"
                f"{'s' * (count > 1)}, but a split 60/20/20 takes 4 of each: add some, "
                f"leave the class out, or give a column 'split'"
            )


def _check_parts(path: Path, parts: list[torch.Tensor]) -> None:
    for name, part in zip(PARTS, parts, strict=True):
        if len(part) == 0:
            raise InputError(f"{path}: the column 'split' gives no sequence to {name!r}")
