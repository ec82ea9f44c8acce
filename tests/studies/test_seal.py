"""Seals: what an archive's own checksums leave out is noticed, too."""

import numpy as np
import pytest

from edgewise.core import InputError
from edgewise.studies.records.seal import READ_LATER, check_digest, check_seal, seal


@pytest.mark.parametrize("name", READ_LATER)
def test_a_flipped_bit_in_the_header_of_an_archive_is_noticed(name, tmp_path):
    path = tmp_path / name
    np.savez_compressed(path, item=np.arange(5))
    seal(tmp_path)
    data = bytearray(path.read_bytes())
    check_digest(path, bytes(data))
    data[10] ^= 1  # the minute at which it was made: NumPy reads the same numbers
    path.write_bytes(data)
    assert np.array_equal(np.load(path)["item"], np.arange(5))
    check_seal(tmp_path)
    with pytest.raises(InputError) as error:
        check_digest(path, bytes(data))
    assert str(error.value) == (
        f"{path} is damaged (its checksum is not the one in seal.json): delete the folder "
        f"{tmp_path} and run the study again, which repeats this trial only"
    )


def test_a_file_that_is_gone_is_noticed(tmp_path):
    (tmp_path / "record.json").write_text("{}")
    seal(tmp_path)
    (tmp_path / "record.json").unlink()
    with pytest.raises(InputError, match=r"record\.json is damaged"):
        check_seal(tmp_path)
