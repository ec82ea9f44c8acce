import gzip

import numpy as np
import pytest
import torch

from edgewise.core import InputError
from edgewise.data import FUNCTIONS, RowBatches, Rows, TestFunction, load_function, load_tabular
from edgewise.data.tabular import TABLES


def write(path, rows, header="a,b,c,target"):
    path.write_text("\n".join([header, *(",".join(map(str, row)) for row in rows)]) + "\n")
    return str(path)


def some(n=40, classes=2):
    x = np.random.default_rng(0).normal(size=(n, 2))
    return [(a, b, 7, i % classes) for i, (a, b) in enumerate(x.round(4))]


@pytest.mark.parametrize("name", TABLES)
def test_bundled_tables_are_split_and_standardised(name):
    data = load_tabular(name, split_seed=3)
    whole = len(data.train) + len(data.validation) + len(data.test)
    assert len(data.train) == pytest.approx(0.6 * whole, abs=3)
    assert data.train.inputs.mean(0).abs().max() < 1e-5
    assert data.train.inputs.std(0, correction=0) == pytest.approx(1, abs=1e-4)
    if not data.classes:
        assert data.train.targets.mean().abs() < 1e-5
    shares = [torch.cat([rows.inputs[:, 0]]) for rows in (data.train, data.test)]
    assert not torch.isin(shares[0], shares[1]).all()


def test_the_seed_of_the_split_decides_it():
    one, same, other = (load_tabular("wine", split_seed=s).train.inputs for s in (1, 1, 2))
    assert torch.equal(one, same)
    assert not torch.equal(one, other)


def test_a_file_with_a_constant_column_and_labels_of_any_number(tmp_path):
    path = write(tmp_path / "t.csv", [(a, b, c, 10 * y - 5) for a, b, c, y in some()])
    data = load_tabular(path)
    assert data.classes == ("-5", "5")
    assert data.card["constant columns left out"] == ["c"]
    assert data.train.inputs.shape[1] == 2


def test_a_gzipped_table_of_the_data_folder(tmp_path):
    (tmp_path / "tabular").mkdir()
    lines = ["a\ttarget", *(f"{i * 0.37 % 1:.3f}\t{i * 0.11:.2f}" for i in range(80))]
    content = gzip.compress("\n".join(lines).encode())
    (tmp_path / "tabular" / "mine.tsv.gz").write_bytes(content)
    data = load_tabular("mine", tmp_path, limit=20)
    assert len(data.train) == 20
    assert data.classes == ()
    with pytest.raises(InputError, match="there is no table 'mime': did you mean 'mine'"):
        load_tabular("mime", tmp_path)


def test_the_task_can_be_said(tmp_path):
    path = write(tmp_path / "t.csv", some(classes=5))
    assert len(load_tabular(path).classes) == 5
    assert load_tabular(path, task="numbers").train.targets.dtype == torch.float32


@pytest.mark.parametrize(
    ("rows", "options", "message"),
    [
        (some(), {"target": "tarket"}, "has no column 'tarket': did you mean 'target'?"),
        (some(), {"task": "class"}, "unknown task 'class': did you mean 'classes'?"),
        (some(), {"limit": 100}, "limit must lie between 1 and 24, the training rows of"),
        (some(), {"split_seed": -1}, "split_seed must be at least 0, not -1"),
        (some(6), {}, "a table needs at least 10 rows to be split, got 6"),
        ([], {}, "has a header but no rows"),
        ([("x", 1, 2, 0)] * 20, {}, "the column 'a' holds 'x', which is no number"),
        ([(1, "nan", 2, 0)] * 20, {}, "b is nan in row 1: fill it or drop such rows"),
        ([(i, 1, 2, 3) for i in range(20)], {}, "the target is 3 in every row"),
        (
            [(1, 1, 2, i % 2) for i in range(20)],
            {},
            "has no column that varies in its training rows",
        ),
    ],
)
def test_what_is_wrong_is_said(tmp_path, rows, options, message):
    path = write(tmp_path / "t.csv", rows)
    with pytest.raises(InputError) as error:
        load_tabular(path, **options)
    assert message in str(error.value)


