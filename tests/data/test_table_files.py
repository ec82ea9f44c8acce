"""Table files: small ones that say they hold very much, and names that are no text."""

import gzip
import io

import pyarrow as pa
import pytest
from pyarrow import parquet

from edgewise.core import InputError
from edgewise.data import table_files
from edgewise.data.table_files import read_table


@pytest.fixture(autouse=True)
def _little_room(monkeypatch):
    monkeypatch.setattr(table_files, "_ROOM", 10_000)
    monkeypatch.setattr(table_files, "_DENSE", 3)


def write(path, content):
    path.write_bytes(content)
    return path


def refused(path):
    with pytest.raises(InputError) as error:
        read_table(path)
    return str(error.value)


def test_a_file_that_unpacks_to_far_more_is_refused(tmp_path):
    plain = b"a\n" + b"1\n" * 10_000
    path = write(tmp_path / "x.csv.gz", gzip.compress(plain))
    assert refused(path) == (
        f"{path} unpacks to more than 3 times its size: unpack it, or give a part of it"
    )
    assert read_table(write(tmp_path / "x.csv", plain))[1].num_rows == 10_000


def test_rows_that_take_no_room_are_counted(tmp_path):
    buffer = io.BytesIO()
    parquet.write_table(pa.table({"a": [7] * 5000, "b": [1] * 5000}), buffer)
    path = write(tmp_path / "x.parquet", buffer.getvalue())
    assert len(buffer.getvalue()) < 5000
    assert refused(path) == f"{path} unpacks to 80054 bytes: unpack it, or give a part of it"


def test_what_fits_is_read(tmp_path):
    path = write(tmp_path / "x.csv.gz", gzip.compress(b"a\n1\n2\n"))
    assert read_table(path)[1]["a"].to_pylist() == [1, 2]


@pytest.mark.parametrize("suffix", ["csv", "tsv.gz"])
def test_a_header_that_is_no_text(tmp_path, suffix):
    content = b"\x80a\n1\n"
    path = write(tmp_path / f"x.{suffix}", gzip.compress(content) if "gz" in suffix else content)
    assert refused(path) == (
        f"{path} can't be read as {suffix}: 'utf-8' codec can't decode byte 0x80 in position 0: "
        f"invalid start byte"
    )
