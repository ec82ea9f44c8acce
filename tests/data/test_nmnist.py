import re

import numpy as np
import pytest
import torch
from event_files import REAL, needs_real

from edgewise.core import InputError
from edgewise.data import load_dataset, nmnist, read_recording


def event(x, y, p, t):
    return bytes([x, y, p << 7 | t >> 16, t >> 8 & 255, t & 255])


def recording(seed):
    """Thirty events as rows x, y, p, t."""
    random = np.random.default_rng(seed)
    t = np.sort(random.integers(0, 300_000, 30))
    return np.stack([*random.integers(0, 34, (2, 30)), random.integers(0, 2, 30), t], 1)


def archive(folder, train=20, test=10, **change):
    arrays = {}
    for part, count, base in (("train", train, 0), ("test", test, 1000)):
        rows = np.concatenate([recording(base + i) for i in range(count)])
        arrays |= {
            f"{part}_x": rows[:, 0].astype(np.uint8),
            f"{part}_y": rows[:, 1].astype(np.uint8),
            f"{part}_p": rows[:, 2].astype(np.uint8),
            f"{part}_t_us": rows[:, 3].astype(np.int32),
            f"{part}_offsets": (np.arange(count + 1) * 30).astype(np.int32),
            f"{part}_label": (np.arange(count) % 2).astype(np.uint8),
        }
    arrays |= change
    path = folder / "nmnist" / "nmnist_1k_100.npz"
    path.parent.mkdir(exist_ok=True)
    np.savez(path, **{key: value for key, value in arrays.items() if value is not None})
    return path


def test_times_and_features_of_an_archive(tmp_path):
    archive(tmp_path)
    data = nmnist(data_dir=tmp_path, max_events=None)
    assert data.card["sizes"] == {"train": 16, "validation": 4, "test": 10}
    assert data.train.labels.bincount().tolist() == [8, 8]
    rows = recording(1003)
    times, lengths, features = data.test.batch([3])
    assert times[0].tolist() == rows[:, 3].tolist()
    assert lengths.tolist() == [30]
    expected = torch.tensor(rows[:, :3] / [33, 33, 1], dtype=torch.float32)
    assert torch.allclose(features[0], expected)
    assert data.test.feature_names == ("x", "y", "polarity")
    assert data.test.time_unit == "µs"


