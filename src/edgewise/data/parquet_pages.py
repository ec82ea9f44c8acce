"""How much a Parquet file's pages say that they unpack to, read before any of them is unpacked.

A column lies in the file as pages, each behind a header in Thrift's compact protocol. A reader
takes memory for what the header says, which need not be true.
Format: https://github.com/apache/parquet-format, ``PageHeader`` in ``parquet.thrift``.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pyarrow.parquet import FileMetaData

UNPACKED, PACKED = 2, 3
"""Fields of ``PageHeader``: sizes in bytes."""

COUNTED = (5, 7, 8)
"""Fields of ``PageHeader``: of a data page, a dictionary page, a data page of version 2. The first
field of each is the number of values."""

_PER_VALUE = 8
"""Bytes that a reader takes for a value, be it only to point at it."""

_DEEP = 8
"""Levels of structures within structures; the format has three."""


def unpacked_size(content: bytes, about: "FileMetaData") -> int:
    """The bytes that all pages say they need.

    Args:
        content: The file.
        about: Its metadata, which say where the columns are.

    Raises:
        ValueError: If a header can't be read or leads out of the file.

    """
    columns = (
        about.row_group(group).column(place)
        for group in range(about.num_row_groups)
        if about.row_group(group).num_rows
        for place in range(about.num_columns)
    )
    total = 0
    for column in columns:
        starts = [column.data_page_offset]
        if column.has_dictionary_page and column.dictionary_page_offset:
            starts.append(column.dictionary_page_offset)
        place = min(starts)
        end = place + column.total_compressed_size
        if not 0 <= place <= end <= len(content):
            raise ValueError(f"the column {column.path_in_schema!r} lies outside the file")
        while place < end:
            header = _Reader(content, place)
            fields = header.struct()
            total += _needed(fields, place)
            place = header.place + fields[PACKED]
    return total


def _needed(fields: dict[int, Any], place: int) -> int:
    """What one page needs, by the fields of its header."""
    counts = [fields[name].get(1) for name in COUNTED if isinstance(fields.get(name), dict)]
    said = [fields.get(UNPACKED), fields.get(PACKED), *counts]
    if any(not isinstance(number, int) or number < 0 for number in said):
        raise ValueError(f"the page at byte {place} has no size or a negative one")
    return fields[UNPACKED] + _PER_VALUE * sum(counts)


class _Reader:
    """Thrift's compact protocol, as far as a header needs it."""

    def __init__(self, content: bytes, place: int) -> None:
        self.content, self.place = content, place

    def struct(self, depth: int = 0) -> dict[int, Any]:
        """The fields by number: whole numbers and structures; all others are None."""
        if depth > _DEEP:
            raise ValueError(f"the page header at byte {self.place} is nested too deeply")
        found, field = {}, 0
        while (byte := self._byte()) != 0:
            step, kind = byte >> 4, byte & 15
            field = field + step if step else self._number()
            found[field] = self._value(kind, depth)
        return found

    def _value(self, kind: int, depth: int) -> Any:
        if kind in (1, 2):  # true and false
            return None
        if kind == 3:
            return self._skip(1)
        if kind in (4, 5, 6):
            return self._number()
        if kind == 7:
            return self._skip(8)
        if kind == 8:
            return self._skip(self._unsigned())
        if kind == 12:
            return self.struct(depth + 1)
        raise ValueError(f"the page header at byte {self.place} has a field of the kind {kind}")

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
        raise ValueError(f"the page header at byte {self.place} has a number without an end")

    def _byte(self) -> int:
        self._skip(1)
        return self.content[self.place - 1]

    def _skip(self, count: int) -> None:
        if self.place + count > len(self.content):
            raise ValueError(f"the page header at byte {self.place} leads out of the file")
        self.place += count
