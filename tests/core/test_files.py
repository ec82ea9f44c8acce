import os
from pathlib import Path

import numpy as np
import pytest
import torch

from edgewise.core import InputError, read_json, write_atomically, write_json


@pytest.mark.parametrize("content", ["ä\nb\n", "ä\nb\n".encode(), lambda p: p.write_text("ä\nb\n")])
def test_text_bytes_and_functions_are_written(tmp_path, content):
    path = tmp_path / "new" / "folder" / "note.txt"
    assert write_atomically(path, content) == path
    assert path.read_bytes() == "ä\nb\n".encode()
    assert [p.name for p in path.parent.iterdir()] == ["note.txt"]


def failing(temporary: Path) -> None:
    temporary.write_text("half")
    raise KeyboardInterrupt


@pytest.mark.parametrize("old", [None, "old"])
def test_a_failing_writer_leaves_the_old_file_and_nothing_else(tmp_path, old):
    path = tmp_path / "note.txt"
    if old:
        path.write_text(old)
    with pytest.raises(KeyboardInterrupt):
        write_atomically(path, failing)
    assert [p.read_text() for p in tmp_path.iterdir()] == ([old] if old else [])


def test_the_old_file_is_there_until_the_new_one_is_whole(tmp_path):
    path = write_atomically(tmp_path / "note.txt", "old")
    seen = []

    def write(temporary: Path) -> None:
        seen.append((temporary.suffix, temporary.parent, path.read_text()))
        temporary.write_text("new")

    write_atomically(path, write)
    assert seen == [(".txt", tmp_path, "old")]
    assert path.read_text() == "new"


@pytest.mark.skipif(os.name == "nt", reason="permissions of POSIX")
def test_the_umask_decides_who_may_read(tmp_path):
    before = os.umask(0o027)
    try:
        path = write_atomically(tmp_path / "note.txt", "")
    finally:
        assert os.umask(before) == 0o027
    assert path.stat().st_mode & 0o777 == 0o640


def test_json_takes_what_scripts_hold(tmp_path):
    value = {
        "nan": float("nan"),
        "infinite": [float("inf"), -float("inf")],
        "numpy": np.float32(0.5),
        "whole": np.int64(3),
        "truth": np.bool_(True),
        "array": np.array([[1.0, np.nan]]),
        "tensor": torch.tensor([1, 2]),
        "path": Path("a") / "b",
        "tuple": (1, "ü", None),
        3: "a number as key",
    }
    path = write_json(tmp_path / "x.json", value)
    assert read_json(path) == {
        "nan": None,
        "infinite": [None, None],
        "numpy": 0.5,
        "whole": 3,
        "truth": True,
        "array": [[1.0, None]],
        "tensor": [1, 2],
        "path": str(Path("a") / "b"),
        "tuple": [1, "ü", None],
        "3": "a number as key",
    }
    assert "ü" in path.read_text(encoding="utf-8")
    assert path.read_bytes().endswith(b"}\n")


def test_what_json_can_not_hold_is_refused_before_the_file_is_touched(tmp_path):
    path = write_json(tmp_path / "x.json", 1)
    with pytest.raises(TypeError):
        write_json(path, {"a": object()})
    assert read_json(path) == 1


def test_reading_says_what_is_wrong(tmp_path):
    path = tmp_path / "x.json"
    with pytest.raises(InputError) as caught:
        read_json(path)
    assert str(caught.value) == f"there is no file {path}"
    path.write_text('{"a": 1,\n b}')
    with pytest.raises(InputError) as caught:
        read_json(path)
    assert str(caught.value).startswith(f"{path} is not valid JSON: ")
    assert "line 2 column 2" in str(caught.value)
    path.write_text("[" * 100_000)
    with pytest.raises(InputError, match=r"is not valid JSON: .*recursion"):
        read_json(path)
    path.write_bytes(b"\xff\xff")
    with pytest.raises(InputError, match="is not valid JSON"):
        read_json(path)


def test_a_byte_order_mark_is_no_fault(tmp_path):
    path = tmp_path / "x.json"
    path.write_bytes(b"\xef\xbb\xbf[1]")
    assert read_json(path) == [1]
