"""Batches of images, moved and mirrored if wished, in an order that seed and epoch decide."""

import math
from collections.abc import Iterator

import torch
from torch import Tensor
from torch.nn.functional import pad

from edgewise.core import InputError, generator
from edgewise.data.batches import Batch
from edgewise.data.images import Images


class ImageBatches:
    """All images once an epoch; a `train.Source`.

    Pixels stay uint8 until their batch is made; then x = (pixel / maximum - mean) / std. Where an
    image is moved, what comes in at the border is black.

    Args:
        images: The images.
        batch_size: Images in a batch; the last of an epoch may have fewer.
        standard: Mean and standard deviation in parts of the maximum, from
            ``train.standard()``, the training split's also for validation and test.
        seed: With the epoch's number, all that order and augmentation depend on.
        shuffle: False for validation and test.
        flat: Whether an image is a row of numbers, (B, C·H·W), or (B, C, H, W).
        shift: Each image is moved by -shift … shift pixels up or down, and left or right.
        flip: Each image is mirrored, left to right, with probability 1/2.

    Raises:
        InputError: If there are no images, or a number makes no sense.

    Example:
        >>> data = ew.data.load_images("digits")
        >>> batches = ImageBatches(data.train, 64, data.train.standard(), seed=3, shift=1)
        >>> items = torch.cat([batch.items for batch in batches.epoch(1)])
        >>> torch.equal(items.sort().values, torch.arange(1077))
        True

    """

    def __init__(
        self,
        images: Images,
        batch_size: int,
        standard: tuple[float, float] = (0.0, 1.0),
        *,
        seed: int = 0,
        shuffle: bool = True,
        flat: bool = False,
        shift: int = 0,
        flip: bool = False,
    ) -> None:
        if len(images) == 0:
            raise InputError("there are no images to make batches of")
        for name, value, least in (
            ("batch_size", batch_size, 1),
            ("seed", seed, 0),
            ("shift", shift, 0),
        ):
            if isinstance(value, bool) or not isinstance(value, int) or value < least:
                raise InputError(
                    f"{name} must be a whole number of at least {least}, got {value!r}"
                )
        mean, std = map(float, standard)
        if not (math.isfinite(mean) and 0 < std < math.inf):
            raise InputError(
                f"standard must be a finite mean and a standard deviation above 0, got {standard}"
            )
        self.images, self.batch_size, self.standard = images, batch_size, (mean, std)
        self.seed, self.shuffle, self.flat = seed, shuffle, flat
        self.shift, self.flip = shift, flip

    def __len__(self) -> int:
        return -(-len(self.images) // self.batch_size)

    def epoch(self, number: int) -> Iterator[Batch]:
        """The batches of epoch ``number``, counted from 0.

        Raises:
            InputError: If ``number`` is negative.

        """
        if number < 0:
            raise InputError(f"epochs are counted from 0, there is no epoch {number}")
        order = torch.arange(len(self.images))
        if self.shuffle:
            random = generator(self.seed, "shuffle", number)
            order = torch.randperm(len(self.images), generator=random)
        # A stream of its own: the order of the images is the same with augmentation and without.
        random = generator(self.seed, "augment", number)
        return (self._batch(items, random) for items in order.split(self.batch_size))

    def inputs(self, items: Tensor) -> Tensor:
        """Those images as the model takes them, neither moved nor mirrored."""
        return self._standardised(self.images.pixels[items])

    def _batch(self, items: Tensor, random: torch.Generator) -> Batch:
        pixels = self._augmented(self.images.pixels[items], random)
        return Batch((self._standardised(pixels),), self.images.labels[items], items)

    def _standardised(self, pixels: Tensor) -> Tensor:
        mean, std = self.standard
        x = (pixels.float() / self.images.maximum - mean) / std
        return x.flatten(1) if self.flat else x

    def _augmented(self, pixels: Tensor, random: torch.Generator) -> Tensor:
        """Each image moved and mirrored by its own draw, in one look-up."""
        if not (self.shift or self.flip):
            return pixels
        n, (height, width) = len(pixels), pixels.shape[-2:]
        corner = torch.randint(0, 2 * self.shift + 1, (2, n, 1), generator=random)
        rows = corner[0] + torch.arange(height)
        columns = torch.arange(width).expand(n, width)
        if self.flip:
            mirrored = torch.rand(n, 1, generator=random) < 0.5
            columns = torch.where(mirrored, columns.flip(-1), columns)
        columns = corner[1] + columns
        wide = pad(pixels, [self.shift] * 4)
        each = torch.arange(n)[:, None, None]
        # The channels end up last when indices stand on both sides of a slice.
        return wide[each, :, rows[:, :, None], columns[:, None, :]].permute(0, 3, 1, 2)
