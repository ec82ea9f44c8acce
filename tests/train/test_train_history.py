import math

import numpy as np
import pytest
import torch

from edgewise.core import InputError
from edgewise.train import Settings, best_epoch, read_history, write_history
from edgewise.train.history import is_over, plain_row


def rows(*accuracies):
    return [
        {"epoch": e, "validation_accuracy": a, "validation_loss": 1 - a}
        for e, a in enumerate(accuracies, 1)
    ]


def test_rows_come_back_bit_for_bit(tmp_path):
    history = [{"epoch": 1, "x": 0.1 + 0.2, "y": 5e-324, "z": None, "ü": [1, {"a": 1 / 3}]}]
    assert read_history(write_history(tmp_path / "deep" / "history.jsonl", history)) == history


def test_no_rows_is_an_empty_file(tmp_path):
    assert read_history(write_history(tmp_path / "h.jsonl", [])) == []


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(InputError) as error:
        read_history(tmp_path / "none.jsonl")
    assert str(error.value) == f"there is no file {tmp_path / 'none.jsonl'}"


@pytest.mark.parametrize("bad", ['{"epoch": ', "3", "[]"])
def test_a_bad_line_is_named(tmp_path, bad):
    path = tmp_path / "h.jsonl"
    path.write_text('{"epoch": 1}\n' + bad + "\n")
    with pytest.raises(InputError) as error:
        read_history(path)
    assert str(error.value) == f"line 2 of {path} is not a JSON object: mend or delete the file"


@pytest.mark.parametrize("value", [math.nan, math.inf, {1: math.nan}, torch.ones(1), np.float32(1)])
def test_a_row_keeps_only_json(value):
    with pytest.raises(InputError) as error:
        plain_row({"epoch": 1, "usage": value})
    assert str(error.value) == (
        f"the history can't keep usage={value!r}: an on_epoch callable may add finite numbers, "
        f"text, and lists or dictionaries of them"
    )


def test_the_first_best_epoch_wins():
    assert best_epoch(rows(0.1, 0.7, 0.3, 0.7), "accuracy") == 2
    assert best_epoch(rows(0.1, 0.7, 0.3, 0.7), "loss") == 2
    assert best_epoch(rows(0.7, 0.7), "accuracy") == 1


def test_a_run_is_over_after_its_epochs():
    settings = Settings(epochs=3)
    assert [is_over(rows(*[0.5] * n), settings) for n in range(5)] == [
        False,
        False,
        False,
        True,
        True,
    ]


def test_a_run_is_over_when_patience_is_spent():
    settings = Settings(epochs=10, patience=2)
    history = rows(0.1, 0.5, 0.5, 0.4)
    assert [is_over(history[:n], settings) for n in range(1, 5)] == [False, False, False, True]
    assert not is_over(history, Settings(epochs=10, patience=0))
