import gzip
import time

import numpy as np
import pytest
import torch
from event_files import REAL, idx_bytes, needs_real, write_image_files

from edgewise.core import InputError
from edgewise.data import digits, fashion_mnist, load_dataset, mnist, read_idx


def test_digits_splits_and_card():
    data = digits(split_seed=3)
    assert [len(part) for part in (data.train, data.validation, data.test)] == [1077, 360, 360]
    for part in (data.train, data.validation, data.test):
        counts = part.labels.bincount()
        share = torch.bincount(digits().train.labels) / 1077
        assert (counts - share * len(part)).abs().max() < 2.5
    assert data.card["options"] == {
        "split_seed": 3,
        "threshold": 0.3,
        "normalise": False,
        "intensity": False,
    }
    assert data.card["licence"] == "CC BY 4.0"
    assert data.card["empty"] == {"train": 0, "validation": 0, "test": 0}
    assert data.train.time_unit == "pixel"
    assert not torch.equal(data.train.times, digits(split_seed=4).train.times)


def test_digits_options():
    bright = digits(threshold=0.9)
    parts = (bright.train, bright.validation, bright.test)
    assert sum(part.empty for part in parts) == 2  # kept, and counted
    assert sum(bright.card["empty"].values()) == 2
    grey = digits(normalise=True, intensity=True).train
    assert grey.times.max() <= 1
    assert grey.times.dtype == torch.float64
    assert grey.features.min() > 0.3
    with pytest.raises(InputError, match=r"^threshold must be at least 0 and less than 1, not 2$"):
        digits(threshold=2)


@pytest.mark.parametrize("name", ["mnist", "fashion_mnist"])
def test_the_official_test_set_and_a_validation_out_of_train(tmp_path, name):
    folder = write_image_files(tmp_path / name, train=40, test=10)
    load = {"mnist": mnist, "fashion_mnist": fashion_mnist}[name]
    data = load(data_dir=tmp_path, threshold=0.5, validation=10)
    assert [len(part) for part in (data.train, data.validation, data.test)] == [30, 10, 10]
    assert data.train.labels.bincount().tolist() == [3] * 10
    assert data.validation.labels.bincount().tolist() == [1] * 10
    images = read_idx(folder / "t10k-images-idx3-ubyte.gz").flatten(1)
    for image, item in zip(images, range(10), strict=True):
        times, _, _ = data.test.batch([item])
        assert times[0].tolist() == (image / 255 > 0.5).nonzero()[:, 0].tolist()
    assert data.test.labels.tolist() == list(range(10))
    assert data.card["options"]["validation"] == 10
    assert data.card["sizes"]["train"] == 30


def test_missing_files_say_how_to_get_them(tmp_path):
    with pytest.raises(InputError) as caught:
        mnist(data_dir=tmp_path)
    assert str(caught.value) == (
        f"the data set 'mnist' needs the file {tmp_path}/mnist/train-images-idx3-ubyte.gz, "
        f"which is not there: run `edgewise data fetch mnist`, or set --data-dir or EDGEWISE_DATA "
        f"to the folder that has mnist/"
    )


def test_a_truncated_file_is_reported(tmp_path):
    folder = write_image_files(tmp_path / "mnist")
    file = folder / "t10k-images-idx3-ubyte.gz"
    file.write_bytes(file.read_bytes()[:-40])
    with pytest.raises(InputError, match=r"t10k-images-idx3-ubyte.gz is truncated or corrupt"):
        mnist(data_dir=tmp_path, validation=5)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"threshold": 1.5}, "threshold must be at least 0 and less than 1, not 1.5"),
        ({"validation": 0}, "validation must be at least 1, not 0"),
        ({"validation": 40}, "validation is 40, but 'mnist' has only 40 training images"),
    ],
)
def test_bad_options(tmp_path, options, message):
    write_image_files(tmp_path / "mnist")
    with pytest.raises(InputError) as caught:
        mnist(data_dir=tmp_path, **options)
    assert str(caught.value) == message


def test_images_and_labels_must_match(tmp_path):
    folder = write_image_files(tmp_path / "mnist")
    labels = folder / "train-labels-idx1-ubyte.gz"
    labels.write_bytes(gzip.compress(idx_bytes(np.zeros(7, np.uint8))))
    with pytest.raises(
        InputError, match=r"has 40 images, but .*labels-idx1-ubyte.gz has 7 labels$"
    ):
        mnist(data_dir=tmp_path)


@needs_real
def test_the_real_mnist():
    start = time.perf_counter()
    data = load_dataset("mnist", data_dir=REAL)
    assert time.perf_counter() - start < 20
    assert data.card["sizes"] == {"train": 55000, "validation": 5000, "test": 10000}
    assert data.card["empty"] == {"train": 0, "validation": 0, "test": 0}
    lengths = torch.cat([data.train.lengths, data.validation.lengths]).double()
    assert float(lengths.mean()) == pytest.approx(68.6, abs=0.05)
    assert float(lengths.std()) == pytest.approx(30.4, abs=0.05)
    assert (int(lengths.min()), int(lengths.max())) == (2, 283)
    assert int(data.test.lengths.max()) == 227
    assert data.test.labels[:5].tolist() == [7, 2, 1, 0, 4]


@needs_real
def test_the_real_fashion_mnist():
    data = load_dataset("fashion_mnist", data_dir=REAL)
    assert len(data.test) == 10000
    assert data.train.classes[int(data.test.labels[0])] == "ankle boot"
    lengths = torch.cat([data.train.lengths, data.validation.lengths]).double()
    assert float(lengths.mean()) == pytest.approx(246.7, abs=0.05)
