"""Labelled images: where they come from, and the three parts of a set."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from edgewise.core import InputError, Registry
from edgewise.data.catalogue import SOURCES, locate
from edgewise.data.mnist import _CLOTHES, _read
from edgewise.data.splits import PARTS, stratified_split

_DIGITS = tuple("0123456789")
_HELD_OUT = 5000


@dataclass(frozen=True, eq=False)
class Images:
    """S labelled images as they were scanned.

    Args:
        pixels: (S, channels, height, width), uint8: a quarter of the memory of float32.
        labels: (S,) int64, indices of ``classes``.
        classes: The names of the classes.
        maximum: The value of a white pixel.

    Raises:
        InputError: If shapes or types disagree, or a label has no class.

    """

    pixels: Tensor
    labels: Tensor
    classes: tuple[str, ...]
    maximum: int = 255

    def __post_init__(self) -> None:
        if self.pixels.ndim != 4 or self.pixels.dtype != torch.uint8:
            raise InputError(
                f"pixels must be uint8 of shape (images, channels, height, width), got "
                f"{self.pixels.dtype} of shape {tuple(self.pixels.shape)}"
            )
        if self.labels.shape != self.pixels.shape[:1] or self.labels.dtype != torch.int64:
            raise InputError(
                f"labels must be int64 of shape ({len(self.pixels)},), got {self.labels.dtype} "
                f"of shape {tuple(self.labels.shape)}"
            )
        if len(self.labels) and not 0 <= self.labels.min() <= self.labels.max() < len(self.classes):
            raise InputError(
                f"labels must lie between 0 and {len(self.classes) - 1}, got "
                f"{self.labels.min()} to {self.labels.max()}"
            )

    def __len__(self) -> int:
        return len(self.labels)

    @property
    def shape(self) -> tuple[int, int, int]:
        """Channels, height and width of an image."""
        return tuple(self.pixels.shape[1:])

    def subset(self, items: Tensor) -> "Images":
        """Those images, in that order."""
        return replace(self, pixels=self.pixels[items], labels=self.labels[items])

    def standard(self) -> tuple[float, float]:
        """Mean and standard deviation of all pixels, in parts of the maximum.

        Example:
            >>> pixels = torch.tensor([0, 255, 255, 0], dtype=torch.uint8).view(1, 1, 2, 2)
            >>> Images(pixels, torch.tensor([0]), ("a",)).standard()
            (0.5, 0.5)

        """
        # 256 counts, not 43 million floats.
        counts = torch.bincount(self.pixels.flatten(), minlength=256).double()
        values = torch.arange(256, dtype=torch.float64) / self.maximum
        mean = (counts * values).sum() / counts.sum()
        variance = (counts * (values - mean).square()).sum() / counts.sum()
        return float(mean), float(variance.sqrt())


@dataclass(frozen=True, eq=False)
class ImageDataset:
    """The three parts of an image data set.

    Args:
        train: What a model learns from.
        validation: What chooses between epochs and settings.
        test: What is looked at once.
        name: The data set's name.
        flips: Whether a mirrored image is still one of its class: a coat is, a 3 is not.
        card: Plain data for a report: source, licence, citation, sizes.

    Raises:
        InputError: If the parts differ in shape, classes or maximum, or one is empty.

    """

    train: Images
    validation: Images
    test: Images
    name: str
    flips: bool
    card: dict[str, Any]

    def __post_init__(self) -> None:
        for part in PARTS:
            images = getattr(self, part)
            if not len(images):
                raise InputError(f"the data set {self.name!r}: {part} has no images")
            for what in ("shape", "classes", "maximum"):
                ours, theirs = getattr(self.train, what), getattr(images, what)
                if ours != theirs:
                    raise InputError(
                        f"the data set {self.name!r}: train and {part} must have the same {what}, "
                        f"not {ours!r} and {theirs!r}"
                    )

    @property
    def shape(self) -> tuple[int, int, int]:
        """Channels, height and width of an image."""
        return self.train.shape

    @property
    def classes(self) -> tuple[str, ...]:
        """The names of the classes."""
        return self.train.classes


IMAGES: Registry[Callable[..., ImageDataset]] = Registry("image data set")
"""Functions ``(data_dir, split_seed) -> ImageDataset`` by name."""


def load_images(
    name: str, data_dir: str | Path | None = None, split_seed: int = 0, limit: int | None = None
) -> ImageDataset:
    """Loads an image data set.

    Args:
        name: ``"mnist"``, ``"fashion_mnist"``, ``"digits"``, or ``module:function``.
        data_dir: The folder of all data sets; None takes EDGEWISE_DATA or the user's cache.
        split_seed: Which images are held out.
        limit: Keeps so many training images, the classes in proportion; None keeps all.

    Raises:
        InputError: If there is no such data set, or files are missing or wrong.

    Example:
        >>> data = load_images("digits")
        >>> len(data.train), len(data.validation), len(data.test), data.shape
        (1077, 360, 360, (1, 8, 8))

    """
    if split_seed < 0:
        raise InputError(f"split_seed must be at least 0, not {split_seed}")
    dataset = IMAGES.resolve(name)(data_dir, split_seed)
    if not isinstance(dataset, ImageDataset):
        raise InputError(
            f"the image data set {name!r} must return an ImageDataset, not {type(dataset).__name__}"
        )
    return dataset if limit is None else _limited(dataset, limit, split_seed)


@IMAGES.register("mnist")
def mnist_images(data_dir: str | Path | None = None, split_seed: int = 0) -> ImageDataset:
    """MNIST, 28 × 28: 55 000 / 5 000 / 10 000; the last are the official test images."""
    return _original("mnist", _DIGITS, False, data_dir, split_seed)


@IMAGES.register("fashion_mnist")
def fashion_mnist_images(data_dir: str | Path | None = None, split_seed: int = 0) -> ImageDataset:
    """Fashion-MNIST, 28 × 28: 55 000 / 5 000 / 10 000; the last are the official test images."""
    return _original("fashion_mnist", _CLOTHES, True, data_dir, split_seed)


@IMAGES.register("digits")
def digits_images(data_dir: str | Path | None = None, split_seed: int = 0) -> ImageDataset:
    """scikit-learn's digits, 8 × 8: 1077 / 360 / 360, from no file."""
    from sklearn.datasets import load_digits

    bunch = load_digits()
    pixels = torch.from_numpy(bunch.images).to(torch.uint8).unsqueeze(1)
    whole = Images(pixels, torch.from_numpy(bunch.target).long(), _DIGITS, maximum=16)
    parts = stratified_split(whole.labels, (1077, 360, 360), split_seed)
    return _described("digits", [whole.subset(part) for part in parts], False)


