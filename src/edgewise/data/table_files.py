"""Table files: what they may be called, and how their bytes become columns."""

import gzip
import io
import zlib
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING

from edgewise.core import InputError
from edgewise.data.parquet_sizes import unpacked_size

if TYPE_CHECKING:
    import pyarrow as pa

# A file may unpack to 256 MiB, or to so many times its size.
_ROOM, _DENSE = 1 << 28, 200

SUFFIXES = (".csv", ".tsv", ".csv.gz", ".tsv.gz", ".parquet")


def read_table(path: Path) -> tuple[bytes, "pa.Table"]:
    """The content of a file and the table in it.

    Raises:
        InputError: If the extension is unknown, the file is missing or can't be read, two
            columns have one name, or there are no rows.

    """
    kind = _suffix(path)
    if not path.is_file():
        raise InputError(f"there is no file {path}")
    # Some 50 ms to import, which only those who read tables should pay.
    import pyarrow as pa

    try:
        content = path.read_bytes()
        plain = _unzipped(content) if kind.endswith(".gz") else content
        table = _parquet(plain) if kind == ".parquet" else _delimited(plain, kind)
        # Lazily decoded: names, and in Parquet texts, that are not UTF-8 would fail later.
        names = Counter(table.column_names)
        table.validate(full=True)
    except _TooLarge as error:
        raise InputError(f"{path} {error}: unpack it, or give a part of it") from None
    except (pa.ArrowException, OSError, EOFError, zlib.error, ValueError) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise InputError(f"{path} can't be read as {kind[1:]}: {reason}") from None
    for name, count in names.items():
        if count > 1:
            raise InputError(f"{path} has {count} columns {name!r}: rename all but one")
    if table.num_rows == 0:
        raise InputError(f"{path} has a header but no rows")
    return content, table


def stem(path: Path) -> str:
    """The file's name without its extension.

    Example:
        >>> stem(Path("/data/visits.csv.gz"))
        'visits'

    """
    return path.name[: -len(_suffix(path))]


def _suffix(path: Path) -> str:
    for suffix in SUFFIXES:
        if path.name.lower().endswith(suffix):
            return suffix
    raise InputError(
        f"{path} is not a table Edgewise can read: it must end in {', '.join(SUFFIXES)}"
    )


def _delimited(content: bytes, kind: str) -> "pa.Table":
    import pyarrow as pa
    from pyarrow import csv

    # One block, so that a column's type is inferred from all of it: by default pyarrow looks at
    # the first megabyte and fails on a 1.5 after whole numbers.
    block = min(len(content) + 1, 2**31 - 1)
    # Identities as text: 007 is not 7.
    text = {"sequence": pa.string(), "split": pa.string()}
    return csv.read_csv(
        pa.BufferReader(content),
        read_options=csv.ReadOptions(use_threads=False, block_size=block),
        parse_options=csv.ParseOptions(delimiter="\t" if kind.startswith(".tsv") else ","),
        convert_options=csv.ConvertOptions(column_types=text),
    )


class _TooLarge(Exception):
    """A small file that says it holds very much."""


def _allowed(content: bytes) -> int:
    return max(_ROOM, _DENSE * len(content))


def _unzipped(content: bytes) -> bytes:
    allowed = _allowed(content)
    with gzip.GzipFile(fileobj=io.BytesIO(content)) as file:
        plain = file.read(allowed + 1)
    if len(plain) > allowed:
        raise _TooLarge(f"unpacks to more than {_DENSE} times its size")
    return plain


def _parquet(content: bytes) -> "pa.Table":
    import pyarrow as pa
    from pyarrow import parquet

    needed = unpacked_size(content)
    if needed > _allowed(content):
        raise _TooLarge(f"unpacks to {needed} bytes")
    return parquet.read_table(pa.BufferReader(content), use_threads=False)
