"""A finished trial's seal: the checksums of its small files, so that a flipped bit is noticed."""

import hashlib
from pathlib import Path

from edgewise.core import InputError, read_json, write_json

SEALED = ("record.json", "timing.json", "history.jsonl")
"""What is sealed; predictions and weights carry checksums of their own formats."""


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
    present = [name for name in SEALED if (folder / name).exists()]
    return write_json(folder / "seal.json", {name: _digest(folder / name) for name in present})


def check_seal(folder: Path) -> None:
    """Refuses a trial whose files changed after it was finished.

    A trial without a seal (of an older version, or killed between its record and its seal) is
    taken as it is.

    Raises:
        InputError: With the file, and what to do.

    """
    path = folder / "seal.json"
    if not path.exists():
        return
    kept = read_json(path)
    for name in SEALED:
        if name in kept and (not (folder / name).exists() or _digest(folder / name) != kept[name]):
            raise InputError(
                f"{folder / name} is damaged (its checksum is not the one in seal.json): delete "
                f"the folder {folder} and run the study again, which repeats this trial only"
            )


def _digest(path: Path) -> str:
    return hashlib.blake2b(path.read_bytes(), digest_size=16).hexdigest()
