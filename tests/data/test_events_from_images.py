import re

import pytest
import torch

from edgewise.core import InputError
from edgewise.data import events_from_images


def slow(images, threshold, maximum):
    """The definition, a pixel at a time."""
    return [
        [
            r * len(image[0]) + c
            for r, row in enumerate(image)
            for c, value in enumerate(row)
            if value / maximum > threshold
        ]
        for image in images.tolist()
    ]


def split(streams):
    return [piece.tolist() for piece in streams.times.split(streams.lengths.tolist())]


@pytest.mark.parametrize("dtype", [torch.uint8, torch.float32, torch.float64, torch.int64])
@pytest.mark.parametrize("threshold", [0, 0.2, 0.9, 0.996])
def test_events_are_the_bright_pixels_in_reading_order(dtype, threshold):
    random = torch.Generator().manual_seed(0)
    images = torch.randint(0, 256, (63, 3, 7), generator=random).to(dtype)
    images[5] = 0
    streams = events_from_images(
        images, torch.zeros(63).long(), ("a",), threshold=threshold, maximum=255
    )
    assert split(streams) == slow(images, threshold, 255)
    assert streams.times.dtype == torch.int64
    assert streams.features is None
    assert streams.empty == sum(not events for events in slow(images, threshold, 255)) >= 1


def test_a_pixel_at_the_threshold_is_no_event():
    # 51 / 255 is exactly the double 0.2, and 0.2 · 255 is not exactly 51.
    image = torch.tensor([[[51, 52]]])
    for dtype in (torch.uint8, torch.float64):
        streams = events_from_images(
            image.to(dtype), torch.tensor([0]), ("a",), threshold=0.2, maximum=255
        )
        assert streams.times.tolist() == [1]


def test_normalised_times_go_from_0_to_1():
    image = torch.full((1, 3, 4), 16.0)
    streams = events_from_images(
        image, torch.tensor([0]), ("a",), threshold=0.3, maximum=16, normalise=True
    )
    assert streams.times.dtype == torch.float64
    assert torch.equal(streams.times, torch.arange(12).double() / 11)


def test_intensity_comes_with_each_event():
    image = torch.tensor([[[0, 255], [128, 64]]], dtype=torch.uint8)
    streams = events_from_images(
        image, torch.tensor([0]), ("a",), threshold=0.3, maximum=255, intensity=True
    )
    assert streams.times.tolist() == [1, 2]
    assert torch.equal(streams.features, torch.tensor([[1.0], [128 / 255]]))
    assert streams.feature_names == ("intensity",)


IMAGES = torch.zeros(2, 2, 2)


@pytest.mark.parametrize(
    ("images", "options", "message"),
    [
        (IMAGES, {"threshold": 1}, "threshold must be at least 0 and less than 1, not 1"),
        (IMAGES, {"threshold": -0.1}, "threshold must be at least 0 and less than 1, not -0.1"),
        (
            IMAGES[0],
            {"threshold": 0.5},
            "images (S, H, W) need as many labels (S,): the shapes are (2, 2) and (2,)",
        ),
        (
            IMAGES[:1],
            {"threshold": 0.5},
            "images (S, H, W) need as many labels (S,): the shapes are (1, 2, 2) and (2,)",
        ),
        (
            IMAGES[:, :1, :1],
            {"threshold": 0.5, "normalise": True},
            "images of one pixel have no time to normalise: use normalise=False",
        ),
        (IMAGES + 17, {"threshold": 0.5}, "pixels must be in 0..16, not in 17..17"),
        (IMAGES - 1, {"threshold": 0.5}, "pixels must be in 0..16, not in -1..-1"),
        (IMAGES * float("nan"), {"threshold": 0.5}, "pixels must be in 0..16, not in nan..nan"),
    ],
)
def test_bad_images_are_refused(images, options, message):
    with pytest.raises(InputError, match=f"^{re.escape(message)}$"):
        events_from_images(images, torch.tensor([0, 1]), ("a", "b"), maximum=16, **options)
