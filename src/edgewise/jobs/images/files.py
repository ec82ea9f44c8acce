"""What an image job leaves behind, and the words it says about it."""

import os
from pathlib import Path

import torch
from torch import nn

from edgewise.core import InputError, write_json
from edgewise.data import ImageDataset
from edgewise.drawing import save_png
from edgewise.export import save
from edgewise.jobs.images.figures import confusion, learning_curves
from edgewise.jobs.images.job import ImageJob
from edgewise.jobs.images.recipes import takes_rows
from edgewise.models import count_parameters
from edgewise.train import Evaluation, Run

NOTE = "image job"
"""Under which word a model's notes say what it was trained on."""


def check_destination(path: str | Path) -> Path:
    """Where the model goes, if it can go there.

    Raises:
        InputError: If the folder does not exist or can't be written in, or the path is a folder or
            no ``.safetensors`` file.

    """
    path = Path(path)
    if path.suffix != ".safetensors":
        raise InputError(f"--save-path must end in .safetensors, got {path}")
    if not path.parent.is_dir():
        raise InputError(f"--save-path {path}: there is no folder {path.parent}; make it first")
    if path.is_dir():
        raise InputError(f"--save-path {path} is a folder; name a file")
    if not os.access(path.parent, os.W_OK):
        raise InputError(f"--save-path {path}: the folder {path.parent} can't be written in")
    return path


def write_results(
    path: Path, job: ImageJob, data: ImageDataset, model: nn.Module, run: Run, test: Evaluation
) -> tuple[Path, ...]:
    """Writes the model, and beside it ``…_history.json`` and the two figures.

    Args:
        path: Where the model goes.
        job: The resolved job.
        data: Its data.
        model: The network, with the weights of its best epoch.
        run: Its training.
        test: What it says of the test images.

    Returns:
        What was written, the model last: where it is, the rest is there as well.

    """
    standard = data.train.standard()
    said = {"accuracy": test.accuracy, "loss": test.loss}
    notes = {NOTE: job.as_dict() | {"standard": standard, "classes": data.classes, "test": said}}
    history = {
        "job": job.as_dict(),
        "parameters": count_parameters(model),
        "data": data.card,
        "best_epoch": run.best_epoch,
        "test": said,
        "history": run.history,
        "seconds": run.seconds,
    }
    counts = confusion_counts(test, len(data.classes))
    heading = f"{type(model).__name__} on {data.name}, {score_line(test)}"
    curves = learning_curves(run.history, run.best_epoch, describe(model, data))
    return (
        write_json(_beside(path, "history.json"), history),
        save_png(curves, _beside(path, "learning_curves.png")),
        save_png(confusion(counts, data.classes, heading), _beside(path, "confusion.png")),
        save(model, path, notes),
    )


def confusion_counts(result: Evaluation, classes: int) -> list[list[int]]:
    """(C, C) images by true class and answer.

    Example:
        >>> labels, said = torch.tensor([0, 0, 1]), torch.tensor([0, 1, 1])
        >>> confusion_counts(Evaluation(0.0, 2 / 3, torch.arange(3), labels, said, None), 2)
        [[1, 1], [0, 1]]

    """
    cells = result.labels * classes + result.predictions
    return torch.bincount(cells, minlength=classes**2).reshape(classes, classes).tolist()


def _beside(path: Path, name: str) -> Path:
    return path.with_name(f"{path.stem}_{name}")


def describe(model: nn.Module, data: ImageDataset) -> str:
    """What is trained on what, in a few words."""
    sizes = f"{list(model.widths)}" if takes_rows(model) else f"{list(_channels(model))} channels"
    return (
        f"{type(model).__name__} {sizes}, {count_parameters(model):,} parameters, on {data.name}: "
        f"{len(data.train)} / {len(data.validation)} / {len(data.test)} images"
    )


def score_line(result: Evaluation) -> str:
    """The test's line.

    Example:
        >>> result = Evaluation(0.25, 0.975, torch.arange(40), None, None, None)
        >>> score_line(result)
        'test: loss 0.2500, accuracy 97.50 % of 40 images'

    """
    return (
        f"test: loss {result.loss:.4f}, accuracy {100 * result.accuracy:.2f} % "
        f"of {len(result.items)} images"
    )


def _channels(model: nn.Module) -> list[int]:
    return [m.num_features for m in model.stages if isinstance(m, nn.BatchNorm2d)]
