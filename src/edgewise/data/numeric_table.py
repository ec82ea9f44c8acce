"""A plain table of numbers: some columns to predict, the others to predict them from."""

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from jaxtyping import Float

from edgewise.core import InputError, did_you_mean
from edgewise.data.table_files import read_table

if TYPE_CHECKING:
    import pyarrow as pa


class NumericTable(NamedTuple):
    """Numbers with names.

    Attributes:
        features: What the inputs are called.
        targets: What the targets are called.
        x: The inputs.
        y: The targets.
        sha256: Of the file's content.

    """

    features: tuple[str, ...]
    targets: tuple[str, ...]
    x: Float[np.ndarray, "N I"]
    y: Float[np.ndarray, "N T"]
    sha256: str


def load_numbers(
    path: str | Path, targets: Sequence[str], features: Sequence[str] | None = None
) -> NumericTable:
    r"""Reads a table with a header and a number in every cell that is asked for.

    Args:
        path: A file ending in .csv, .tsv, .csv.gz, .tsv.gz or .parquet.
        targets: The columns to predict.
        features: The columns to predict from; by default all others.

    Returns:
        The table, in float64.

    Raises:
        InputError: If the file can't be read, a column is missing or named twice, or one that is
            asked for holds text, nothing, NaN, infinity, or the same number in every row.

    Example:
        >>> import tempfile
        >>> file = Path(tempfile.mkdtemp()) / "fall.csv"
        >>> _ = file.write_text("m,r,F\n1,2,0.75\n2,1,6\n")
        >>> table = load_numbers(file, ["F"])
        >>> table.features, table.x.shape, table.y[:, 0].tolist()
        (('m', 'r'), (2, 2), [0.75, 6.0])

    """
    path = Path(path)
    content, table = read_table(path)
    names = table.column_names
    if features is None:
        features = [name for name in names if name not in targets]
    _check_choice(path, names, targets, features)
    x, y = (
        np.stack([_column(path, name, table[name]) for name in chosen], axis=1)
        for chosen in (features, targets)
    )
    return NumericTable(tuple(features), tuple(targets), x, y, hashlib.sha256(content).hexdigest())


def _check_choice(
    path: Path, names: Sequence[str], targets: Sequence[str], features: Sequence[str]
) -> None:
    if not targets:
        raise InputError(f"no target is named: choose among the columns {', '.join(names)}")
    for name in (*targets, *features):
        if name not in names:
            raise InputError(f"{path} has no column {name!r}: {did_you_mean(name, names)}")
    chosen = [*targets, *features]
    for name in chosen:
        if chosen.count(name) > 1:
            raise InputError(
                f"the column {name!r} is named {chosen.count(name)} times: a column is one target "
                f"or one input"
            )
    if not features:
        raise InputError(f"{path} has no column beside the targets to predict them from")


def _column(path: Path, name: str, column: "pa.ChunkedArray") -> Float[np.ndarray, " N"]:
    """A column in float64, each cell a number and not all the same."""
    import pyarrow as pa  # some 50 ms, which only those who read tables should pay

    kind = column.type
    if column.null_count:
        row = column.is_null().index(True).as_py() + 1
        raise InputError(f"{path}: {name} is missing in row {row}: fill it or drop such rows")
    if not (pa.types.is_integer(kind) or pa.types.is_floating(kind)):
        raise InputError(
            f"{path}: the column {name!r} holds {_words(kind)}, such as {column[0].as_py()!r} in "
            f"row 1: leave it out of the features or make it numeric"
        )
    values = column.to_numpy().astype(np.float64)
    bad = np.flatnonzero(~np.isfinite(values))
    if len(bad):
        raise InputError(
            f"{path}: {name} is {values[bad[0]]} in row {bad[0] + 1}: fill it or drop such rows"
        )
    if np.ptp(values) <= 1e-14 * np.abs(values).max():
        raise InputError(
            f"{path}: the column {name!r} is {values[0]:.6g} in every row, so nothing depends on "
            f"it: leave it out"
        )
    return values


def _words(kind: "pa.DataType") -> str:
    import pyarrow as pa

    text = pa.types.is_string(kind) or pa.types.is_large_string(kind)
    return "text" if text or pa.types.is_dictionary(kind) else str(kind)
