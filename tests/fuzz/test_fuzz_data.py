"""Readers of data files: whatever is in a file, it is read or refused with a sentence."""

import gzip
import io
import struct

import numpy as np
import pyarrow as pa
import pytest
import torch
from fuzzing import damaged, fuzzed, outcome
from hypothesis import given
from hypothesis import strategies as st
from pyarrow import parquet

from edgewise.core import EdgewiseError
from edgewise.data import EventDataset, RowDataset, load_table, load_tabular, read_idx
from edgewise.data.nmnist import Recording, nmnist, read_recording
from edgewise.data.numeric_table import NumericTable, load_numbers

IDX = tuple(
    struct.pack(f">HBB{len(shape)}I", 0, kind, len(shape), *shape) + bytes(range(size))
    for kind, shape, size in (
        (0x08, (3,), 3),
        (0x08, (2, 3, 4), 24),
        (0x0B, (2, 2), 8),
        (0x0D, (3,), 12),
        (0x0E, (2, 1), 16),
        (0x08, (0, 5), 0),
        (0x08, (), 1),
    )
)
EVENTS = tuple(
    text.encode()
    for text in (
        "sequence,time,label\n"
        + "".join(f"s{i // 2},{i}.5,{'ab'[i // 2 % 2]}\n" for i in range(20)),
        "sequence,time,label,split,size\n"
        "1,0,x,train,0.5\n1,2,x,train,1\n2,1,y,validation,7\n3,1,x,test,-1\n4,0,y,train,1e3\n",
        'label,time,sequence\n"a b",2024-01-01T00:00:00,p\n"a b",2024-01-02T00:00:00,p\nc,,q\n',
        "sequence\ttime\tlabel\n1\t1\t1\n2\t2\t2\n",
        "sequence,time,label\n",
    )
)
TABLES = tuple(
    text.encode()
    for text in (
        "a,b,target\n" + "".join(f"{i},{i * i % 7}.25,{i % 2}\n" for i in range(12)),
        "a,target,note\n" + "".join(f"{i / 3},{i * 1.5},n{i}\n" for i in range(12)),
        "target,a\n1,nan\n2,inf\n,1e400\n",
        "a\ttarget\n1\t2\n",
        "target\n1\n2\n",
    )
)
RECORDINGS = (
    bytes([3, 4, 0x80, 1, 0, 5, 6, 0, 1, 2]),
    bytes([3, 4, 0x80, 1, 0, 0, 240, 0, 0, 0, 5, 6, 0, 1, 2]),
    bytes(50),
)


def as_parquet(columns):
    buffer = io.BytesIO()
    parquet.write_table(pa.table(columns), buffer)
    return buffer.getvalue()


