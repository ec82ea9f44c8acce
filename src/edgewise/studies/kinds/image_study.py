"""The comparison of models on images."""

from dataclasses import dataclass
from functools import partial
from typing import Any, ClassVar

from torch import nn

from edgewise.core import InputError, Registry
from edgewise.data import ImageBatches, ImageDataset, load_images
from edgewise.jobs.images.recipes import CONV_KAN, make_network
from edgewise.models.vision import Flattened
from edgewise.studies.kinds.model_study import AbstractModelStudy

IMAGE_MODELS: Registry = Registry("model of images")
"""Functions ``(image_shape, num_classes, width, *, num_layers, dropout, …)`` to a model."""


def _network(
    kind: str,
    shape: tuple[int, int, int],
    classes: int,
    width: int,
    *,
    num_layers: int,
    dropout: float,
    **options: Any,
) -> nn.Module:
    # Here layers are hidden ones; the network counts the last one, too.
    known = {"num_layers": num_layers + 1, "dropout": dropout, "hidden_dim": width}
    own = _OWN.get(kind, {}) | options
    network = make_network(kind, shape, classes, **known, **own)
    return Flattened(network) if kind in ("kan", "mlp") else network


_OWN = {"conv_kan": CONV_KAN}


for _name in ("cnn", "conv_kan", "mlp", "kan"):
    IMAGE_MODELS.register(_name.replace("_", "-"))(partial(_network, _name))


@dataclass(frozen=True)
class ImageStudy(AbstractModelStudy):
    """Models × seeds on images, everything else equal.

    Attributes:
        dataset: digits, mnist, fashion_mnist, or module:function.
        hidden_dim: Hidden units; in a convolutional network the channels of the last stage, halved
            from stage to stage towards the image.
        num_layers: Hidden layers, or stages.
        shift: Training images are moved by up to so many pixels, up or down and left or right.

    """

    kind: ClassVar[str] = "images"
    shelf: ClassVar[Registry] = IMAGE_MODELS

    models: tuple[str, ...] = ("cnn", "conv-kan")
    epochs: int = 10
    hidden_dim: int = 64
    num_layers: int = 2
    dropout: float = 0.0
    batch_size: int = 64
    learning_rate: float = 3e-3
    shift: int = 0

    def load(self) -> ImageDataset:
        if self.dataset_options:
            raise InputError("an image data set has no options: leave dataset_options out")
        return load_images(
            self.dataset,
            data_dir=self.data_dir,
            split_seed=self.split_seed,
            limit=self.limit or None,
        )

    def sizes(self, dataset: ImageDataset) -> tuple[tuple[int, int, int], int]:
        """Channels, height and width; and classes."""
        return dataset.train.shape, len(dataset.train.classes)

    def batches(self, dataset: ImageDataset, part: str, seed: int | None = None) -> ImageBatches:
        learns = seed is not None
        return ImageBatches(
            getattr(dataset, part),
            self.batch_size,
            dataset.train.standard(),
            seed=seed or 0,
            shuffle=learns,
            shift=self.shift if learns else 0,
        )
