"""The rows of a run, one an epoch: kept as JSON lines, and asked which epoch was best."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from edgewise.core import InputError, parse_json, write_atomically
from edgewise.train.settings import Settings

Row = dict[str, Any]


def plain_row(row: Row) -> Row:
    """The row as JSON gives it back, so that a resumed history equals an unbroken one.

    Raises:
        InputError: If a value isn't JSON, or is NaN or infinite.

    Example:
        >>> plain_row({"epoch": 1, "usage": (0.25, 0.75)})
        {'epoch': 1, 'usage': [0.25, 0.75]}

    """
    return {key: _plain_value(key, value) for key, value in row.items()}


def _plain_value(key: str, value: Any) -> Any:
    try:
        return json.loads(json.dumps(value, allow_nan=False))
    except (TypeError, ValueError):
        raise InputError(
            f"the history can't keep {key}={value!r}: an on_epoch callable may add finite numbers, "
            f"text, and lists or dictionaries of them"
        ) from None


def write_history(path: str | Path, rows: Sequence[Row]) -> Path:
    """Writes one JSON object a line, atomically.

    Example:
        >>> import tempfile
        >>> path = Path(tempfile.mkdtemp()) / "history.jsonl"
        >>> rows = [{"epoch": 1, "train_loss": 0.1}, {"epoch": 2, "train_loss": 1 / 3}]
        >>> read_history(write_history(path, rows)) == rows
        True

    """
    lines = (json.dumps(row, ensure_ascii=False, allow_nan=False) + "\n" for row in rows)
    return write_atomically(path, "".join(lines))


def read_history(path: str | Path) -> list[Row]:
    """Reads back what `write_history` wrote.

    Raises:
        InputError: If there is no such file, or a line isn't a JSON object.

    """
    path = Path(path)
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except FileNotFoundError:
        raise InputError(f"there is no file {path}") from None
    return [_read_line(path, number, line) for number, line in enumerate(lines, 1)]


def count_rows(path: Path) -> int:
    """How many epochs a run has finished, without reading them; none where there is no file."""
    return path.read_bytes().count(b"\n") if path.exists() else 0


def _read_line(path: Path, number: int, line: str) -> Row:
    try:
        row = parse_json(line)
    except ValueError:
        row = None
    if not isinstance(row, dict):
        raise InputError(f"line {number} of {path} is not a JSON object: mend or delete the file")
    return row


def best_epoch(rows: Sequence[Row], select: str) -> int:
    """The first epoch with the highest validation accuracy, or the lowest validation loss.

    Args:
        rows: At least one row.
        select: ``"accuracy"`` or ``"loss"``.

    Example:
        >>> best_epoch([{"epoch": e + 1, "validation_loss": v} for e, v in enumerate([2, 1, 1])],
        ...            select="loss")
        2

    """
    sign = 1 if select == "accuracy" else -1
    return max(rows, key=lambda row: sign * row[f"validation_{select}"])["epoch"]


def is_over(rows: Sequence[Row], settings: Settings) -> bool:
    """True when a run with this history has nothing left to do: all epochs, or patience spent."""
    if not rows or len(rows) >= settings.epochs:
        return len(rows) >= settings.epochs
    since = rows[-1]["epoch"] - best_epoch(rows, settings.select)
    return 0 < settings.patience <= since
