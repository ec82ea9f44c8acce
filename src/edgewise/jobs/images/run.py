"""The image job done: data in; a model, its history and its figures out."""

import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from edgewise.core import EdgewiseError, InputError, read_json, seeded, write_json
from edgewise.data import ImageBatches, ImageDataset, load_images
from edgewise.jobs.images.backends import train_with
from edgewise.jobs.images.files import check_destination, describe, score_line, write_results
from edgewise.jobs.images.job import ImageJob
from edgewise.jobs.images.recipes import hidden_within, make_network, takes_rows
from edgewise.losses.sparsity import sparsity
from edgewise.train import Evaluation, Run, Step, evaluate, is_first
from edgewise.train.distributed import first_then_all
from edgewise.train.loop import OnEpoch

_EVALUATED_AT_ONCE = 500
_GRID_SAMPLE = 2048
_PENALTY_SAMPLE = 128
# May differ between two calls that share a run: they change where it is done, not what.
_FREE = ("data_dir", "eval_report_count", "save_path", "cpu")

Say = Callable[[str], None]


@dataclass(frozen=True, eq=False)
class ImageResult:
    """What a job gave.

    Attributes:
        model: The network with the weights of its best epoch.
        run: Its training.
        test: What it says of the test images.
        files: What was written, the model last; nothing by other processes than the first.

    """

    model: nn.Module
    run: Run
    test: Evaluation
    files: tuple[Path, ...]


def train_images(
    job: ImageJob,
    say: Say | None = None,
    on_batch: Sequence[Callable[[Step], None]] = (),
    on_epoch: Sequence[OnEpoch] = (),
) -> ImageResult:
    """Trains the job's network and writes the model, and beside it figures and history.

    For a model ``m.safetensors`` these are ``m_learning_curves.png``, ``m_confusion.png`` and
    ``m_history.json``. While it trains, ``m_run/`` keeps its last finished epoch: killed and called
    again, the same job goes on from there. Where several processes train together, as in
    `edgewise.train.fit`, the first one writes.

    Args:
        job: What to train.
        say: Called with each line of progress.
        on_batch: As in `edgewise.train.fit`.
        on_epoch: As in `edgewise.train.fit`.

    Raises:
        InputError: Before any training, if the job can't be done as asked.
        RunError: If the training fails.

    """
    path = check_destination(job.save_path)
    data = load_images(job.dataset, job.data_dir, limit=job.limit or None)
    job = job.resolved()
    model = make_model(job, data)
    train, validation, test = make_batches(job, data, takes_rows(model))
    device = pick_device(job)
    model.to(device)
    folder = first_then_all(lambda: _folder(path, job))
    say = say or (lambda line: None)
    say(f"{describe(model, data)}, on {device}")
    follow = _first_grid(job, model, train, device)
    try:
        run = train_with(
            job.backend,
            model,
            train,
            validation,
            job.settings(),
            seed=job.seed,
            label_smoothing=job.label_smoothing,
            folder=folder,
            penalty=_penalty(job, train, device),
            on_epoch=[_Reporter(job, say), *on_epoch],
            on_batch=[*follow, *on_batch],
            device=device,
        )
    except EdgewiseError:
        # A refusal leaves nothing that would stand in the way of the next job.
        if is_first() and not (folder / "checkpoint.safetensors").exists():
            shutil.rmtree(folder)
        raise
    result = evaluate(model, test)
    if not is_first():
        return ImageResult(model, run, result, ())
    files = write_results(path, job, data, model, run, result)
    shutil.rmtree(folder)
    say(f"kept epoch {run.best_epoch}; {score_line(result)}")
    return ImageResult(model, run, result, files)


def make_model(job: ImageJob, data: ImageDataset) -> nn.Module:
    """The network of a resolved job, its initial values drawn from the job's seed."""
    options = {"num_layers": job.num_layers, "dropout": job.dropout}
    if job.kind == "conv_kan":
        options["form"] = job.form
    if job.model == "kan":
        options |= {"basis": job.basis, "grid_size": job.grid_size}
    if job.kind == "kan":
        options["normalize"] = job.normalize
    args = (job.kind, data.shape, len(data.classes))
    hidden = job.hidden_dim
    if hidden is None:
        hidden = hidden_within(job.parameters, *args, **options)
    with seeded(job.seed, "init"):
        return make_network(*args, hidden_dim=hidden, **options)


