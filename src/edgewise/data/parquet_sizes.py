"""What a Parquet file says that it unpacks to, read before any of it is unpacked.

At its end the file says where its columns lie; a column lies there as pages, each behind a header.
A reader takes memory for what both say, which need not be true. pyarrow's own view of the columns
can't be asked: where a file contradicts itself it ends the process (26.0.1).
Format: https://github.com/apache/parquet-format, ``parquet.thrift``, in Thrift's compact protocol.
"""

from collections.abc import Iterator
from typing import Any

MAGIC = b"PAR1"

# Fields of the structures, by their numbers.
_FILE_ROWS, _ROW_GROUPS = 3, 4
_COLUMNS, _GROUP_ROWS = 1, 3
_ABOUT_COLUMN = 3
_PACKED_COLUMN, _DATA_OFFSET, _DICTIONARY_OFFSET = 7, 9, 11
_UNPACKED_PAGE, _PACKED_PAGE = 2, 3
# The header of a data page, of a dictionary, of a data page of version 2; in each field 1 is the
# number of values.
_KINDS_OF_PAGES, _VALUES = (5, 7, 8), 1

_PER_VALUE = 8
"""Bytes that a reader takes for a value, be it only to point at it."""

_DEEP = 12
"""Levels of structures within structures; the format has six."""


def unpacked_size(content: bytes) -> int:
    """The bytes that rows, or pages, say they need.

    Repeated values take next to no room in a file, so they can be far more than the file has.

    Args:
        content: The file.

    Raises:
        ValueError: If the file is no Parquet, is encrypted, or leads out of itself.

    """
    about = _footer(content)
    groups = [_Structure(group) for group in about.list(_ROW_GROUPS)]
    rows = max(about.number(_FILE_ROWS), sum(group.number(_GROUP_ROWS) for group in groups))
    most = max((len(group.list(_COLUMNS)) for group in groups), default=0)
    pages = sum(_needed(header) for group in groups for header in _pages(content, group))
    return max(_PER_VALUE * rows * most, pages)


def _footer(content: bytes) -> "_Structure":
    if len(content) < 12 or content[-4:] != MAGIC:
        raise ValueError("it does not end as Parquet files do, or is encrypted")
    length = int.from_bytes(content[-8:-4], "little")
    if length > len(content) - 12:
        raise ValueError("its footer is longer than the file")
    return _Structure(_Reader(content, len(content) - 8 - length).struct())


def _pages(content: bytes, group: "_Structure") -> Iterator["_Structure"]:
    """The headers of all pages of a group of rows."""
    if not group.number(_GROUP_ROWS):
        return
    for column in group.list(_COLUMNS):
        about = _Structure(column).struct(_ABOUT_COLUMN)
        offsets = [about.number(_DATA_OFFSET), about.number(_DICTIONARY_OFFSET, 0)]
        place = min(filter(None, offsets), default=0)
        end = place + about.number(_PACKED_COLUMN)
        if end > len(content):
            raise ValueError("a column leads out of the file")
        while place < end:
            reader = _Reader(content, place)
            header = _Structure(reader.struct())
            yield header
            place = reader.place + header.number(_PACKED_PAGE)


def _needed(header: "_Structure") -> int:
    """What a page needs, by its header."""
    kinds = [header.struct(kind) for kind in _KINDS_OF_PAGES if header.has(kind)]
    values = sum(kind.number(_VALUES) for kind in kinds)
    return header.number(_UNPACKED_PAGE) + _PER_VALUE * values


class _Structure:
    """The fields of a Thrift structure, each of the kind that is asked for."""

    def __init__(self, fields: Any) -> None:
        if not isinstance(fields, dict):
            raise ValueError("a structure is missing")
        self.fields = fields

    def has(self, field: int) -> bool:
        return field in self.fields

    def number(self, field: int, default: int | None = None) -> int:
        found = self.fields.get(field, default)
        if not isinstance(found, int) or found < 0:
            raise ValueError("a number is missing or negative")
        return found

    def list(self, field: int) -> list[Any]:
        found = self.fields.get(field)
        if not isinstance(found, list):
            raise ValueError("a list is missing")
        return found

    def struct(self, field: int) -> "_Structure":
        return _Structure(self.fields.get(field))


class _Reader:
    """Thrift's compact protocol, as far as sizes need it."""

    def __init__(self, content: bytes, place: int) -> None:
        self.content, self.place = content, place

    def struct(self, depth: int = 0) -> dict[int, Any]:
        """The fields by number: whole numbers, lists, structures; all others are None."""
        if depth > _DEEP:
            raise ValueError(f"it is nested too deeply at byte {self.place}")
        found: dict[int, Any] = {}
        field = 0
        while (byte := self._byte()) != 0:
            step, kind = byte >> 4, byte & 15
            field = field + step if step else self._number()
            # Of a field, true and false are kinds of their own and take no byte.
            found[field] = None if kind in (1, 2) else self._value(kind, depth)
        return found

    def _value(self, kind: int, depth: int) -> Any:
        if kind in (1, 2, 3):
            return self._skip(1)
        if kind in (4, 5, 6):
            return self._number()
        if kind == 7:
            return self._skip(8)
        if kind == 8:
            return self._skip(self._unsigned())
        if kind in (9, 10):
            return self._list(depth)
        if kind == 12:
            return self.struct(depth + 1)
        raise ValueError(f"there is no kind {kind}, as at byte {self.place}")

    def _list(self, depth: int) -> list[Any]:
        byte = self._byte()
        count = byte >> 4 if byte >> 4 < 15 else self._unsigned()
        # Each takes a byte or more: a false count leads out of the file.
        return [self._value(byte & 15, depth) for _ in range(count)]

    def _number(self) -> int:
        """Zigzag: 0, -1, 1, -2, ..."""
        value = self._unsigned()
        return (value >> 1) ^ -(value & 1)

    def _unsigned(self) -> int:
        """Seven bits a byte, the lowest first."""
        value = 0
        for shift in range(0, 64, 7):
            byte = self._byte()
            value |= (byte & 127) << shift
            if byte < 128:
                return value
        raise ValueError(f"a number has no end at byte {self.place}")

    def _byte(self) -> int:
        self._skip(1)
        return self.content[self.place - 1]

    def _skip(self, count: int) -> None:
        if self.place + count > len(self.content):
            raise ValueError("a structure leads out of the file")
        self.place += count
