"""Arrays in an npz file, their sizes checked before memory is taken for them."""

import math
import tokenize
import zipfile
import zlib
from pathlib import Path
from typing import BinaryIO

import numpy as np

from edgewise.core import InputError

# What deflate can do at best is 1 : 1032.
_DENSEST = 1032
_HEADERS = {(1, 0): "read_array_header_1_0", (2, 0): "read_array_header_2_0"}


def read_arrays(path: str | Path) -> dict[str, np.ndarray]:
    """All arrays of an npz file by name; nothing in it is executed.

    Raises:
        InputError: If the file is missing, truncated or corrupt, or an array claims to be larger
            than what the file can hold.

    Example:
        >>> import tempfile
        >>> file = Path(tempfile.mkdtemp()) / "two.npz"
        >>> np.savez(file, a=np.arange(3), b=np.zeros((2, 2)))
        >>> {name: array.shape for name, array in read_arrays(file).items()}
        {'a': (3,), 'b': (2, 2)}

    """
    path = Path(path)
    if not path.is_file():
        raise InputError(f"there is no file {path}")
    try:
        return unpack_arrays(path, path.stat().st_size)
    except ValueError as error:
        raise InputError(
            f"{path} is truncated or corrupt: {error}; delete it and get it again"
        ) from None


def unpack_arrays(file: Path | BinaryIO, size: int) -> dict[str, np.ndarray]:
    """The same for an open file of so many bytes.

    Raises:
        ValueError: With what is wrong.

    """
    try:
        with zipfile.ZipFile(file) as archive:
            return {
                info.filename.removesuffix(".npy"): _array(archive, info, size)
                for info in archive.infolist()
            }
    except _FAULTS as error:
        raise ValueError(str(error) or type(error).__name__) from None


# NotImplementedError and RuntimeError: a way of packing or encrypting that zipfile does not know.
# SyntaxError and TokenError: a header that is no Python.
_FAULTS = (
    zipfile.BadZipFile,
    zlib.error,
    EOFError,
    OSError,
    ValueError,
    TypeError,
    KeyError,
    RuntimeError,
    SyntaxError,
    tokenize.TokenError,
    OverflowError,
)


def _array(archive: zipfile.ZipFile, info: zipfile.ZipInfo, size: int) -> np.ndarray:
    """One array, if what it claims to be is not more than there is."""
    with archive.open(info) as file:
        version = np.lib.format.read_magic(file)
        if version not in _HEADERS:
            raise ValueError(f"{info.filename} has the version {version}")
        shape, by_columns, dtype = getattr(np.lib.format, _HEADERS[version])(file)
        if dtype.hasobject:
            raise ValueError(f"{info.filename} holds Python objects, which are never unpickled")
        count = math.prod(shape)
        claimed = count * max(1, dtype.itemsize)
        if min(shape, default=0) < 0 or claimed > min(info.file_size, size * _DENSEST):
            raise ValueError(f"{info.filename} claims to be an array of shape {shape}")
        # Not NumPy's read_array: it would parse the header again, most of the time of a small one.
        content = file.read(claimed)
        if len(content) < count * dtype.itemsize:
            raise ValueError(f"{info.filename} ends after {len(content)} of {claimed} bytes")
        values = np.frombuffer(content, dtype, count)
        return values.reshape(shape, order="F" if by_columns else "C").copy()