EVENT_PARQUETS = (
    as_parquet({"sequence": [1, 1, 2, 3], "time": [0, 1, 2, 3], "label": ["a", "a", "b", "a"]}),
    as_parquet(
        {
            "sequence": [f"s{i // 2}" for i in range(16)],
            "time": pa.array([i * 10**9 for i in range(16)], pa.timestamp("ns")),
            "label": [i // 2 % 2 for i in range(16)],
            "size": [float(i) for i in range(16)],
        }
    ),
)
TABLE_PARQUETS = (
    as_parquet({"a": [float(i) for i in range(12)], "target": [i % 3 for i in range(12)]}),
    as_parquet({"a": [True, False] * 6, "b": [None, 1] * 6, "target": [[1]] * 12}),
)


def archived(**changes):
    arrays = {}
    for part in ("train", "test"):
        arrays |= {
            f"{part}_t_us": np.arange(40) % 4,
            f"{part}_x": np.full(40, 3, np.uint8),
            f"{part}_y": np.full(40, 4, np.uint8),
            f"{part}_p": np.ones(40, np.uint8),
            f"{part}_offsets": np.arange(11) * 4,
            f"{part}_label": np.arange(10) % 2,
        }
    buffer = io.BytesIO()
    np.savez(buffer, **(arrays | changes))
    return buffer.getvalue()


ARCHIVES = (archived(),)
ARRAYS = st.builds(
    lambda kind, shape, value: np.full(shape, value).astype(kind),
    st.sampled_from(["u1", "i4", "i8", "f4", "f8", "?", "U3", "c8", "M8[s]", "u8"]),
    st.sampled_from([(), (0,), (10,), (11,), (40,), (4, 10)]),
    st.sampled_from([0, 1, 3, 200]),
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("fuzz")


def zipped(content):
    return gzip.compress(content, compresslevel=1, mtime=0)


@fuzzed
@given(content=damaged([*IDX, *map(zipped, IDX)]), wrap=st.booleans())
def test_idx(folder, content, wrap):
    path = folder / "idx"
    path.write_bytes(zipped(content) if wrap else content)
    found = outcome(lambda: read_idx(path))
    assert isinstance(found, EdgewiseError) or found.numel() <= 8 * len(content) + 8


@fuzzed
@given(content=damaged(EVENTS), suffix=st.sampled_from([".csv", ".tsv", ".csv.gz", ".tsv.gz"]))
def test_events_as_text(folder, content, suffix):
    path = folder / f"events{suffix}"
    path.write_bytes(zipped(content) if suffix.endswith(".gz") else content)
    found = outcome(lambda: load_table(path))
    assert isinstance(found, (EventDataset, EdgewiseError))


@fuzzed
@given(content=damaged(EVENT_PARQUETS))
def test_events_as_parquet(folder, content):
    path = folder / "events.parquet"
    path.write_bytes(content)
    found = outcome(lambda: load_table(path))
    assert isinstance(found, (EventDataset, EdgewiseError))


@fuzzed
@given(
    content=damaged([*TABLES, *map(zipped, TABLES)]), suffix=st.sampled_from([".csv", ".tsv.gz"])
)
def test_numbers_as_text(folder, content, suffix):
    check_numbers(folder / f"numbers{suffix}", content)


@fuzzed
@given(content=damaged(TABLE_PARQUETS))
def test_numbers_as_parquet(folder, content):
    check_numbers(folder / "numbers.parquet", content)


def check_numbers(path, content):
    path.write_bytes(content)
    found = outcome(lambda: load_numbers(path, ["target"]))
    assert isinstance(found, (NumericTable, EdgewiseError))
    found = outcome(lambda: load_tabular(str(path)))
    assert isinstance(found, (RowDataset, EdgewiseError))


@fuzzed
@given(content=damaged(RECORDINGS))
def test_recordings(folder, content):
    path = folder / "00001.bin"
    path.write_bytes(content)
    found = outcome(lambda: read_recording(path))
    assert isinstance(found, (Recording, EdgewiseError))
    if isinstance(found, Recording):
        assert len({len(column) for column in found}) == 1
        assert found.times.dtype == torch.int64


@fuzzed
@given(
    content=damaged(ARCHIVES)
    | st.builds(
        lambda name, array: archived(**{f"train_{name}": array}),
        st.sampled_from(["t_us", "x", "y", "p", "offsets", "label"]),
        ARRAYS,
    )
)
def test_archives_of_recordings(folder, content):
    (folder / "nmnist").mkdir(exist_ok=True)
    (folder / "nmnist" / "nmnist_1k_100.npz").write_bytes(content)
    found = outcome(lambda: nmnist(data_dir=folder))
    assert isinstance(found, (EventDataset, EdgewiseError))


def test_what_is_sound_is_read(folder):
    """Else nothing above would get far."""
    for content in IDX:
        path = folder / "sound"
        path.write_bytes(content)
        assert isinstance(outcome(lambda path=path: read_idx(path)), torch.Tensor)
    for content, suffix in ((EVENTS[0], ".csv"), (EVENT_PARQUETS[1], ".parquet")):
        path = folder / f"sound{suffix}"
        path.write_bytes(content)
        assert isinstance(outcome(lambda path=path: load_table(path)), EventDataset)
    for content, suffix in ((TABLES[0], ".csv"), (TABLE_PARQUETS[0], ".parquet")):
        path = folder / f"sound{suffix}"
        path.write_bytes(content)
        assert isinstance(outcome(lambda path=path: load_numbers(path, ["target"])), NumericTable)
        assert isinstance(outcome(lambda path=path: load_tabular(str(path))), RowDataset)
    (folder / "nmnist").mkdir(exist_ok=True)
    (folder / "nmnist" / "nmnist_1k_100.npz").write_bytes(ARCHIVES[0])
    assert isinstance(outcome(lambda: nmnist(data_dir=folder)), EventDataset)