def make_batches(
    job: ImageJob, data: ImageDataset, flat: bool
) -> tuple[ImageBatches, ImageBatches, ImageBatches]:
    """Training, validation and test images, all standardised by the training ones."""
    standard = data.train.standard()
    _check_last_batch(job, len(data.train))
    train = ImageBatches(
        data.train,
        job.batch_size,
        standard,
        seed=job.seed,
        flat=flat,
        shift=job.shift,
        flip=data.flips if job.mirror is None else job.mirror,
    )
    others = (
        ImageBatches(images, _EVALUATED_AT_ONCE, standard, shuffle=False, flat=flat)
        for images in (data.validation, data.test)
    )
    return train, *others


def _check_last_batch(job: ImageJob, images: int) -> None:
    if job.kind == "kan" and job.normalize and (images % job.batch_size or job.batch_size) == 1:
        raise InputError(
            f"the last of {images} training images would be a batch of its own, and one image "
            f"can't be normalised: change batch_size={job.batch_size} or limit, or switch "
            "normalize off"
        )


def pick_device(job: ImageJob) -> torch.device:
    """The accelerator, if there is one and the job does not ask for the CPU."""
    if job.cpu or not torch.accelerator.is_available():
        return torch.device("cpu")
    return torch.accelerator.current_accelerator()


class _Reporter:
    """Says how it goes, so many times in a run, at even distances; the last epoch is one."""

    def __init__(self, job: ImageJob, say: Say) -> None:
        epochs = job.settings().epochs
        count = min(job.eval_report_count, epochs)
        self.epochs, self.say = epochs, say
        self.at = {-(-epochs * turn // count) for turn in range(1, count + 1)}

    def __call__(self, row: dict[str, Any], model: nn.Module) -> None:
        if row["epoch"] not in self.at:
            return
        self.say(
            f"epoch {row['epoch']}/{self.epochs}: training loss {row['train_loss']:.4f}; "
            f"validation loss {row['validation_loss']:.4f}, "
            f"accuracy {100 * row['validation_accuracy']:.2f} %"
        )


def _folder(path: Path, job: ImageJob) -> Path:
    """The run's folder, new or of the same job."""
    folder = path.with_name(f"{path.stem}_run")
    note = folder / "job.json"
    ours = {key: value for key, value in job.as_dict().items() if key not in _FREE}
    if note.exists():
        theirs = read_json(note)
        for key in ours:
            if theirs.get(key) != ours[key]:
                raise InputError(
                    f"{folder} holds an unfinished run with {key} = {theirs.get(key)}, here it is "
                    f"{ours[key]}: run that one to its end, or delete the folder"
                )
    elif folder.exists() and any(folder.iterdir()):
        # It would be removed at the end.
        raise InputError(f"{folder} holds something else: move it away, or choose another path")
    else:
        write_json(note, ours)
    return folder


def _first_grid(
    job: ImageJob, model: nn.Module, train: ImageBatches, device: torch.device
) -> list[Callable[[Step], None]]:
    """Moves the knots before the first epoch, and returns what moves them before the next ones."""
    if not job.grid_update_epochs:
        return []
    sample = _sample(train, _GRID_SAMPLE).to(device)
    model.update_grid(sample)

    def follow(step: Step) -> None:
        # After an epoch's last step and so before its validation: what is kept is what was judged.
        if step.batch == step.batches and step.epoch < job.grid_update_epochs:
            model.update_grid(sample)

    return [follow]


def _penalty(
    job: ImageJob, train: ImageBatches, device: torch.device
) -> Callable[[nn.Module], Tensor] | None:
    if not job.sparsity:
        return None
    sample = _sample(train, _PENALTY_SAMPLE).to(device)
    return lambda model: job.sparsity * sparsity(model, sample)


def _sample(train: ImageBatches, most: int) -> Tensor:
    """Some training images, the same in every run; they are stored in no order of classes."""
    return train.inputs(torch.arange(min(most, len(train.images))))
