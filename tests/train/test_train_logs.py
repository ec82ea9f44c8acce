import csv

import pytest
from train_toys import Toys, network

from edgewise.core import InputError
from edgewise.train import CSVLog, Settings, fit


def read(path):
    with open(path, newline="") as file:
        return list(csv.DictReader(file))


def test_the_numbers_come_back_exactly(tmp_path):
    log = CSVLog(tmp_path / "logs" / "run.csv")
    run = fit(network(), Toys(), Toys(seed=1), Settings(epochs=3), seed=0, on_epoch=[log])
    rows = read(log.path)
    assert len(rows) == 3
    for row, wanted in zip(rows, run.history, strict=True):
        assert {k: float(v) for k, v in row.items()} == wanted


def test_an_epoch_done_again_replaces_its_row_and_later_ones(tmp_path):
    for epoch, loss in ((1, 1.0), (2, 2.0), (3, 3.0), (2, 0.5)):
        # A new log each time, as after a kill.
        CSVLog(tmp_path / "run.csv")({"epoch": epoch, "loss": loss}, network())
    assert read(tmp_path / "run.csv") == [
        {"epoch": "1", "loss": "1.0"},
        {"epoch": "2", "loss": "0.5"},
    ]


def test_columns_are_added_and_gaps_stay_empty(tmp_path):
    log = CSVLog(tmp_path / "run.csv")
    log({"epoch": 1, "loss": None}, network())
    log({"epoch": 2, "usage": [0.5, 0.5], "note": 'a, "b"'}, network())
    assert read(log.path) == [
        {"epoch": "1", "loss": "", "usage": "", "note": ""},
        {"epoch": "2", "loss": "", "usage": "[0.5, 0.5]", "note": 'a, "b"'},
    ]


@pytest.mark.parametrize("text", ["name,age\nAda,36\n", "epoch,loss\none,1\n"])
def test_a_foreign_file_is_not_overwritten(tmp_path, text):
    path = tmp_path / "table.csv"
    path.write_text(text)
    with pytest.raises(InputError) as error:
        CSVLog(path)({"epoch": 1}, network())
    assert str(error.value) == (
        f"{path} is not a log of epochs: give another path, or move the file away"
    )
    assert path.read_text() == text
