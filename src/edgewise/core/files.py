"""Files that are either whole or absent: written under another name, synced, then renamed."""

import json
import os
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from edgewise.core.errors import InputError


def write_atomically(path: str | Path, write: bytes | str | Callable[[Path], None]) -> Path:
    """Writes a file so that a crash at any moment leaves the old file or the new one, never half.

    Args:
        path: Where the file goes; missing folders are made.
        write: The content, or a function that writes it to the temporary path it is given.

    Returns:
        The path.

    Example:
        >>> import tempfile
        >>> folder = Path(tempfile.mkdtemp())
        >>> write_atomically(folder / "a" / "note.txt", "whole").read_text()
        'whole'

    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    # The suffix stays last: matplotlib and others choose the format by it.
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.stem}.", suffix=path.suffix)
    os.close(handle)
    temporary = Path(name)
    try:
        if callable(write):
            write(temporary)
        elif isinstance(write, bytes):
            temporary.write_bytes(write)
        else:
            temporary.write_text(write, encoding="utf-8", newline="\n")
        os.chmod(temporary, 0o666 & ~_umask())
        with open(temporary, "rb") as file:
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    return path


def write_json(path: str | Path, value: Any) -> Path:
    """Writes ``value`` as indented JSON, atomically; NaN and infinity become null.

    Example:
        >>> import tempfile
        >>> read_json(write_json(Path(tempfile.mkdtemp()) / "x.json", {"a": float("nan")}))
        {'a': None}

    """
    text = json.dumps(_plain(value), indent=2, ensure_ascii=False, allow_nan=False)
    return write_atomically(path, text + "\n")


def parse_json(text: str | bytes) -> Any:
    """What a text in JSON says.

    Raises:
        ValueError: If it is no JSON, or nested deeper than Python can follow.

    Example:
        >>> parse_json("[1, null]")
        [1, None]

    """
    try:
        return json.loads(text)
    except RecursionError as error:
        raise ValueError(str(error)) from None


def read_json(path: str | Path) -> Any:
    """Reads a JSON file.

    Raises:
        InputError: If the file is missing or is not JSON, with the line of the first fault.

    """
    path = Path(path)
    try:
        return parse_json(path.read_text(encoding="utf-8-sig"))
    except FileNotFoundError:
        raise InputError(f"there is no file {path}") from None
    except ValueError as error:
        raise InputError(f"{path} is not valid JSON: {error}") from None


def _plain(value: Any) -> Any:
    """Turns NumPy scalars, paths, tuples and non-finite floats into what JSON knows."""
    if isinstance(value, dict):
        return {str(k): _plain(v) for k, v in value.items()}
    if isinstance(value, (list, tuple, set)):
        return [_plain(v) for v in value]
    if isinstance(value, Path):
        return str(value)
    if hasattr(value, "tolist"):
        return _plain(value.tolist())
    if isinstance(value, float) and (value != value or value in (float("inf"), float("-inf"))):
        return None
    return value


def _umask() -> int:
    """The process's umask; reading it needs setting it."""
    mask = os.umask(0)
    os.umask(mask)
    return mask
