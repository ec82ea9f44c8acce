"""What files say of their size, against what pyarrow says; and what lies is refused."""

import io

import numpy as np
import pyarrow as pa
import pytest
from pyarrow import parquet

from edgewise.core import InputError
from edgewise.data.parquet_sizes import unpacked_size
from edgewise.data.table_files import read_table

ROWS = 9000


def a_file(compression="snappy", version="1.0", **options):
    table = pa.table(
        {
            "number": np.arange(ROWS),
            "text": [f"x{i % 7}" for i in range(ROWS)],
            "list": [None, [1, 2, 3]] * (ROWS // 2),
            "flag": pa.array([True, None] * (ROWS // 2)),
        }
    )
    buffer = io.BytesIO()
    parquet.write_table(
        table,
        buffer,
        compression=compression,
        data_page_version=version,
        row_group_size=2000,
        data_page_size=3000,
        **options,
    )
    return buffer.getvalue()


def metadata(content):
    return parquet.read_metadata(pa.BufferReader(content))


@pytest.mark.parametrize("compression", ["none", "snappy", "gzip", "zstd"])
@pytest.mark.parametrize("version", ["1.0", "2.0"])
@pytest.mark.parametrize("extra", [{}, {"write_page_index": True, "write_page_checksum": True}])
def test_the_pages_of_sound_files_are_all_counted(compression, version, extra):
    content = a_file(compression, version, use_dictionary=False, **extra)
    about = metadata(content)
    columns = [
        about.row_group(g).column(c)
        for g in range(about.num_row_groups)
        for c in range(about.num_columns)
    ]
    # Theirs counts the headers, too, some 20 to 60 bytes a page, and not what points at values.
    theirs = sum(c.total_uncompressed_size for c in columns)
    values = sum(c.num_values for c in columns)
    assert 0.9 * theirs < unpacked_size(content) - 8 * values <= theirs


def test_a_dictionary_is_a_page_too():
    content = a_file()
    column = metadata(content).row_group(0).column(0)
    assert column.has_dictionary_page
    assert unpacked_size(content) > 4 * 8 * ROWS


def saying(size):
    """A file of one column, whose first page says that it unpacks to ``size`` bytes."""
    buffer = io.BytesIO()
    parquet.write_table(pa.table({"number": np.arange(ROWS)}), buffer)
    content = buffer.getvalue()
    place = metadata(content).row_group(0).column(0).dictionary_page_offset
    # The header begins: field 1, the kind 2 (a dictionary); field 2, the size.
    assert content[place : place + 3] == b"\x15\x04\x15"
    end = place + 3
    while content[end] > 127:
        end += 1
    value, said = (size << 1) ^ (size >> 63), bytearray()
    while value > 127:
        said.append(value & 127 | 128)
        value >>= 7
    return content[: place + 3] + bytes([*said, value]) + content[end + 1 :]


def test_a_page_that_says_it_is_huge_is_refused_before_memory_is_taken(tmp_path, monkeypatch):
    path = tmp_path / "table.parquet"
    path.write_bytes(saying(2**31 - 64))
    monkeypatch.setattr(parquet, "read_table", lambda *_, **__: pytest.fail("it was read"))
    with pytest.raises(InputError, match=r"unpacks to 2147\d{6} bytes: unpack it"):
        read_table(path)


def test_a_negative_size_is_refused(tmp_path):
    path = tmp_path / "table.parquet"
    path.write_bytes(saying(-1))
    with pytest.raises(InputError, match="a number is missing or negative"):
        read_table(path)


def test_headers_that_make_no_sense_are_refused(tmp_path):
    content = a_file()
    place = metadata(content).row_group(0).column(0).dictionary_page_offset
    footer = len(content) - 8 - int.from_bytes(content[-8:-4], "little")
    for at in (place, footer):
        for damage, fault in [
            (b"\x1f", "there is no kind 15"),
            (b"\x00", "is missing"),
            (b"\x15" + b"\xff" * 12, "a number has no end"),
            (b"\x1c" * 20, "nested too deeply"),
            (b"\x18\xff\xff\xff\xff\x07", "leads out of the file"),
            (b"\x19\xff\xff\xff\xff\xff\x07", "there is no kind 15"),
        ]:
            path = tmp_path / "table.parquet"
            path.write_bytes(content[:at] + damage + content[at + len(damage) :])
            with pytest.raises(InputError, match=f"can't be read as parquet: .*{fault}"):
                read_table(path)


def test_what_is_no_parquet_is_refused(tmp_path):
    content = a_file()
    path = tmp_path / "table.parquet"
    for other, fault in [
        (b"", "does not end as Parquet files do"),
        (content[:-1], "does not end as Parquet files do"),
        (content[:-8] + b"\xff\xff\xff\x7f" + content[-4:], "footer is longer than the file"),
    ]:
        path.write_bytes(other)
        with pytest.raises(InputError, match=f"can't be read as parquet: .*{fault}"):
            read_table(path)


def test_a_table_of_many_like_values_is_read(tmp_path):
    path = tmp_path / "table.parquet"
    parquet.write_table(pa.table({"same": [1.5] * 10**6}), path)
    assert read_table(path)[1].num_rows == 10**6