@pytest.mark.parametrize("name", FUNCTIONS)
def test_functions_are_learned_with_noise_and_tested_without(name):
    clean = load_function(name, points=400)
    noisy = load_function(name, points=400, noise=0.5)
    assert torch.equal(clean.train.inputs, noisy.train.inputs)
    assert torch.equal(clean.test.targets, noisy.test.targets)
    difference = (noisy.train.targets - clean.train.targets).std()
    assert difference == pytest.approx(0.5, rel=0.15)
    function = FUNCTIONS.resolve(name)()
    box = clean.test.inputs.double()
    truth = function.f(function.low + (function.high - function.low) * (box + 1) / 2)
    truth = (truth - truth.mean()) / truth.std()
    got = clean.test.targets[:, 0].double()
    assert torch.corrcoef(torch.stack([truth, got]))[0, 1] > 1 - 1e-6
    assert clean.test.inputs.abs().max() <= 1
    assert clean.extra["extrapolation"].inputs.abs().max() <= 1.25


def test_a_function_of_ones_own(monkeypatch, tmp_path):
    (tmp_path / "own_function.py").write_text(
        "from edgewise.data import TestFunction\n"
        "def square(): return TestFunction(lambda x: x[:, 0] ** 2, 1, 0.0, 2.0)\n"
        "def flat(): return TestFunction(lambda x: 0 * x[:, 0], 1)\n"
        "def wrong(): return TestFunction(lambda x: x, 1)\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    assert len(load_function("own_function:square", limit=50).train) == 50
    for name, message in (
        ("flat", "the function 'own_function:flat' is constant on its box"),
        ("wrong", "must give a finite number for each row, got"),
    ):
        with pytest.raises(InputError, match=message):
            load_function(f"own_function:{name}")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"points": 4}, "points must be at least 8, got 4"),
        ({"noise": -1.0}, "noise must be at least 0, got -1.0"),
        ({"stretch": 1.0}, "stretch must be above 1, got 1.0"),
    ],
)
def test_a_wrong_number_is_refused(options, message):
    with pytest.raises(InputError, match=message):
        load_function("sum", **options)


def test_rows_check_what_they_are_given():
    good = torch.zeros(3, 2)
    for inputs, targets, classes, message in (
        (good.double(), torch.zeros(3, 1), (), "inputs must be float32 of shape"),
        (good, torch.zeros(3), (), "targets must be torch.float32 of shape (3, 1)"),
        (good, torch.tensor([0, 1, 2]), ("a", "b"), "labels must lie between 0 and 1, got 0 to 2"),
        (good + torch.nan, torch.zeros(3, 1), (), "inputs and targets must be finite"),
    ):
        with pytest.raises(InputError) as error:
            Rows(inputs, targets, classes)
        assert message in str(error.value)


def test_batches_of_rows_hold_each_row_once_in_an_order_of_seed_and_epoch():
    rows = Rows(torch.arange(10.0).unsqueeze(-1), torch.zeros(10, 1))
    batches = RowBatches(rows, 4, seed=1)
    epochs = [[b.items.tolist() for b in batches.epoch(e)] for e in (1, 1, 2)]
    assert epochs[0] == epochs[1] != epochs[2]
    assert [len(b) for b in epochs[0]] == [4, 4, 2]
    assert sorted(item for batch in epochs[2] for item in batch) == list(range(10))
    assert isinstance(FUNCTIONS.resolve("sum")(), TestFunction)


def test_a_column_twice(tmp_path):
    path = tmp_path / "a.csv"
    path.write_text("a,target,a\n" + 20 * "1,0,2\n")
    with pytest.raises(InputError, match="has 2 columns 'a': rename all but one"):
        load_tabular(str(path))
