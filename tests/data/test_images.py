import gzip
import struct

import numpy as np
import pytest
import torch

from edgewise.core import InputError
from edgewise.data import ImageBatches, ImageDataset, Images, load_images


def noise(n=10, height=6, width=5, seed=0, channels=1):
    random = torch.Generator().manual_seed(seed)
    pixels = torch.randint(0, 256, (n, channels, height, width), generator=random)
    return Images(pixels.to(torch.uint8), torch.arange(n) % 2, ("a", "b"))


@pytest.fixture(scope="module")
def digits():
    return load_images("digits")


def write_set(folder, train=6000, test=40):
    """Four files as MNIST's, of 2 × 3 noise."""
    random = np.random.default_rng(0)
    folder.mkdir(parents=True)
    for part, n in (("train", train), ("t10k", test)):
        pixels = random.integers(0, 256, (n, 2, 3), dtype=np.uint8)
        labels = (np.arange(n) % 10).astype(np.uint8)
        for kind, values in (("images-idx3", pixels), ("labels-idx1", labels)):
            head = bytes([0, 0, 8, values.ndim]) + struct.pack(f">{values.ndim}I", *values.shape)
            with gzip.open(folder / f"{part}-{kind}-ubyte.gz", "wb", compresslevel=1) as file:
                file.write(head + values.tobytes())


def test_digits_are_split_with_the_classes_in_proportion(digits):
    whole = torch.cat([p.labels for p in (digits.train, digits.validation, digits.test)])
    assert len(whole) == 1797
    for part, size in ((digits.train, 1077), (digits.validation, 360), (digits.test, 360)):
        expected = whole.bincount() * size / 1797
        assert ((part.labels.bincount() - expected).abs() < 1).all()
    assert digits.train.pixels.max() == digits.train.maximum == 16
    assert not digits.flips
    assert digits.card["sizes"] == {"train": 1077, "validation": 360, "test": 360}


def test_another_split_seed_holds_out_others(digits):
    other = load_images("digits", split_seed=1)
    assert not torch.equal(other.test.labels, digits.test.labels)


@pytest.mark.parametrize(("name", "flips"), [("mnist", False), ("fashion_mnist", True)])
def test_four_files_make_three_parts(name, flips, tmp_path):
    write_set(tmp_path / name)
    data = load_images(name, tmp_path)
    assert (len(data.train), len(data.validation), len(data.test)) == (1000, 5000, 40)
    assert data.shape == (1, 2, 3)
    assert data.flips is flips
    assert data.train.labels.bincount().tolist() == [100] * 10
    assert data.train.pixels.dtype == torch.uint8


def test_the_folder_may_come_from_the_environment(tmp_path, monkeypatch):
    write_set(tmp_path / "mnist")
    monkeypatch.setenv("EDGEWISE_DATA", str(tmp_path))
    assert len(load_images("mnist").test) == 40


def test_too_few_images_to_hold_any_out(tmp_path):
    write_set(tmp_path / "mnist", train=5000)
    with pytest.raises(InputError, match="has 5000 images, of which 5000 are held out for valid"):
        load_images("mnist", tmp_path)


def test_a_limit_keeps_the_classes_in_proportion(digits):
    few = load_images("digits", limit=100)
    assert len(few.train) == 100
    assert (
        (few.train.labels.bincount() - digits.train.labels.bincount() * 100 / 1077).abs() < 1
    ).all()
    assert torch.equal(few.test.pixels, digits.test.pixels)
    assert few.card["limit"] == 100


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("digitz",), "unknown image data set 'digitz': did you mean 'digits'? (known: mnist, fas"),
        (("digits", None, -1), "split_seed must be at least 0, not -1"),
        (
            ("digits", None, 0, 2000),
            "limit must lie between 1 and 1077, the training images of 'digits', got 2000",
        ),
    ],
)
def test_what_can_not_be_loaded(arguments, message):
    with pytest.raises(InputError) as caught:
        load_images(*arguments)
    assert str(caught.value).startswith(message)


def test_a_function_of_ones_own_must_return_a_dataset(tmp_path, monkeypatch):
    (tmp_path / "mine_images.py").write_text("def bad(data_dir, split_seed): return 3\n")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(InputError) as caught:
        load_images("mine_images:bad")
    assert str(caught.value) == (
        "the image data set 'mine_images:bad' must return an ImageDataset, not int"
    )


@pytest.mark.parametrize(
    ("pixels", "labels", "message"),
    [
        (
            torch.zeros(2, 1, 3, 3),
            torch.tensor([0, 1]),
            "pixels must be uint8 of shape (images, channels, height, width), got torch.float32 of "
            "shape (2, 1, 3, 3)",
        ),
        (
            torch.zeros(2, 1, 3, 3, dtype=torch.uint8),
            torch.tensor([0]),
            "labels must be int64 of shape (2,), got torch.int64 of shape (1,)",
        ),
        (
            torch.zeros(2, 1, 3, 3, dtype=torch.uint8),
            torch.tensor([0, 2]),
            "labels must lie between 0 and 1, got 0 to 2",
        ),
    ],
)
def test_what_makes_no_images(pixels, labels, message):
    with pytest.raises(InputError) as caught:
        Images(pixels, labels, ("a", "b"))
    assert str(caught.value) == message


