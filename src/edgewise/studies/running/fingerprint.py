"""A digest of a data set, so that a study is not gone on with on other data."""

import hashlib
from collections.abc import Iterator
from dataclasses import fields, is_dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor


def fingerprint(data: Any) -> str:
    """The BLAKE2b digest of all tensors, arrays, numbers and words in a data set.

    Example:
        >>> one, other = {"x": torch.zeros(2)}, {"x": torch.zeros(3)}
        >>> fingerprint(one) == fingerprint({"x": torch.zeros(2)}) != fingerprint(other)
        True

    """
    digest = hashlib.blake2b(digest_size=16)
    for part in _parts(data):
        digest.update(part)
    return digest.hexdigest()


def _parts(value: Any) -> Iterator[bytes]:
    """What a value is made of, each with its type and shape, so that nothing runs together."""
    if isinstance(value, Tensor):
        value = value.detach().cpu().contiguous()
        yield f"{value.dtype} {tuple(value.shape)};".encode()
        yield value.reshape(-1).view(torch.uint8).numpy().tobytes()
    elif isinstance(value, np.ndarray):
        yield f"{value.dtype} {value.shape};".encode()
        yield value.tobytes() if value.dtype != object else repr(value.tolist()).encode()
    elif is_dataclass(value):
        # The card is a note: where the file lay, say.
        for f in fields(value):
            if f.name != "card":
                yield f"{f.name}:".encode()
                yield from _parts(getattr(value, f.name))
    elif isinstance(value, dict):
        for key in value:
            yield f"{key}:".encode()
            yield from _parts(value[key])
    elif isinstance(value, (list, tuple)):
        yield f"{len(value)};".encode()
        for item in value:
            yield from _parts(item)
    elif value is None or isinstance(value, (str, bytes, bool, int, float)):
        yield f"{value!r};".encode()
    else:
        yield f"{type(value).__qualname__};".encode()
        yield from _parts(vars(value) if hasattr(value, "__dict__") else None)
