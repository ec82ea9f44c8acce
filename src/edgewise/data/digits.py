"""scikit-learn's 8 × 8 digits as event streams: needs no file and trains in seconds."""

from typing import Any

import torch

from edgewise.data.catalogue import SOURCES
from edgewise.data.datasets import DATASETS
from edgewise.data.events_from_images import check_threshold, events_from_images
from edgewise.data.splits import EventDataset, stratified_split

_MAXIMUM = 16


@DATASETS.register("digits")
def digits(
    *,
    split_seed: int = 0,
    threshold: float = 0.3,
    normalise: bool = False,
    intensity: bool = False,
) -> EventDataset:
    """1797 digits, split at random into 1077 / 360 / 360 with the classes in proportion.

    The default threshold keeps 25 of 64 pixels on average and leaves no image without events.
    Logistic regression on which pixels are events changes little between 0.2 and 0.6 (0.87 to
    0.89, three folds); at MNIST's 0.9 two images have none.

    Args:
        split_seed: What the split depends on.
        threshold: A pixel above this part of the maximum, 16, is an event.
        normalise: Times in 0..1, not positions 0..63.
        intensity: Adds the pixel's value in 0..1 as a feature.

    Raises:
        InputError: If the threshold is not in [0, 1).

    Example:
        >>> data = digits()
        >>> len(data.train), len(data.validation), len(data.test), data.train.empty
        (1077, 360, 360, 0)

    """
    check_threshold(threshold)
    from sklearn.datasets import load_digits

    bunch = load_digits()
    streams = events_from_images(
        torch.from_numpy(bunch.images),
        torch.from_numpy(bunch.target),
        tuple("0123456789"),
        threshold=threshold,
        maximum=_MAXIMUM,
        normalise=normalise,
        intensity=intensity,
        name="digits",
    )
    parts = stratified_split(streams.labels, (1077, 360, 360), split_seed)
    options: dict[str, Any] = {
        "split_seed": split_seed,
        "threshold": threshold,
        "normalise": normalise,
        "intensity": intensity,
    }
    facts = SOURCES["digits"].card | {"options": options}
    return EventDataset.described("digits", [streams.subset(part) for part in parts], facts)
