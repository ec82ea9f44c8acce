"""Examples for a saved model: from what its file says, or from what was named."""

import inspect
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from edgewise.core import InputError, generator, parse_json, read_json
from edgewise.data import (
    DATASETS,
    Batches,
    EventDataset,
    EventStreams,
    ImageBatches,
    ImageDataset,
    Images,
    load_dataset,
    load_images,
)
from edgewise.data.numeric_table import load_numbers
from edgewise.data.table_files import SUFFIXES
from edgewise.jobs.images.evaluation import _check_fit
from edgewise.jobs.images.files import NOTE
from edgewise.jobs.landscape.job import LandscapeJob
from edgewise.models import CNN, KAN, MLP, ConvKAN

Batch = tuple[Tensor | tuple[Tensor, ...], Tensor]

AT_ONCE = 512
"""Examples that go through a model together: what bounds memory."""
TEST_SHARE = 0.2


@dataclass(frozen=True, eq=False)
class Examples:
    """Some rows of both splits.

    Attributes:
        name: The data set's name.
        train: ``(x, y)`` batches of training rows, at most `LandscapeJob.samples` of them.
        test: Those of the test rows.

    """

    name: str
    train: list[Batch]
    test: list[Batch]

    def __post_init__(self) -> None:
        for split in ("train", "test"):
            if not self.size(split):
                raise InputError(f"the data set {self.name!r}: {split} has no examples")

    def size(self, split: str) -> int:
        """How many examples a split has."""
        return sum(len(y) for _, y in getattr(self, split))

    @property
    def classes(self) -> int | None:
        """How many classes the targets tell apart at least; None where they are numbers."""
        targets = [y for _, y in (*self.train, *self.test)]
        if targets[0].is_floating_point():
            return None
        return 1 + max(int(y.max()) for y in targets)


def load_examples(
    path: Path, model: nn.Module, notes: dict[str, Any], job: LandscapeJob
) -> Examples:
    """The examples for a model, at most ``job.samples`` of each split.

    Args:
        path: The model's file; beside it a study says what it was trained on.
        model: The model.
        notes: What its file says.
        job: What was asked for.

    Raises:
        InputError: If nothing says which data, or they do not fit the model.

    """
    if job.target is not None:
        found = _from_table(model, job)
    else:
        known = _known(path, notes)
        name = job.dataset or known.get("dataset")
        if name is None:
            raise InputError(f"{path} does not say what it was trained on: give --dataset")
        found = _by_name(path, model, notes, name, known, job)
    _check_fits(path, model, found)
    return found


def _known(path: Path, notes: dict[str, Any]) -> dict[str, Any]:
    """What the file, or the study that it lies in, says of the data."""
    if NOTE in notes:
        return notes[NOTE]
    for beside, key in (("trial.json", "study"), ("config.json", None)):
        file = path.parent / beside
        if file.exists():
            kept = read_json(file)
            found = kept.get(key, {}) if key else kept
            return found if isinstance(found, dict) else {}
    return {}


def _by_name(
    path: Path,
    model: nn.Module,
    notes: dict[str, Any],
    name: str,
    known: dict[str, Any],
    job: LandscapeJob,
) -> Examples:
    if ":" in name and not name.lower().endswith(SUFFIXES):
        data = _call(name, job)
    elif isinstance(model, (KAN, MLP, ConvKAN, CNN)):
        if name.lower().endswith(SUFFIXES):
            raise InputError(f"{name} is a table: say which column the model predicts by --target")
        data = load_images(name, job.data_dir)
    else:
        options = _options(job.dataset_options) or known.get("dataset_options", {})
        seed = known.get("split_seed", job.split_seed)
        data = load_dataset(name, data_dir=job.data_dir, split_seed=seed, **options)
    if isinstance(data, ImageDataset):
        return _from_images(path, model, notes, data, job)
    if isinstance(data, EventDataset):
        parts = (_from_streams(getattr(data, s), s, job) for s in ("train", "test"))
        return Examples(data.name, *parts)
    return _own(name, data)


def _call(name: str, job: LandscapeJob) -> Any:
    """What ``module:function`` returns, given of data_dir and split_seed what it takes."""
    function = DATASETS.resolve(name)
    taken = inspect.signature(function).parameters
    given = {"data_dir": job.data_dir, "split_seed": job.split_seed}
    return function(**{key: value for key, value in given.items() if key in taken})


def _own(name: str, data: Any) -> Examples:
    """A user's own batches for a model of any kind."""
    if not isinstance(data, Mapping) or not {"train", "test"} <= set(data):
        raise InputError(
            f"{name} must return an ImageDataset, an EventDataset, or a dictionary with (x, y) "
            f"batches as 'train' and as 'test', got {type(data).__name__}"
        )
    parts = []
    for split in ("train", "test"):
        part = data[split]
        is_pair = len(part) == 2 and isinstance(part[1], Tensor)
        parts.append([part] if is_pair else list(part))
    return Examples(name, *parts)


