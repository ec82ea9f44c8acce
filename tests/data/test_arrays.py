"""Arrays in npz files: what a header claims is held against what is there."""

import io
import zipfile

import numpy as np
import pytest

from edgewise.core import InputError
from edgewise.data.arrays import read_arrays


def claiming(shape, dtype="|u1"):
    """The bytes of an array that says it has a shape, and has four bytes."""
    buffer = io.BytesIO()
    header = {"descr": dtype, "fortran_order": False, "shape": shape}
    np.lib.format.write_array_header_1_0(buffer, header)
    return buffer.getvalue() + b"abcd"


def test_what_numpy_wrote_is_read(tmp_path):
    arrays = {"a": np.arange(6).reshape(2, 3).T, "b": np.array("é"), "c": np.zeros((0, 4), "f4")}
    for save in (np.savez, np.savez_compressed):
        save(tmp_path / "x.npz", **arrays)
        found = read_arrays(tmp_path / "x.npz")
        assert found.keys() == arrays.keys()
        for name, array in arrays.items():
            assert np.array_equal(found[name], array)
            assert found[name].dtype == array.dtype


@pytest.mark.parametrize("shape", [(10**15,), (2**40, 2**40), (200,)])
def test_an_array_larger_than_the_file_takes_no_memory(tmp_path, shape):
    with zipfile.ZipFile(tmp_path / "x.npz", "w") as archive:
        archive.writestr("a.npy", claiming(shape))
    with pytest.raises(InputError) as error:
        read_arrays(tmp_path / "x.npz")
    assert str(error.value) == (
        f"{tmp_path / 'x.npz'} is truncated or corrupt: a.npy claims to be an array of shape "
        f"{shape}; delete it and get it again"
    )


def test_a_truncated_array(tmp_path):
    with zipfile.ZipFile(tmp_path / "x.npz", "w") as archive:
        archive.writestr("a.npy", claiming((5,)))
    with pytest.raises(InputError, match=r"corrupt: a.npy ends after 4 of 5 bytes"):
        read_arrays(tmp_path / "x.npz")


def test_four_bytes_that_say_so_are_four_bytes(tmp_path):
    with zipfile.ZipFile(tmp_path / "x.npz", "w") as archive:
        archive.writestr("a.npy", claiming((4,)))
    assert read_arrays(tmp_path / "x.npz")["a"].tolist() == list(b"abcd")


def test_nothing_is_run(tmp_path):
    np.savez(tmp_path / "x.npz", a=np.array([object()]), allow_pickle=True)
    with pytest.raises(InputError, match=r"a\.npy holds Python objects"):
        read_arrays(tmp_path / "x.npz")


def test_a_file_that_is_not_there(tmp_path):
    with pytest.raises(InputError) as error:
        read_arrays(tmp_path / "no.npz")
    assert str(error.value) == f"there is no file {tmp_path / 'no.npz'}"


@pytest.mark.parametrize("header", [b"{'descr': (", b"{'descr': '|u1'", b"}", b"\xff" * 8, b""])
def test_a_header_that_is_no_python(tmp_path, header):
    with zipfile.ZipFile(tmp_path / "x.npz", "w") as archive:
        archive.writestr("a.npy", b"\x93NUMPY\x01\x00" + bytes([len(header), 0]) + header)
    with pytest.raises(InputError, match="is truncated or corrupt: "):
        read_arrays(tmp_path / "x.npz")
