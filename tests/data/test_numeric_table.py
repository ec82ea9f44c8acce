import gzip

import numpy as np
import pyarrow as pa
import pytest
from pyarrow import parquet

from edgewise.core import InputError
from edgewise.data.numeric_table import load_numbers

ROWS = "m,r,F,G\n1,2,0.75,1\n2,1,6,2.5\n3,4,1,4\n"


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "fall.csv"
    path.write_text(ROWS)
    return path


def test_every_kind_of_file_holds_the_same_numbers(file, tmp_path):
    packed, tabbed, columns = (tmp_path / f"a.{end}" for end in ("csv.gz", "tsv", "parquet"))
    packed.write_bytes(gzip.compress(ROWS.encode()))
    tabbed.write_text(ROWS.replace(",", "\t"))
    table = {"m": [1, 2, 3], "r": [2, 1, 4], "F": [0.75, 6, 1], "G": np.float32([1, 2.5, 4])}
    parquet.write_table(pa.table(table), columns)
    for path in (file, packed, tabbed, columns):
        found = load_numbers(path, ["F"])
        assert found.features == ("m", "r", "G")
        np.testing.assert_array_equal(found.x, [[1, 2, 1], [2, 1, 2.5], [3, 4, 4]])
        np.testing.assert_array_equal(found.y, [[0.75], [6], [1]])


def test_targets_and_features_come_in_the_order_that_was_asked_for(file):
    found = load_numbers(file, ["G", "F"], ["r", "m"])
    assert (found.targets, found.features) == (("G", "F"), ("r", "m"))
    np.testing.assert_array_equal(found.x[0], [2, 1])
    np.testing.assert_array_equal(found.y[0], [1, 0.75])


def test_a_column_that_nobody_asks_for_may_hold_anything(tmp_path):
    path = tmp_path / "a.csv"
    path.write_text("name,m,F,n\nx,1,2,4\ny,2,,5\nz,3,4,6\n")
    assert load_numbers(path, ["m"], ["n"]).x.shape == (3, 1)
    with pytest.raises(InputError, match="'name' holds text"):
        load_numbers(path, ["m"])


@pytest.mark.parametrize(
    ("text", "targets", "features", "message"),
    [
        (ROWS, ["H"], None, "{} has no column 'H': known: m, r, F, G"),
        (ROWS, ["F"], ["mm"], "{} has no column 'mm': did you mean 'm'? (known: m, r, F, G)"),
        (ROWS, [], None, "no target is named: choose among the columns m, r, F, G"),
        (
            ROWS,
            ["F"],
            ["m", "F"],
            "the column 'F' is named 2 times: a column is one target or one input",
        ),
        (
            ROWS,
            ["m", "r", "F", "G"],
            None,
            "{} has no column beside the targets to predict them from",
        ),
        ("m,m,F\n1,2,3\n", ["F"], None, "{} has 2 columns 'm': rename all but one"),
        ("m,F\n", ["F"], None, "{} has a header but no rows"),
        (
            "m,F\n1,2\n,3\n",
            ["F"],
            None,
            "{}: m is missing in row 2: fill it or drop such rows",
        ),
        (
            "m,F\n1,2\n2,nan\n",
            ["F"],
            None,
            "{}: F is missing in row 2: fill it or drop such rows",
        ),
        (
            "m,F\n1,2\n2,-inf\n",
            ["F"],
            None,
            "{}: F is -inf in row 2: fill it or drop such rows",
        ),
        (
            "who,m,F\nAda,1,2\nBob,2,3\n",
            ["F"],
            None,
            "{}: the column 'who' holds text, such as 'Ada' in row 1: leave it out of the "
            "features or make it numeric",
        ),
        (
            "m,c,F\n1,7,2\n2,7,3\n",
            ["F"],
            None,
            "{}: the column 'c' is 7 in every row, so nothing depends on it: leave it out",
        ),
    ],
)
def test_what_is_refused(text, targets, features, message, tmp_path):
    path = tmp_path / "a.csv"
    path.write_text(text)
    with pytest.raises(InputError) as raised:
        load_numbers(path, targets, features)
    assert str(raised.value) == message.format(path)


def test_nan_in_a_parquet_file(tmp_path):
    path = tmp_path / "a.parquet"
    parquet.write_table(pa.table({"m": [1.0, 2.0], "F": [1.0, float("nan")]}), path)
    with pytest.raises(InputError) as raised:
        load_numbers(path, ["F"])
    assert str(raised.value) == f"{path}: F is nan in row 2: fill it or drop such rows"


def test_no_file_and_no_table(tmp_path):
    with pytest.raises(InputError, match="there is no file"):
        load_numbers(tmp_path / "a.csv", ["y"])
    with pytest.raises(InputError, match="is not a table Edgewise can read"):
        load_numbers(tmp_path / "a.xlsx", ["y"])
