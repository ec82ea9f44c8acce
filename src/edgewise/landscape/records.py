"""Results point by point, kept in a file, so that what was interrupted goes on."""

import hashlib
import json
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from edgewise.core import InputError, read_json, write_json
from edgewise.curvature import Functional

Progress = Callable[[int, int], None]


class Records:
    """One record for each of ``count`` points, written to ``file`` after each; None keeps no file.

    Args:
        file: Where, JSON.
        identity: What the records depend on, see :func:`fingerprint`.
        count: How many points there are.

    Raises:
        InputError: If the file holds records of something else.

    """

    def __init__(self, file: Path | None, identity: str, count: int) -> None:
        self.file, self.identity, self.count = file, identity, count
        self.rows: dict[int, Any] = {}
        if file is not None and file.exists():
            found = read_json(file)
            if not isinstance(found, dict) or found.get("identity") != identity:
                raise InputError(
                    f"{file} holds the results of other states, data or settings; "
                    "choose another folder or remove it"
                )
            self.rows = {int(i): row for i, row in found["rows"].items()}

    def fill(self, make: Callable[[int], Any], progress: Progress | None) -> list[Any]:
        """All records; those that are missing are made by ``make(i)``."""
        for i in range(self.count):
            if i not in self.rows:
                self.rows[i] = make(i)
                if self.file is not None:
                    write_json(self.file, {"identity": self.identity, "rows": self.rows})
            if progress is not None:
                progress(i + 1, self.count)
        return [self.rows[i] for i in range(self.count)]


def number(value: float | None) -> float:
    """A number of a record; a file has null in place of one that is not finite."""
    return float("inf") if value is None else value


def fingerprint(
    functionals: Iterable[Functional], tensors: Sequence[Tensor], settings: dict[str, Any]
) -> str:
    """A hash of model, data, vectors and settings."""
    digest = hashlib.blake2b(json.dumps(settings, sort_keys=True).encode(), digest_size=16)
    for functional in functionals:
        digest.update(repr((type(functional.model).__name__, functional.slices)).encode())
        digest.update(
            getattr(functional.loss, "__qualname__", type(functional.loss).__name__).encode()
        )
        for buffer in functional.model.buffers():
            _update(digest, buffer)
        for chunk in functional.stream:
            for tensor in (*chunk.inputs, chunk.target):
                _update(digest, tensor)
    for tensor in tensors:
        _update(digest, tensor)
    return digest.hexdigest()


def _update(digest: Any, tensor: Tensor) -> None:
    tensor = tensor.detach().cpu().contiguous()
    digest.update(repr((tuple(tensor.shape), str(tensor.dtype))).encode())
    digest.update(tensor.reshape(-1).view(torch.uint8).numpy().tobytes() if tensor.numel() else b"")