def test_parts_must_agree():
    one, other, none = noise(), noise(width=6), noise(n=0)
    with pytest.raises(InputError) as caught:
        ImageDataset(one, one, other, "x", False, {})
    assert str(caught.value) == (
        "the data set 'x': train and test must have the same shape, not (1, 6, 5) and (1, 6, 6)"
    )
    with pytest.raises(InputError) as caught:
        ImageDataset(one, none, one, "x", False, {})
    assert str(caught.value) == "the data set 'x': validation has no images"


def test_standard_is_mean_and_deviation_of_all_pixels():
    images = noise(n=63)
    x = images.pixels.double() / 255
    assert images.standard() == pytest.approx((x.mean().item(), x.std(correction=0).item()))


def test_batches_are_standardised_and_each_image_comes_once():
    images = noise(n=100)
    mean, std = images.standard()
    batches = ImageBatches(images, 7, (mean, std), seed=5)
    assert len(batches) == 15
    seen = list(batches.epoch(3))
    assert [len(batch.items) for batch in seen] == [7] * 14 + [2]
    items = torch.cat([batch.items for batch in seen])
    assert torch.equal(items.sort().values, torch.arange(100))
    x = torch.cat([batch.inputs[0] for batch in seen])
    expected = (images.pixels[items].float() / 255 - mean) / std
    assert torch.allclose(x, expected, atol=1e-6)
    assert x.mean().abs() < 1e-5
    assert torch.equal(torch.cat([batch.target for batch in seen]), images.labels[items])
    assert torch.equal(batches.inputs(items), x)


def test_flat_images_are_rows():
    images = noise(channels=2)
    (batch,) = ImageBatches(images, 10, flat=True, shuffle=False).epoch(0)
    assert torch.equal(batch.inputs[0], images.pixels.flatten(1).float() / 255)
    assert batch.items.tolist() == list(range(10))


def test_an_epoch_depends_on_seed_and_number_only():
    images = noise(n=63)

    def epoch(seed, number, **options):
        batches = ImageBatches(images, 8, seed=seed, **options)
        return torch.cat([batch.inputs[0] for batch in batches.epoch(number)])

    moved = {"shift": 1, "flip": True}
    torch.manual_seed(7)
    first = epoch(1, 2, **moved)
    torch.manual_seed(8)
    assert torch.equal(first, epoch(1, 2, **moved))
    assert not torch.equal(first, epoch(1, 3, **moved))
    assert not torch.equal(first, epoch(2, 2, **moved))


def test_augmentation_leaves_the_order_as_it_was():
    images = noise(n=63)
    orders = [
        torch.cat([batch.items for batch in ImageBatches(images, 8, seed=1, **o).epoch(2)])
        for o in ({}, {"shift": 2, "flip": True})
    ]
    assert torch.equal(*orders)


@pytest.mark.parametrize("channels", [1, 3])
def test_every_augmented_image_is_a_shift_and_a_mirror_of_the_original(channels):
    images = noise(n=200, channels=channels)
    batches = ImageBatches(images, 200, shift=1, flip=True, shuffle=False)
    (batch,) = batches.epoch(4)
    wide = torch.nn.functional.pad(images.pixels, [1] * 4)
    seen = set()
    for original, x in zip(wide, batch.inputs[0], strict=True):
        candidates = {
            (down, right, mirrored): (original.flip(-1) if mirrored else original)[
                :, down : down + 6, right : right + 5
            ].float()
            / 255
            for down in range(3)
            for right in range(3)
            for mirrored in (False, True)
        }
        found = [key for key, y in candidates.items() if torch.equal(x, y)]
        assert len(found) == 1
        seen.add(found[0])
    assert len(seen) == 18


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"batch_size": 0}, "batch_size must be a whole number of at least 1, got 0"),
        ({"seed": -1}, "seed must be a whole number of at least 0, got -1"),
        ({"shift": 0.5}, "shift must be a whole number of at least 0, got 0.5"),
        (
            {"standard": (0.0, 0.0)},
            "standard must be a finite mean and a standard deviation above 0, got (0.0, 0.0)",
        ),
    ],
)
def test_what_makes_no_batches(options, message):
    with pytest.raises(InputError) as caught:
        ImageBatches(noise(), **{"batch_size": 4} | options)
    assert str(caught.value) == message


def test_no_images_and_no_such_epoch():
    with pytest.raises(InputError, match=r"^there are no images to make batches of$"):
        ImageBatches(noise(n=0), 4)
    with pytest.raises(InputError, match=r"^epochs are counted from 0, there is no epoch -1$"):
        ImageBatches(noise(), 4).epoch(-1)
