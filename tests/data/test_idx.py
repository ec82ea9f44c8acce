import gzip
import re

import numpy as np
import pytest
import torch
from event_files import idx_bytes

from edgewise.core import InputError
from edgewise.data import read_idx

CODES = {8: "u1", 9: "i1", 0x0B: "i2", 0x0C: "i4", 0x0D: "f4", 0x0E: "f8"}


@pytest.mark.parametrize("code", CODES)
@pytest.mark.parametrize("zipped", [True, False])
@pytest.mark.parametrize("shape", [(1,), (63,), (4, 5, 6), (0, 3)])
def test_values_come_back(tmp_path, code, zipped, shape):
    values = np.random.default_rng(0).integers(0, 100, shape).astype(CODES[code])
    content = idx_bytes(values, code)
    file = tmp_path / "file"
    file.write_bytes(gzip.compress(content) if zipped else content)
    read = read_idx(file, len(shape))
    assert read.dtype == torch.from_numpy(values).dtype
    assert torch.equal(read, torch.from_numpy(values))
    read.fill_(1)  # writable, so torch has nothing to warn about


VALUES = idx_bytes(np.arange(12, dtype=np.uint8).reshape(3, 4))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (
            VALUES[:-5],
            "{} is truncated or corrupt: expected 12 bytes for 3 × 4 values, found 7; "
            "delete it and get it again",
        ),
        (
            VALUES + b"x",
            "{} is truncated or corrupt: expected 12 bytes for 3 × 4 values, found more than 12; "
            "delete it and get it again",
        ),
        (
            VALUES[:9],
            "{} is truncated or corrupt: expected 8 bytes for its dimensions, found 5; "
            "delete it and get it again",
        ),
        (
            b"",
            "{} is truncated or corrupt: expected 4 bytes for a magic number, found 0; "
            "delete it and get it again",
        ),
        (b"<html><body>", "{} is not an IDX file: it begins with 3c 68 74 6d"),
        (b"\0\0\x07\1" + VALUES, "{} is not an IDX file: it begins with 00 00 07 01"),
        (idx_bytes(np.zeros(3, np.uint8)), "{} has 1 dimensions, not 2: it is another file"),
    ],
)
@pytest.mark.parametrize("zipped", [True, False])
def test_wrong_content_is_refused(tmp_path, content, message, zipped):
    file = tmp_path / "values-idx2-ubyte.gz"
    file.write_bytes(gzip.compress(content) if zipped else content)
    with pytest.raises(InputError) as caught:
        read_idx(file, 2)
    assert str(caught.value) == message.format(file)


def test_a_header_that_promises_the_moon_allocates_nothing(tmp_path):
    file = tmp_path / "huge"
    file.write_bytes(bytes([0, 0, 8, 3]) + b"\xff" * 12 + b"few")
    with pytest.raises(
        InputError, match=r"expected 79228162458924105385300197375 bytes .* found 3;"
    ):
        read_idx(file)


def test_a_truncated_gz_names_both_numbers(tmp_path):
    random = np.random.default_rng(0).integers(0, 256, (100, 100)).astype(np.uint8)
    file = tmp_path / "half.gz"
    file.write_bytes(gzip.compress(idx_bytes(random))[:5000])
    with pytest.raises(InputError) as caught:
        read_idx(file)
    assert re.fullmatch(
        rf"{re.escape(str(file))} is truncated or corrupt: expected 10000 bytes for 100 × 100 "
        r"values, found \d+ \(Compressed file ended before the end-of-stream marker was reached\); "
        r"delete it and get it again",
        str(caught.value),
    )


def test_a_corrupt_gz_is_refused(tmp_path):
    random = np.random.default_rng(0).integers(0, 256, (100, 100)).astype(np.uint8)
    content = bytearray(gzip.compress(idx_bytes(random)))
    for position, reason in ((5000, ""), (-6, "CRC check failed")):
        broken = content.copy()
        broken[position] ^= 0xFF
        (tmp_path / "broken.gz").write_bytes(broken)
        with pytest.raises(InputError, match=f"is truncated or corrupt: expected 10000 .*{reason}"):
            read_idx(tmp_path / "broken.gz")


def test_a_missing_file(tmp_path):
    with pytest.raises(InputError, match=f"^there is no file {re.escape(str(tmp_path / 'no'))}$"):
        read_idx(tmp_path / "no")
