"""The IDX format of MNIST: a magic number, the dimensions, then the values, big-endian."""

import gzip
import math
import struct
import zlib
from pathlib import Path
from typing import BinaryIO

import numpy as np
import torch
from torch import Tensor

from edgewise.core import InputError

# The third byte of the magic number (LeCun, "The MNIST database of handwritten digits").
_TYPES = {0x08: ">u1", 0x09: ">i1", 0x0B: ">i2", 0x0C: ">i4", 0x0D: ">f4", 0x0E: ">f8"}
_GZIP = b"\x1f\x8b"
_CHUNK = 1 << 20


def read_idx(path: str | Path, dimensions: int | None = None) -> Tensor:
    """Reads an IDX file, gzipped or plain, as a tensor of the dtype and shape it declares.

    Nothing is allocated on the word of the header: bytes are read until there are as many as it
    declares, and neither fewer nor more are accepted.

    Args:
        path: The file.
        dimensions: How many dimensions it must have; None takes any.

    Raises:
        InputError: If the file is missing, is no IDX file, or is truncated or corrupt, with the
            numbers of bytes expected and found.

    Example:
        >>> import tempfile
        >>> file = Path(tempfile.mkdtemp()) / "labels-idx1-ubyte"
        >>> _ = file.write_bytes(bytes([0, 0, 8, 1, 0, 0, 0, 3, 7, 2, 1]))
        >>> read_idx(file).tolist()
        [7, 2, 1]

    """
    path = Path(path)
    if not path.is_file():
        raise InputError(f"there is no file {path}")
    with open(path, "rb") as raw:
        zipped = raw.read(2) == _GZIP
        raw.seek(0)
        if not zipped:
            return _parse(raw, path, dimensions)
        with gzip.GzipFile(fileobj=raw) as plain:
            return _parse(plain, path, dimensions)


def _parse(file: BinaryIO, path: Path, dimensions: int | None) -> Tensor:
    head = _read(file, 4, path, "a magic number")
    if head[:2] != b"\0\0" or head[2] not in _TYPES:
        raise InputError(f"{path} is not an IDX file: it begins with {head.hex(' ')}")
    if dimensions is not None and head[3] != dimensions:
        raise InputError(f"{path} has {head[3]} dimensions, not {dimensions}: it is another file")
    shape = struct.unpack(f">{head[3]}I", _read(file, 4 * head[3], path, "its dimensions"))
    dtype = np.dtype(_TYPES[head[2]])
    what = f"{' × '.join(map(str, shape))} values"
    body = _read(file, math.prod(shape) * dtype.itemsize, path, what, last=True)
    values = np.frombuffer(body, dtype).reshape(shape)
    return torch.from_numpy(values.astype(dtype.newbyteorder("="), copy=False))


def _read(file: BinaryIO, size: int, path: Path, what: str, last: bool = False) -> bytearray:
    """Exactly ``size`` bytes, by pieces; when ``last``, the file must end there."""
    found = bytearray()
    wanted = size + last
    fault = ""
    try:
        while len(found) < wanted and (piece := file.read(min(_CHUNK, wanted - len(found)))):
            found += piece
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        fault = f" ({error})"
    if fault or len(found) != size:
        count = f"more than {size}" if len(found) > size else str(len(found))
        raise InputError(
            f"{path} is truncated or corrupt: expected {size} bytes for {what}, "
            f"found {count}{fault}; delete it and get it again"
        )
    return found
