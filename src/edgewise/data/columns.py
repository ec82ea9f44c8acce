"""One column of an event table at a time, as an array or as a sentence that says what is wrong."""

from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

import numpy as np

from edgewise.core import InputError, did_you_mean
from edgewise.data.splits import PARTS

if TYPE_CHECKING:
    import pyarrow as pa


def sequence_codes(path: Path, column: "pa.ChunkedArray") -> tuple[list, np.ndarray]:
    """The different sequences in order of appearance, and for each row which one it is in."""
    values, codes = _coded(path, "sequence", column)
    return values.to_pylist(), codes


def class_codes(path: Path, column: "pa.ChunkedArray") -> tuple[tuple[str, ...], np.ndarray]:
    """The class names, sorted as the labels are (2 before 10), and each row's class."""
    import pyarrow as pa
    import pyarrow.compute as pc

    values, codes = _coded(path, "label", column)
    if len(values) < 2:
        raise InputError(f"{path}: all labels are {values[0].as_py()!r}, but it takes two classes")
    order = pc.array_sort_indices(values).to_numpy()
    names = tuple(values.take(order).cast(pa.string()).to_pylist())
    return names, np.argsort(order)[codes]


def split_codes(path: Path, column: "pa.ChunkedArray") -> np.ndarray:
    """For each row 0, 1 or 2: train, validation or test."""
    values, codes = _coded(path, "split", column)
    names = values.to_pylist()
    for code, name in enumerate(names):
        if name not in PARTS:
            row = int(np.argmax(codes == code)) + 1
            raise InputError(
                f"{path}: the split in row {row} is {name!r}: {did_you_mean(str(name), PARTS)}"
            )
    return np.array([PARTS.index(name) for name in names])[codes]


def time_values(path: Path, column: "pa.ChunkedArray") -> tuple[np.ndarray, str]:
    """The times as int64 or float64, and their unit: µs for timestamps, else unknown."""
    import pyarrow as pa

    kind, unit = column.type, ""
    if pa.types.is_timestamp(kind) or pa.types.is_date(kind):
        # Nanoseconds are cut: three digits less, but 300 000 years more.
        column = column.cast(pa.timestamp("us", getattr(kind, "tz", None)), safe=False)
        column, kind, unit = column.cast(pa.int64()), pa.int64(), "µs"
    if not (pa.types.is_integer(kind) or pa.types.is_floating(kind)):
        raise InputError(
            f"{path}: the column 'time' must hold numbers or timestamps, "
            f"but it holds {kind} ({_example(column)})"
        )
    values = column.to_numpy()
    _check_finite(path, "time", column, values)
    if not pa.types.is_integer(kind):
        return values.astype(np.float64), unit
    if values.max() > np.iinfo(np.int64).max:
        raise InputError(f"{path}: the time {values.max()} does not fit in 64 bits with a sign")
    return values.astype(np.int64), unit


def feature_values(path: Path, name: str, column: "pa.ChunkedArray") -> np.ndarray:
    """A feature as float32."""
    import pyarrow as pa

    kind = column.type
    if not (pa.types.is_integer(kind) or pa.types.is_floating(kind)):
        raise InputError(
            f"{path}: the column {name!r} would be a feature, but it holds {kind} "
            f"({_example(column)}): make it numeric or take it out"
        )
    values = column.to_numpy()
    _check_finite(path, name, column, values)
    with np.errstate(over="ignore"):
        narrow = values.astype(np.float32)
    wide = np.flatnonzero(~np.isfinite(narrow))
    if len(wide):
        raise InputError(
            f"{path}: the {name} in row {wide[0] + 1} is {values[wide[0]]}, "
            f"too large for float32: scale the column"
        )
    return narrow


def _coded(path: Path, name: str, column: "pa.ChunkedArray") -> tuple["pa.Array", np.ndarray]:
    """The different values in order of appearance, and for each row which one it has."""
    import pyarrow as pa

    if pa.types.is_dictionary(column.type):
        column = column.cast(column.type.value_type)
    if pa.types.is_string_view(column.type):
        column = column.cast(pa.string())
    if pa.types.is_null(column.type):
        _refuse_missing(path, name, 0)
    if not _is_plain(column.type):
        raise InputError(
            f"{path}: the column {name!r} holds {column.type}: make it text or numbers"
        )
    _check_filled(path, name, column)
    coded = column.combine_chunks().dictionary_encode()
    return coded.dictionary, coded.indices.to_numpy().astype(np.int64)


def _is_plain(kind: "pa.DataType") -> bool:
    """Whether values of this kind can be told apart, sorted and printed."""
    import pyarrow as pa

    types = pa.types
    text = types.is_string(kind) or types.is_large_string(kind)
    number = types.is_integer(kind) or types.is_float32(kind) or types.is_float64(kind)
    return (
        text
        or number
        or any(test(kind) for test in (types.is_boolean, types.is_decimal, types.is_temporal))
    )


def _check_filled(path: Path, name: str, column: "pa.ChunkedArray") -> None:
    """Refuses null, NaN and empty text."""
    import pyarrow as pa
    import pyarrow.compute as pc

    missing = pc.is_null(column, nan_is_null=True)
    if pa.types.is_string(column.type) or pa.types.is_large_string(column.type):
        missing = pc.or_(missing, pc.equal(pc.fill_null(column, ""), ""))
    if (at := pc.index(missing, True).as_py()) >= 0:
        _refuse_missing(path, name, at)


def _check_finite(path: Path, name: str, column: "pa.ChunkedArray", values: np.ndarray) -> None:
    """Refuses nulls first, which are NaN in ``values``, then NaN and infinity."""
    if column.null_count:
        _refuse_missing(path, name, int(np.argmax(column.is_null().to_numpy())))
    if not np.isfinite(values).all():
        at = int(np.argmin(np.isfinite(values)))
        raise InputError(f"{path}: the {name} in row {at + 1} is {values[at]}")


def _refuse_missing(path: Path, name: str, at: int) -> NoReturn:
    raise InputError(f"{path}: the {name} in row {at + 1} is missing")


def _example(column: "pa.ChunkedArray") -> str:
    for row, value in enumerate(column, 1):
        if value.is_valid:
            return f"{value.as_py()!r} in row {row}"
    return "every row is empty"
