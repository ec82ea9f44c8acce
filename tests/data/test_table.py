import gzip
import hashlib

import numpy as np
import pyarrow as pa
import pytest
import torch
from pyarrow import csv, parquet

from edgewise.core import InputError
from edgewise.data import load_dataset, load_table


def rows(sequences=20, classes=("a", "b"), events=3):
    """A plain table: sequence s has ``events`` events and the classes take turns."""
    count = sequences * events
    return {
        "sequence": np.repeat(np.arange(sequences), events).tolist(),
        "time": [10 * (i % events) + i // events for i in range(count)],
        "label": [classes[(i // events) % len(classes)] for i in range(count)],
    }


def save(path, columns):
    table = pa.table(columns)
    if path.suffix == ".parquet":
        parquet.write_table(table, path)
        return path
    content = pa.BufferOutputStream()
    delimiter = "\t" if ".tsv" in path.name else ","
    csv.write_csv(table, content, csv.WriteOptions(delimiter=delimiter))
    plain = content.getvalue().to_pybytes()
    path.write_bytes(gzip.compress(plain) if path.suffix == ".gz" else plain)
    return path


def all_streams(data):
    """What each sequence became, whatever part it is in: (times, class) pairs, sorted."""
    found = []
    for part in (data.train, data.validation, data.test):
        for item in range(len(part)):
            times, lengths, _ = part.batch([item])
            name = part.classes[int(part.labels[item])]
            found.append((times[0, : int(lengths)].tolist(), name))
    return sorted(found)


@pytest.mark.parametrize("name", ["e.csv", "e.tsv", "e.csv.gz", "e.tsv.gz", "e.parquet", "E.CSV"])
def test_every_format_gives_the_same(tmp_path, name):
    columns = rows() | {"weight": [i / 4 for i in range(60)]}
    path = save(tmp_path / name, columns)
    data = load_table(path)
    assert data.name == name.split(".")[0]
    assert all_streams(data) == sorted(([s, 10 + s, 20 + s], "ab"[s % 2]) for s in range(20))
    assert data.card["sizes"] == {"train": 12, "validation": 4, "test": 4}
    assert data.card["sha256"] == hashlib.sha256(path.read_bytes()).hexdigest()
    assert data.train.feature_names == ("weight",)
    first = data.train.batch([0])
    assert first[2][0, :, 0].tolist() == [(3 * int(first[0][0, 0]) + k) / 4 for k in range(3)]
    assert torch.equal(load_dataset(path).train.times, data.train.times)


def test_rows_of_a_sequence_may_be_anywhere(tmp_path):
    columns = rows() | {"f": list(range(60))}
    plain = load_table(save(tmp_path / "a.csv", columns))
    # All first events, then all second ones, then all third; sequences appear in the same order.
    order = [s * 3 + k for k in range(3) for s in range(20)]
    mixed = {key: [values[i] for i in order] for key, values in columns.items()}
    ours = load_table(save(tmp_path / "b.csv", mixed))
    for part in ("train", "validation", "test"):
        a, b = getattr(plain, part), getattr(ours, part)
        assert torch.equal(a.times, b.times)
        assert torch.equal(a.features, b.features)
        assert torch.equal(a.labels, b.labels)


def test_the_split_is_stratified_and_depends_on_the_seed(tmp_path):
    path = save(tmp_path / "a.csv", rows(100, classes=("x", "x", "x", "y")))
    data, again, other = load_table(path), load_table(path), load_table(path, split_seed=1)
    assert data.train.labels.bincount().tolist() == [45, 15]
    assert data.validation.labels.bincount().tolist() == [15, 5]
    assert torch.equal(data.train.times, again.train.times)
    assert not torch.equal(data.train.times, other.train.times)
    assert other.card["options"] == {"split_seed": 1}


def test_the_column_split_is_obeyed(tmp_path):
    columns = rows(6)
    parts = ["train", "test", "train", "validation", "train", "test"]
    columns["split"] = [parts[s] for s in columns["sequence"]]
    data = load_table(save(tmp_path / "a.parquet", columns))
    assert data.train.batch([0, 1, 2])[0][:, 0].tolist() == [0, 2, 4]
    assert data.validation.batch([0])[0][:, 0].tolist() == [3]
    assert data.test.batch([0, 1])[0][:, 0].tolist() == [1, 5]
    assert data.card["options"] == {"split": "by column"}
    assert data.train.features is None


@pytest.mark.parametrize(
    ("classes", "names"),
    [
        ((10, 9, 2), ("2", "9", "10")),
        (("b", "a", "c"), ("a", "b", "c")),
        ((True, False), ("false", "true")),
        ((0.5, -1.5), ("-1.5", "0.5")),
    ],
)
@pytest.mark.parametrize("name", ["a.csv", "a.parquet"])
def test_classes_are_the_labels_sorted(tmp_path, classes, names, name):
    data = load_table(save(tmp_path / name, rows(20, classes)))
    assert data.train.classes == names
    table = dict(zip(sorted(classes), names, strict=True))
    expected = sorted(([s, 10 + s, 20 + s], table[classes[s % len(classes)]]) for s in range(20))
    assert all_streams(data) == expected


def test_categories_of_pandas_are_fine(tmp_path):
    columns = rows()
    columns["label"] = pa.array(columns["label"]).dictionary_encode()
    columns["sequence"] = pa.array([f"s{s}" for s in columns["sequence"]]).dictionary_encode()
    data = load_table(save(tmp_path / "a.parquet", columns))
    assert data.train.classes == ("a", "b")


def test_leading_zeros_tell_sequences_apart(tmp_path):
    columns = rows()
    columns["sequence"] = [f"{'0' * (s % 2)}{s // 2}" for s in columns["sequence"]]
    assert sum(load_table(save(tmp_path / "a.csv", columns)).card["sizes"].values()) == 20


def test_times_are_int64_or_float64(tmp_path):
    columns = rows()
    assert load_table(save(tmp_path / "a.csv", columns)).train.times.dtype == torch.int64
    columns["time"] = [t + 0.5 for t in columns["time"]]
    data = load_table(save(tmp_path / "b.csv", columns))
    assert data.train.times.dtype == torch.float64
    assert (data.train.times % 1 == 0.5).all()
    assert data.train.time_unit == ""
    columns["time"] = pa.array(np.array(columns["time"], np.float32))
    assert load_table(save(tmp_path / "c.parquet", columns)).train.times.dtype == torch.float64


def test_a_fraction_after_a_megabyte_of_whole_numbers(tmp_path):
    lines = ["sequence,time,label"]
    lines += [f"s{i % 20},{i},{'ab'[i % 2]}" for i in range(120_000)]
    path = tmp_path / "a.csv"
    path.write_text("\n".join([*lines, "s0,200000.5,a"]))
    assert path.stat().st_size > 1 << 20
    data = load_table(path)
    assert max(float(p.times.max()) for p in (data.train, data.validation, data.test)) == 200000.5


@pytest.mark.parametrize("name", ["a.csv", "a.parquet"])
def test_timestamps_become_microseconds(tmp_path, name):
    columns = rows()
    stamps = np.array([1_700_000_000_000_000 + 1_500_000 * t for t in columns["time"]])
    columns["time"] = pa.array(stamps.astype("datetime64[us]"))
    data = load_table(save(tmp_path / name, columns))
    assert data.train.times.dtype == torch.int64
    assert data.train.time_unit == "µs"
    expected = [
        [1_700_000_000_000_000 + 1_500_000 * t for t in (s, 10 + s, 20 + s)] for s in range(20)
    ]
    assert [times for times, _ in all_streams(data)] == expected


def test_nanoseconds_zones_and_dates(tmp_path):
    columns = rows()
    whole = [t * 86_400_000_000 for t in columns["time"]]
    for kind, scale, extra in (("ns", 1000, 999), ("us", 1, 0)):
        stamps = pa.array([t * scale + extra for t in whole], pa.timestamp(kind, "Europe/Paris"))
        data = load_table(save(tmp_path / "a.parquet", columns | {"time": stamps}))
        assert data.train.times[:3].diff().tolist() == [864_000_000_000] * 2
        assert int(data.train.times[0]) % 86_400_000_000 == 0
    dates = pa.array(columns["time"], pa.int32()).cast(pa.date32())
    data = load_table(save(tmp_path / "a.parquet", columns | {"time": dates}))
    assert data.train.times[:3].diff().tolist() == [864_000_000_000] * 2


def test_a_byte_order_mark_and_windows_lines(tmp_path):
    path = save(tmp_path / "a.csv", rows())
    path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes().replace(b"\n", b"\r\n"))
    assert len(load_table(path).train) == 12


def put(column, row, value):
    def change(columns):
        columns[column][row] = value

    return change


def column(name, values):
    return lambda columns: columns.update({name: values})


def without(*names):
    return lambda columns: [columns.pop(name) for name in names]


ERRORS = {
    "no label, but lable": (
        lambda c: c.update(lable=c.pop("label")),
        "{} has no column 'label': did you mean 'lable'? (known: sequence, time, lable)",
    ),
    "no sequence": (
        without("sequence"),
        "{} has no column 'sequence': known: time, label",
    ),
    "no rows": (
        lambda c: [values.clear() for values in c.values()],
        "{} has a header but no rows",
    ),
    "no time": (put("time", 4, None), "{}: the time in row 5 is missing"),
    "no label": (put("label", 0, None), "{}: the label in row 1 is missing"),
    "empty label": (put("label", 2, ""), "{}: the label in row 3 is missing"),
    "no sequence id": (put("sequence", 59, None), "{}: the sequence in row 60 is missing"),
    "decreasing": (
        put("time", 4, -7),
        "{}: times must not decrease within a sequence, but in {one} row 5 is at -7, "
        "after 1 in row 4",
    ),
    "label changes": (
        put("label", 5, "a"),
        "{}: a sequence has one label, but {one} has 'b' in row 4 and 'a' in row 6",
    ),
    "one class": (
        column("label", ["a"] * 60),
        "{}: all labels are 'a', but it takes two classes",
    ),
    "rare class": (
        lambda c: c.update(label=["b"] * 9 + ["a"] * 51),
        "{}: the class 'b' has 3 sequences, but a split 60/20/20 takes 4 of each: add some, "
        "leave the class out, or give a column 'split'",
    ),
    "text as time": (
        column("time", ["noon"] * 60),
        "{}: the column 'time' must hold numbers or timestamps, but it holds string "
        "('noon' in row 1)",
    ),
    "text as feature": (
        column("colour", ["red"] * 60),
        "{}: the column 'colour' would be a feature, but it holds string ('red' in row 1): "
        "make it numeric or take it out",
    ),
    "missing feature": (
        column("w", [1.5] * 7 + [None] + [2.5] * 52),
        "{}: the w in row 8 is missing",
    ),
    "large feature": (
        column("w", [1.5] * 7 + [1e300] + [2.5] * 52),
        "{}: the w in row 8 is 1e+300, too large for float32: scale the column",
    ),
    "unknown part": (
        column("split", ["train"] * 57 + ["tset"] * 3),
        "{}: the split in row 58 is 'tset': did you mean 'test'? (known: train, validation, test)",
    ),
    "no part": (
        column("split", ["train"] * 30 + ["test"] * 30),
        "{}: the column 'split' gives no sequence to 'validation'",
    ),
    "part changes": (
        column("split", ["train"] * 30 + ["test"] * 28 + ["validation"] * 2),
        "{}: a sequence has one split, but {last} has 'test' in row 58 and 'validation' in row 59",
    ),
}


@pytest.mark.parametrize("case", ERRORS)
@pytest.mark.parametrize("name", ["a.csv", "a.parquet"])
def test_errors(tmp_path, case, name):
    change, message = ERRORS[case]
    columns = rows()
    change(columns)
    path = save(tmp_path / name, columns)
    one, last = ("'1'", "'19'") if name == "a.csv" else ("1", "19")  # identities are text in a CSV
    with pytest.raises(InputError) as caught:
        load_table(path)
    assert str(caught.value) == message.format(path, one=one, last=last)


@pytest.mark.parametrize(("value", "text"), [(float("nan"), "nan"), (float("inf"), "inf")])
@pytest.mark.parametrize("name", ["time", "w"])
def test_what_is_not_finite(tmp_path, name, value, text):
    columns = rows() | {"w": [1.0] * 60}
    columns[name] = [float(v) for v in columns[name]]
    columns[name][9] = value
    with pytest.raises(InputError) as caught:
        load_table(save(tmp_path / "a.parquet", columns))
    assert str(caught.value) == f"{tmp_path}/a.parquet: the {name} in row 10 is {text}"


def test_nan_in_a_csv_is_missing(tmp_path):
    path = tmp_path / "a.csv"
    path.write_text("sequence,time,label\n1,2,a\n1,NaN,a\n")
    with pytest.raises(InputError) as caught:
        load_table(path)
    assert str(caught.value).startswith(f"{path}: the time in row 2 is")


def test_decreasing_times_of_interleaved_rows_name_the_rows_of_the_file(tmp_path):
    path = tmp_path / "a.csv"
    path.write_text("sequence,time,label\nx,5,a\ny,1,b\ny,2,b\nx,4.5,a\n")
    with pytest.raises(InputError) as caught:
        load_table(path)
    assert str(caught.value) == (
        f"{path}: times must not decrease within a sequence, but in 'x' row 4 is at 4.5, "
        f"after 5.0 in row 1"
    )


def test_a_column_twice(tmp_path):
    path = tmp_path / "a.csv"
    path.write_text("sequence,time,label,time\nx,5,a,1\n")
    with pytest.raises(InputError) as caught:
        load_table(path)
    assert str(caught.value) == f"{path} has 2 columns 'time': rename all but one"


@pytest.mark.parametrize(
    ("convert", "kind"),
    [
        (lambda s: [s % 2], "list<element: int64>"),
        (lambda s: bytes([s % 2]), "binary"),
        (lambda s: np.float16(s % 2), "halffloat"),
    ],
)
@pytest.mark.parametrize("name", ["label", "sequence"])
def test_what_can_not_name_anything(tmp_path, name, convert, kind):
    columns = rows()
    columns[name] = [convert(s) for s in columns["sequence"]]
    with pytest.raises(InputError) as caught:
        load_table(save(tmp_path / "a.parquet", columns))
    assert str(caught.value) == (
        f"{tmp_path}/a.parquet: the column {name!r} holds {kind}: make it text or numbers"
    )


@pytest.mark.parametrize("kind", [pa.large_string(), pa.string_view(), pa.decimal128(22, 1)])
def test_other_kinds_of_text_and_numbers(tmp_path, kind):
    columns = rows(classes=("1.0", "2.0"))
    columns["label"] = pa.array(columns["label"]).cast(kind)
    assert load_table(save(tmp_path / "a.parquet", columns)).train.classes == ("1.0", "2.0")


def test_times_beyond_int64(tmp_path):
    columns = rows() | {"time": pa.array([2**63 + 5] * 60, pa.uint64())}
    with pytest.raises(InputError) as caught:
        load_table(save(tmp_path / "a.parquet", columns))
    assert str(caught.value) == (
        f"{tmp_path}/a.parquet: the time 9223372036854775813 does not fit in 64 bits with a sign"
    )


@pytest.mark.parametrize(
    ("name", "content", "reason"),
    [
        ("a.csv", b"", "csv: Empty CSV file"),
        (
            "a.csv",
            b"sequence,time,label\n1,2\n",
            "csv: CSV parse error: Row #2: Expected 3 columns",
        ),
        ("a.csv.gz", b"plain", "csv.gz: Not a gzipped file"),
        (
            "a.csv.gz",
            # Without the time of day, which would be in the test's name.
            gzip.compress(b"sequence,time,label" * 50, mtime=0)[:30],
            "csv.gz: Compressed file end",
        ),
        ("a.parquet", b"not parquet at all", "parquet: "),
    ],
)
def test_unreadable_files(tmp_path, name, content, reason):
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(InputError) as caught:
        load_table(path)
    assert str(caught.value).startswith(f"{path} can't be read as {reason}")
    assert "\n" not in str(caught.value)


def test_files_that_are_not_there_or_not_tables(tmp_path):
    with pytest.raises(InputError) as caught:
        load_table(tmp_path / "no.csv")
    assert str(caught.value) == f"there is no file {tmp_path}/no.csv"
    with pytest.raises(InputError) as caught:
        load_table(tmp_path / "a.json")
    assert str(caught.value) == (
        f"{tmp_path}/a.json is not a table Edgewise can read: "
        f"it must end in .csv, .tsv, .csv.gz, .tsv.gz, .parquet"
    )
    with pytest.raises(InputError, match=r"^split_seed must be at least 0, not -1$"):
        load_table(tmp_path / "no.csv", split_seed=-1)
