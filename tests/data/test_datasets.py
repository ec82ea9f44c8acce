import dataclasses
import re

import pytest
import torch
from event_files import random_streams, write_image_files

from edgewise.core import InputError
from edgewise.data import DATASETS, EventDataset, load_dataset


def test_what_is_on_the_shelf():
    assert list(DATASETS) == ["digits", "mnist", "fashion_mnist", "nmnist"]


def test_a_name_with_options():
    data = load_dataset("digits", split_seed=2, threshold=0.5, data_dir="/not/needed")
    assert data.card["options"]["threshold"] == 0.5
    assert data.card["options"]["split_seed"] == 2


def test_a_name_with_files(tmp_path):
    write_image_files(tmp_path / "mnist")
    assert len(load_dataset("mnist", data_dir=tmp_path, validation=10).train) == 30


def test_limit_keeps_the_classes_in_proportion():
    whole, part = load_dataset("digits"), load_dataset("digits", limit=100)
    assert len(part.train) == 100
    share = whole.train.labels.bincount() * 100 / 1077
    assert (part.train.labels.bincount() - share).abs().max() <= 1
    assert torch.equal(part.test.times, whole.test.times)
    assert part.card["limit"] == 100
    assert part.card["sizes"] == {"train": 100, "validation": 360, "test": 360}
    assert part.card["source"] == whole.card["source"]
    assert "limit" not in whole.card
    assert len(load_dataset("digits", limit=1077).train) == 1077


MODULE = """
from edgewise.data import EventDataset
from event_files import random_streams

def mine(*, data_dir, split_seed, size: int, scale: "float" = 1.0):
    part = random_streams(size, seed=split_seed)
    return EventDataset(part, part, part, "mine", {"folder": data_dir, "scale": scale})

def free(**options):
    part = random_streams(5)
    return EventDataset(part, part, part, "free", options)

def wrong():
    return 3
"""


@pytest.fixture
def outside(tmp_path, monkeypatch):
    (tmp_path / "outside_sets.py").write_text(MODULE)
    monkeypatch.syspath_prepend(tmp_path)


@pytest.mark.usefixtures("outside")
def test_a_function_from_outside():
    data = load_dataset("outside_sets:mine", data_dir="/d", split_seed=1, size=8, scale=2)
    assert torch.equal(data.train.times, random_streams(8, seed=1).times)
    assert data.card == {"folder": "/d", "scale": 2}
    assert load_dataset("outside_sets:free", depth=[3]).card == {"depth": [3]}
    with pytest.raises(InputError) as caught:
        load_dataset("outside_sets:mine")
    assert str(caught.value) == "data set 'outside_sets:mine' needs the option 'size'"
    with pytest.raises(InputError) as caught:
        load_dataset("outside_sets:wrong", x=1)
    assert str(caught.value) == "data set 'outside_sets:wrong' has no option 'x': it has none"
    with pytest.raises(InputError) as caught:
        load_dataset("outside_sets:wrong")
    assert str(caught.value) == (
        "the data set 'outside_sets:wrong' must return an EventDataset, not int"
    )


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            {"treshold": 0.5},
            "data set 'digits' has no option 'treshold': did you mean 'threshold'? "
            "(known: threshold, normalise, intensity)",
        ),
        (
            {"threshold": "0.5"},
            "data set 'digits': the option 'threshold' takes float, not '0.5'",
        ),
        ({"normalise": 1}, "data set 'digits': the option 'normalise' takes bool, not 1"),
        ({"threshold": True}, "data set 'digits': the option 'threshold' takes float, not True"),
        ({"limit": 0}, "limit must be at least 1, not 0"),
        (
            {"limit": 1078},
            "limit is 1078, but the data set 'digits' has 1077 training streams",
        ),
        ({"split_seed": -1}, "split_seed must be at least 0, not -1"),
    ],
)
def test_bad_options(options, message):
    with pytest.raises(InputError, match=f"^{re.escape(message)}$"):
        load_dataset("digits", **options)


def test_an_option_that_may_be_none():
    with pytest.raises(InputError) as caught:
        load_dataset("nmnist", max_events=2.5)
    assert str(caught.value) == (
        "data set 'nmnist': the option 'max_events' takes int | None, not 2.5"
    )
    with pytest.raises(InputError, match="needs the file"):  # None passes, then the file is missed
        load_dataset("nmnist", max_events=None, data_dir="/nowhere")


@pytest.mark.parametrize("source", ["digts", "digts/none"])
def test_neither_a_name_nor_a_file(source):
    with pytest.raises(InputError) as caught:
        load_dataset(source)
    near = "did you mean 'digits'? (" if source == "digts" else ""
    assert str(caught.value).startswith(f"there is no data set and no file {source!r}: {near}")
    assert str(caught.value).endswith("; a file ends in .csv, .tsv, .csv.gz, .tsv.gz, .parquet")


def test_a_missing_table_and_a_strange_one(tmp_path):
    with pytest.raises(InputError, match=r"^there is no file .*no\.csv$"):
        load_dataset(tmp_path / "no.csv")
    (tmp_path / "a.xlsx").write_bytes(b"")
    with pytest.raises(
        InputError, match=r"a\.xlsx is not a table Edgewise can read: it must end in"
    ):
        load_dataset(tmp_path / "a.xlsx")


def test_a_table_takes_no_options(tmp_path):
    with pytest.raises(InputError, match=r"events\.csv' has no option 'threshold': it has none$"):
        load_dataset(str(tmp_path / "events.csv"), threshold=0.5)


def test_a_data_set_is_frozen():
    with pytest.raises(dataclasses.FrozenInstanceError):
        load_dataset("digits").name = "x"
    assert isinstance(load_dataset("digits"), EventDataset)
