"""A finished trial's seal: the checksums of its files, so that a flipped bit is noticed."""

import hashlib
from pathlib import Path

from edgewise.core import InputError, read_json, write_json

READ_AT_ONCE = ("record.json", "timing.json", "history.jsonl")
READ_LATER = ("predictions.npz", "curves.npz", "functions.npz")
"""Checked when they are read. An archive's own checksums leave out its headers; weights carry
a checksum of all of them."""


def seal(folder: Path) -> Path:
    """Writes ``seal.json``, the BLAKE2b digests of the files in a finished trial's folder.

    Example:
        >>> import tempfile
        >>> folder = Path(tempfile.mkdtemp())
        >>> _ = (folder / "record.json").write_text("{}")
        >>> check_seal(seal(folder).parent)
        >>> _ = (folder / "record.json").write_text("[]")
        >>> check_seal(folder)
        Traceback (most recent call last):
        edgewise.core.errors.InputError: ...record.json is damaged (its checksum is not the one in seal.json): delete the folder ... and run the study again, which repeats this trial only

    """  # noqa: E501
    present = [folder / name for name in READ_AT_ONCE + READ_LATER if (folder / name).exists()]
    return write_json(folder / "seal.json", {p.name: _digest(p.read_bytes()) for p in present})


def check_seal(folder: Path) -> None:
    """Refuses a trial of which a file that is read at once changed after it was finished.

    A trial without a seal (of an older version, or killed between its record and its seal) is
    taken as it is.

    Raises:
        InputError: With the file, and what to do.

    """
    kept = kept_digests(folder)
    for name in READ_AT_ONCE:
        path = folder / name
        if name in kept and (not path.exists() or _digest(path.read_bytes()) != kept[name]):
            raise broken(path, _CHANGED)


def check_digest(path: Path, data: bytes) -> None:
    """Refuses what was read of a file of a trial if it is not what was sealed.

    Raises:
        InputError: With the file, and what to do.

    """
    kept = kept_digests(path.parent)
    if path.name in kept and _digest(data) != kept[path.name]:
        raise broken(path, _CHANGED)


def kept_digests(folder: Path) -> dict[str, str]:
    """The checksums by file; none where the trial has no seal."""
    path = folder / "seal.json"
    return read_json(path) if path.exists() else {}


def _digest(data: bytes) -> str:
    return hashlib.blake2b(data, digest_size=16).hexdigest()


_CHANGED = "its checksum is not the one in seal.json"


def broken(path: Path, fault: str) -> InputError:
    """The error for a file in a trial's folder, or for the folder, that can't be believed."""
    folder = path if path.is_dir() else path.parent
    return InputError(
        f"{path} is damaged ({fault}): delete the folder {folder} and run the study again, "
        f"which repeats this trial only"
    )