def _original(
    name: str, classes: tuple[str, ...], flips: bool, data_dir: str | Path | None, seed: int
) -> ImageDataset:
    """A set in MNIST's four files; a part of the training images is held out."""
    paths = {
        part: [
            locate(name, f"{part}-{kind}-ubyte.gz", data_dir)
            for kind in ("images-idx3", "labels-idx1")
        ]
        for part in ("train", "t10k")
    }
    whole, test = (
        Images(pixels.unsqueeze(1), labels.long(), classes)
        for pixels, labels in (_read(*paths["train"]), _read(*paths["t10k"]))
    )
    if len(whole) <= _HELD_OUT:
        raise InputError(
            f"{paths['train'][0]} has {len(whole)} images, of which {_HELD_OUT} are held out for "
            f"validation: it must have more"
        )
    parts = stratified_split(whole.labels, (len(whole) - _HELD_OUT, _HELD_OUT), seed)
    return _described(name, [*map(whole.subset, parts), test], flips)


def _described(name: str, parts: list[Images], flips: bool) -> ImageDataset:
    named = dict(zip(PARTS, parts, strict=True))
    sizes = {part: len(images) for part, images in named.items()}
    card = {"name": name, **SOURCES[name].card, "sizes": sizes}
    return ImageDataset(**named, name=name, flips=flips, card=card)


def _limited(dataset: ImageDataset, limit: int, seed: int) -> ImageDataset:
    there = len(dataset.train)
    if not 1 <= limit <= there:
        raise InputError(
            f"limit must lie between 1 and {there}, the training images of {dataset.name!r}, "
            f"got {limit}"
        )
    kept, _ = stratified_split(dataset.train.labels, (limit, there - limit), seed)
    return replace(dataset, train=dataset.train.subset(kept), card=dataset.card | {"limit": limit})