def test_thinning(tmp_path):
    archive(tmp_path)
    rows = recording(1000)[:, 3].tolist()
    first = nmnist(data_dir=tmp_path, max_events=7).test
    assert first.batch([0])[0][0].tolist() == rows[:7]
    binned = nmnist(data_dir=tmp_path, max_events=None, bin_us=20_000).test
    slow = {}
    for t in rows:
        slow.setdefault(t // 20_000, t)
    assert binned.batch([0])[0][0].tolist() == list(slow.values())
    both = nmnist(data_dir=tmp_path, max_events=3, bin_us=20_000)
    assert both.test.batch([0])[0][0].tolist() == list(slow.values())[:3]
    assert both.card["options"]["bin_us"] == 20_000
    assert set(nmnist(data_dir=tmp_path).test.lengths.tolist()) == {30}


def test_the_original_folders_are_read_as_the_archive_is(tmp_path):
    archive(tmp_path)
    expected = nmnist(data_dir=tmp_path, max_events=9)
    for part, count, base in (("Train", 20, 0), ("Test", 10, 1000)):
        for i in range(count):
            folder = tmp_path / "nmnist" / part / str(i % 2)
            folder.mkdir(parents=True, exist_ok=True)
            content = b"".join(event(*row) for row in recording(base + i).tolist())
            (folder / f"{i:05}.bin").write_bytes(content)
    data = nmnist(data_dir=tmp_path, max_events=9)
    by_digit = [0, 2, 4, 6, 8, 1, 3, 5, 7, 9]  # folders come one after another
    for ours, theirs in zip(data.test.batch(range(10)), expected.test.batch(by_digit), strict=True):
        assert torch.equal(ours, theirs)
    assert data.card["sizes"] == expected.card["sizes"]


def test_a_recording_with_timer_overflows(tmp_path):
    file = tmp_path / "a.bin"
    file.write_bytes(event(1, 2, 1, 70_000) + event(0, 240, 0, 5) + event(33, 4, 0, 70_001))
    read = read_recording(file)
    assert read.times.tolist() == [70_000, 70_001 + 2**13]
    assert (read.x.tolist(), read.y.tolist(), read.p.tolist()) == ([1, 33], [2, 4], [1, 0])


@pytest.mark.parametrize("content", [b"", b"1234567"])
def test_a_broken_recording(tmp_path, content):
    file = tmp_path / "a.bin"
    file.write_bytes(content)
    with pytest.raises(InputError) as caught:
        read_recording(file)
    assert str(caught.value) == (
        f"{file} has {len(content)} bytes, which is not a number of 5-byte events: "
        f"it is empty, truncated or no N-MNIST recording"
    )
    with pytest.raises(InputError, match=f"^there is no file {re.escape(str(tmp_path / 'b'))}$"):
        read_recording(tmp_path / "b")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"max_events": 0}, "max_events must be at least 1 or None, not 0"),
        ({"bin_us": -1}, "bin_us must be at least 1 or None, not -1"),
        ({"validation": 1.0}, "validation must be a fraction between 0 and 1, not 1.0"),
    ],
)
def test_bad_options_come_before_the_files(options, message):
    with pytest.raises(InputError) as caught:
        nmnist(data_dir="/nowhere", **options)
    assert str(caught.value) == message


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"test_x": None}, "is not an N-MNIST archive: .*test_x"),
        (
            {"test_p": np.zeros(3, np.uint8)},
            "is not an N-MNIST archive: the arrays of 'test' disag",
        ),
        (
            {"test_y": np.full(300, 34, np.uint8)},
            r"^recording 0 of test in .*npz: y goes to 34, but the camera has 34 × 34 pixels$",
        ),
        (
            {"test_t_us": np.arange(300, 0, -1)},
            r"^recording 0 of test in .*npz: its times decrease$",
        ),
        (
            {"test_x": np.array([object()])},
            "is truncated or corrupt: test_x.npy holds Python objects",
        ),
    ],
)
def test_wrong_archives(tmp_path, change, message):
    archive(tmp_path, **change)
    with pytest.raises(InputError, match=message):
        nmnist(data_dir=tmp_path)


def test_whole_numbers_of_any_kind(tmp_path):
    offsets, x = np.arange(21) * 30, np.arange(600) % 34
    archive(tmp_path, train_offsets=offsets, train_x=x.astype(np.uint8))
    small = nmnist(data_dir=tmp_path).train.batch([0, 1])
    archive(tmp_path, train_offsets=offsets.astype(np.uint64), train_x=x.astype(">u2"))
    large = nmnist(data_dir=tmp_path).train.batch([0, 1])
    assert all(torch.equal(a, b) for a, b in zip(small, large, strict=True))


def test_a_truncated_archive(tmp_path):
    path = archive(tmp_path)
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(
        InputError, match=r"npz is truncated or corrupt: .*; delete it and get it ag"
    ):
        nmnist(data_dir=tmp_path)


def test_missing_files_say_where_they_come_from(tmp_path):
    with pytest.raises(InputError) as caught:
        nmnist(data_dir=tmp_path)
    assert str(caught.value) == (
        f"the data set 'nmnist' needs the file {tmp_path}/nmnist/nmnist_1k_100.npz, which is not "
        f"there: unpack Train and Test from https://www.garrickorchard.com/datasets/n-mnist there, "
        f"or set --data-dir or EDGEWISE_DATA to the folder that has nmnist/"
    )
    (tmp_path / "nmnist" / "Train" / "0").mkdir(parents=True)
    with pytest.raises(
        InputError, match=r"nmnist/Train has no recordings: they belong in .*Train/0"
    ):
        nmnist(data_dir=tmp_path)


@needs_real
def test_the_real_recordings():
    data = load_dataset("nmnist", data_dir=REAL, max_events=None)
    assert sum(data.card["sizes"].values()) == 1100
    whole = torch.cat([data.train.lengths, data.validation.lengths]).double()
    assert float(whole.mean()) == pytest.approx(4133.2, abs=0.1)
    sample = read_recording(f"{REAL}/nmnist/sample_nmnist.bin")
    assert len(sample.times) == 4325
    assert (sample.times.diff() >= 0).all()
    assert int(sample.x.max()) == int(sample.y.max()) == 33
