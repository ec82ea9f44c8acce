"""Images as event streams: an event wherever a pixel is bright, its time the pixel's position."""

from typing import Any

import torch
from torch import Tensor

from edgewise.core import InputError
from edgewise.data.streams import EventStreams


def events_from_images(
    images: Tensor,
    labels: Tensor,
    classes: tuple[str, ...],
    *,
    threshold: float,
    maximum: float,
    normalise: bool = False,
    intensity: bool = False,
    name: str = "",
) -> EventStreams:
    """Reads each image row by row; every pixel with value / maximum > threshold is an event.

    The event of the pixel in row r and column c is at time r·W + c (Kazemi and others 2019,
    "Time2Vec", the "event MNIST" task). An image without such a pixel is a stream without events:
    it is kept, so that every method answers for it, and counted by ``EventStreams.empty``.

    Args:
        images: (S, H, W) uint8 or floating, values in 0..maximum.
        labels: (S,) integers.
        classes: The class names.
        threshold: In [0, 1).
        maximum: The value of a white pixel.
        normalise: Times in 0..1 (float64, divided by H·W - 1), not positions (int64).
        intensity: Adds value / maximum as a feature; without it there are only times.
        name: What to call the streams.

    Raises:
        InputError: If shapes disagree, a value is out of range or the threshold is.

    Example:
        >>> image = torch.tensor([[[0, 9], [3, 0]]], dtype=torch.uint8)
        >>> streams = events_from_images(image, torch.tensor([0]), ("a",), threshold=0.3, maximum=9)
        >>> streams.times.tolist()
        [1, 2]

    """
    _check(images, labels, threshold, maximum, normalise)
    bright = _bright(images.flatten(1), threshold, maximum)
    image, position = bright.nonzero(as_tuple=True)
    counts = torch.bincount(image, minlength=len(images))
    last = bright.shape[1] - 1
    return EventStreams(
        times=position.to(torch.float64) / last if normalise else position,
        offsets=torch.cat([counts.new_zeros(1), counts.cumsum(0)]),
        labels=labels.to(torch.int64),
        classes=classes,
        features=images.flatten(1)[bright].to(torch.float32)[:, None] / maximum
        if intensity
        else None,
        feature_names=("intensity",) if intensity else (),
        name=name,
        time_unit="image" if normalise else "pixel",
    )


def check_threshold(threshold: Any) -> None:
    """Refuses a threshold outside [0, 1), before any file is read.

    Raises:
        InputError: If it is.

    """
    if not 0 <= threshold < 1:
        raise InputError(f"threshold must be at least 0 and less than 1, not {threshold}")


def _check(
    images: Tensor, labels: Tensor, threshold: float, maximum: float, normalise: bool
) -> None:
    check_threshold(threshold)
    if images.ndim != 3 or labels.ndim != 1 or len(images) != len(labels):
        raise InputError(
            f"images (S, H, W) need as many labels (S,): the shapes are {tuple(images.shape)} "
            f"and {tuple(labels.shape)}"
        )
    if normalise and images.shape[1] * images.shape[2] < 2:
        raise InputError("images of one pixel have no time to normalise: use normalise=False")
    if images.numel() and not (images.min() >= 0 and images.max() <= maximum):
        raise InputError(
            f"pixels must be in 0..{maximum}, not in {images.min():g}..{images.max():g}"
        )


def _bright(pixels: Tensor, threshold: float, maximum: float) -> Tensor:
    if pixels.dtype == torch.uint8:
        # The brightest of the 256 values that is no event: no float64 copy of 47 million pixels.
        dark = torch.arange(256, dtype=torch.float64) / maximum <= threshold
        return pixels > int(dark.sum()) - 1
    return pixels.to(torch.float64) / maximum > threshold
