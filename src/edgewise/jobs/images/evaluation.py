"""A saved network asked about the test images of a data set."""

from pathlib import Path

import torch
from torch import nn

from edgewise.core import InputError
from edgewise.data import ImageBatches, ImageDataset, load_images
from edgewise.export import load, read_notes
from edgewise.jobs.images.files import NOTE
from edgewise.models import KAN, MLP
from edgewise.models.vision import CNN, ConvKAN
from edgewise.train import Evaluation, evaluate


def evaluate_images(
    path: str | Path,
    dataset: str = "mnist",
    data_dir: str | Path | None = None,
    device: str | torch.device = "cpu",
) -> Evaluation:
    """Loss and accuracy of a saved network on a data set's test images.

    The pixels are standardised as in the network's training where its file says how, else by the
    data set's training images.

    Args:
        path: What `train_images` or `edgewise.save` wrote.
        dataset: The data set.
        data_dir: The folder of all data sets.
        device: Where to compute.

    Raises:
        InputError: If the file is no network for images of this shape and these classes.

    """
    model, notes = load(path), read_notes(path)
    data = load_images(dataset, data_dir)
    flat = _check_fit(Path(path), model, data)
    standard = notes.get(NOTE, {}).get("standard") or data.train.standard()
    batches = ImageBatches(data.test, 500, tuple(standard), shuffle=False, flat=flat)
    return evaluate(model, batches, device=device)


def _check_fit(path: Path, model: nn.Module, data: ImageDataset) -> bool:
    """Whether the network takes rows; an :class:`InputError` if it does not fit the data."""
    channels, height, width = data.shape
    if isinstance(model, (KAN, MLP)):
        takes, gives = f"{model.widths[0]} numbers", model.widths[-1]
        has = f"{channels * height * width} numbers"
    elif isinstance(model, (ConvKAN, CNN)):
        takes, gives = f"images of shape {tuple(model.image_shape)}", model.num_classes
        has = f"images of shape {data.shape}"
    else:
        raise InputError(
            f"{path} holds a {type(model).__name__}, which does not take images: "
            f"give a KAN, MLP, ConvKAN or CNN"
        )
    if takes != has:
        raise InputError(f"the network in {path} takes {takes}, but {data.name!r} has {has}")
    if gives != len(data.classes):
        raise InputError(
            f"the network in {path} tells {gives} classes apart, but {data.name!r} has "
            f"{len(data.classes)}"
        )
    return isinstance(model, (KAN, MLP))