def _from_images(
    path: Path, model: nn.Module, notes: dict[str, Any], data: ImageDataset, job: LandscapeJob
) -> Examples:
    flat = _check_fit(path, model, data)
    standard = tuple(notes.get(NOTE, {}).get("standard") or data.train.standard())
    dtype = next(model.parameters()).dtype

    def batches(images: Images, split: str) -> list[Batch]:
        some = images.subset(_chosen(len(images), split, job))
        epoch = ImageBatches(some, AT_ONCE, standard, shuffle=False, flat=flat).epoch(0)
        return [(batch.inputs[0].to(dtype), batch.target) for batch in epoch]

    return Examples(data.name, batches(data.train, "train"), batches(data.test, "test"))


def _from_streams(streams: EventStreams, split: str, job: LandscapeJob) -> list[Batch]:
    some = streams.subset(_chosen(len(streams), split, job))
    if not len(some):
        return []
    # Shorter pieces than of images: a recurrent network keeps each step.
    return [(b.inputs, b.target) for b in Batches(some, AT_ONCE // 4, shuffle=False).epoch(0)]


def _from_table(model: nn.Module, job: LandscapeJob) -> Examples:
    table = load_numbers(job.dataset, [job.target])
    dtype = next(model.parameters()).dtype
    x, y = (torch.from_numpy(part).to(dtype) for part in (table.x, table.y))
    if len(x) < 2:
        raise InputError(f"{job.dataset} has one row: a training and a test row are needed")
    outputs = _outputs(Path(job.dataset), model, x)
    if outputs > 1:
        y = _labels(job, table.y[:, 0], outputs)
    order = torch.randperm(len(x), generator=generator(job.split_seed, "table"))
    held = max(1, round(TEST_SHARE * len(x)))
    train, test = order[held:], order[:held]
    if job.standardize:
        mean, sd = x[train].mean(0), x[train].std(0, correction=0)
        x = (x - mean) / sd.where(sd > 0, 1)

    def batches(rows: Tensor, split: str) -> list[Batch]:
        rows = rows[_chosen(len(rows), split, job)]
        return [(x[part], y[part]) for part in rows.split(AT_ONCE)]

    return Examples(Path(job.dataset).name, batches(train, "train"), batches(test, "test"))


@torch.no_grad()
def _outputs(path: Path, model: nn.Module, x: Tensor) -> int:
    try:
        return model.eval()(x[:2]).shape[-1]
    except (RuntimeError, ValueError, TypeError) as error:
        raise InputError(
            f"the model does not take the rows of {x.shape[1]} numbers in {path}: {_line(error)}"
        ) from None


def _labels(job: LandscapeJob, values: Any, outputs: int) -> Tensor:
    """Labels 0 .. C - 1 in the order of the values."""
    levels, found = torch.unique(torch.from_numpy(values), return_inverse=True)
    if len(levels) != outputs:
        raise InputError(
            f"the model tells {outputs} classes apart, but {job.target!r} of {job.dataset} has "
            f"{len(levels)} values"
        )
    return found


def _chosen(count: int, split: str, job: LandscapeJob) -> Tensor:
    """The rows that are looked at, ascending."""
    if not job.samples or count <= job.samples:
        return torch.arange(count)
    random = generator(job.seed, "landscape", split)
    return torch.randperm(count, generator=random)[: job.samples].sort().values


@torch.no_grad()
def _check_fits(path: Path, model: nn.Module, examples: Examples) -> None:
    x, y = examples.train[0]
    inputs = x if isinstance(x, tuple) else (x,)
    try:
        found = model.eval()(*(part[:2] for part in inputs))
    except (RuntimeError, ValueError, TypeError, IndexError) as error:
        raise InputError(
            f"the model in {path} does not take the examples of {examples.name!r}: {_line(error)}"
        ) from None
    classes = examples.classes
    if classes is None and found.shape[1:] != y.shape[1:]:
        raise InputError(
            f"the model in {path} gives {tuple(found.shape[1:])} for an example, but the targets "
            f"of {examples.name!r} are {tuple(y.shape[1:])}"
        )
    if classes is not None and (found.ndim != 2 or found.shape[1] < classes):
        raise InputError(
            f"the model in {path} tells {found.shape[-1]} classes apart, but {examples.name!r} has "
            f"{classes}"
        )


def _options(text: str) -> dict[str, Any]:
    """``a=1,b=x`` as a dictionary; values are JSON where they can be, words elsewhere."""
    pairs: dict[str, Any] = {}
    for part in filter(None, text.split(",")):
        key, equals, value = part.partition("=")
        if not equals or not key.strip():
            raise InputError(f"--dataset-options takes name=value pairs, got {part!r}")
        try:
            pairs[key.strip()] = parse_json(value)
        except ValueError:
            pairs[key.strip()] = value.strip()
    return pairs


def _line(error: Exception) -> str:
    return str(error).strip().splitlines()[0].rstrip(".")
