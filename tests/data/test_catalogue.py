from pathlib import Path

import pytest

from edgewise.core import InputError
from edgewise.data import SOURCES, data_dir, is_present, locate


def test_the_folder_is_the_explicit_one_then_the_variable_then_the_cache(monkeypatch):
    monkeypatch.setenv("EDGEWISE_DATA", "~/shared")
    assert data_dir("/x") == Path("/x")
    assert data_dir() == Path.home() / "shared"
    for unset in (
        lambda: monkeypatch.setenv("EDGEWISE_DATA", ""),
        lambda: monkeypatch.delenv("EDGEWISE_DATA"),
    ):
        unset()
        assert data_dir().name == "edgewise"
        assert data_dir().is_relative_to(Path.home())


def test_locate(tmp_path, monkeypatch):
    file = tmp_path / "mnist" / "a.gz"
    file.parent.mkdir()
    file.write_bytes(b"")
    monkeypatch.setenv("EDGEWISE_DATA", str(tmp_path))
    assert locate("mnist", "a.gz") == locate("mnist", "a.gz", tmp_path) == file


def test_is_present(tmp_path):
    assert not is_present("mnist", tmp_path)
    (tmp_path / "mnist").mkdir()
    for file in SOURCES["mnist"].files:
        assert not is_present("mnist", tmp_path)
        (tmp_path / "mnist" / file.name).write_bytes(b"")
    assert is_present("mnist", tmp_path)
    with pytest.raises(InputError) as caught:
        is_present("mnits", tmp_path)
    assert str(caught.value) == (
        "unknown data set 'mnits': did you mean 'mnist'? "
        "(known: digits, mnist, fashion_mnist, nmnist, imdb, rt-polarity)"
    )


def test_every_source_says_what_a_reader_must_know():
    for source in SOURCES.values():
        assert all(source.card.values())
        assert not source.files or source.mirrors or source.obtain
        for file in source.files:
            assert len(bytes.fromhex(file.sha256)) == 32
            assert file.size > 1000
    names = [file.name for file in SOURCES["mnist"].files]
    assert names == [
        "train-images-idx3-ubyte.gz",
        "train-labels-idx1-ubyte.gz",
        "t10k-images-idx3-ubyte.gz",
        "t10k-labels-idx1-ubyte.gz",
    ]
