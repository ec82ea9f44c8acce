"""A study: what is compared, on what, and how it is trained. One flat, frozen piece of data."""

import os
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import asdict, dataclass, field, fields
from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, mse_loss

from edgewise.core import InputError, did_you_mean
from edgewise.studies.kinds.metric import CLASSES
from edgewise.train import Settings, Source

SHARED_FREELY = (
    "encoders",
    "encoder_options",
    "models",
    "model_options",
    "seeds",
    "workers",
    "analyses",
    "data_dir",
)
"""What may change between two runs in one folder: finished trials stay valid."""


@dataclass(frozen=True)
class Variant:
    """One thing that is compared.

    Attributes:
        name: What tables and folders call it.
        subject: The encoder or model, by name.
        options: Its options.
        changes: Fields of the study that this variant has otherwise (ablations).

    """

    name: str
    subject: str
    options: dict[str, Any] = field(default_factory=dict)
    changes: dict[str, Any] = field(default_factory=dict)

    @property
    def slug(self) -> str:
        """The name, fit for a folder."""
        return "".join(c if c.isalnum() or c in "-_.=" else "_" for c in self.name)


def _default_workers() -> int:
    return max(1, os.cpu_count() or 1)


@dataclass(frozen=True)
class AbstractStudy(ABC):
    """Subjects × seeds on one data set, everything else equal.

    A kind of study says what its subjects are (the field that ``subjects`` names), where the data
    come from and how a model is made of both; the rest is shared.

    Attributes:
        dataset: A name, a file, or module:function.
        seeds: How many seeds; each trains every variant on the same splits in the same order.
        epochs: Passes over the training set, at most.
        data_dir: Where data sets lie; by default $EDGEWISE_DATA, else the user's cache.
        dataset_options: Options of the data set, for instance threshold.
        split_seed: The seed of the split into training, validation and test.
        limit: At most so many training examples; 0 is all.
        hidden_dim: The width of the model.
        num_layers: The layers of the model.
        dropout: The probability of dropping a hidden unit.
        parameters: An equal budget: the width is chosen for each variant so that the model comes
            closest to so many parameters; 0 keeps hidden_dim.
        batch_size: Examples in a batch.
        learning_rate: AdamW's highest learning rate.
        weight_decay: AdamW's weight decay.
        schedule: cosine, plateau or constant.
        warmup: The part of all steps in which the cosine schedule climbs.
        clip: The largest gradient norm; 0 is no clipping.
        accumulation: Batches whose gradients are added up for one step.
        precision: float32, bfloat16 or float16.
        patience: Stop after so many epochs without a better validation; 0 is never.
        device: cpu or cuda.
        workers: Trials at once, each a process with one thread; 0 trains in this process.
        analyses: More sections for the report: module:function.

    """

    kind: ClassVar[str]
    subjects: ClassVar[str]

    dataset: str = "digits"
    seeds: int = 3
    epochs: int = 10
    data_dir: str | None = None
    dataset_options: dict[str, Any] = field(default_factory=dict)
    split_seed: int = 0
    limit: int = 0
    hidden_dim: int = 128
    num_layers: int = 1
    dropout: float = 0.1
    parameters: int = 0
    batch_size: int = 256
    learning_rate: float = 4e-3
    weight_decay: float = 1e-4
    schedule: str = "cosine"
    warmup: float = 0.1
    clip: float = 1.0
    accumulation: int = 1
    precision: str = "float32"
    patience: int = 0
    device: str = "cpu"
    workers: int = field(default_factory=_default_workers)
    analyses: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        # JSON has lists; the study keeps tuples.
        for name in (self.subjects, "analyses"):
            object.__setattr__(self, name, tuple(getattr(self, name)))
        self._check_subjects()
        for name in {f.name for f in fields(self)} & set(_LEAST):
            if getattr(self, name) < _LEAST[name]:
                least = _LEAST[name]
                raise InputError(f"{name} must be at least {least}, got {getattr(self, name)!r}")
        if not 0 <= self.dropout < 1:
            raise InputError(f"dropout must lie in [0, 1), got {self.dropout!r}")
        self.settings()

    def _check_subjects(self) -> None:
        names = getattr(self, self.subjects)
        if not names:
            raise InputError(
                f"{self.subjects} must name at least one {self.subjects[:-1]}, got none"
            )
        twice = {e for e in names if names.count(e) > 1}
        if twice:
            raise InputError(f"{self.subjects} names {sorted(twice)[0]!r} twice; name each once")
        for name in names:
            self.check_subject(name)
        for name in self.subject_options():
            if name not in names:
                raise InputError(
                    f"{self.options_field()} has {name!r}, which is not compared: "
                    f"{did_you_mean(name, names)}"
                )

    @classmethod
    def options_field(cls) -> str:
        """The field with the subjects' options."""
        return f"{cls.subjects[:-1]}_options"

    def subject_options(self) -> dict[str, dict[str, Any]]:
        """Options for single subjects, by name."""
        return getattr(self, self.options_field())

    def settings(self, task: str = CLASSES) -> Settings:
        """How a trial is trained; numbers have no accuracy to choose an epoch by."""
        names = {f.name for f in fields(Settings)} & {f.name for f in fields(self)}
        select = "accuracy" if task == CLASSES else "loss"
        return Settings(select=select, **{name: getattr(self, name) for name in names})

    def variants(self) -> tuple[Variant, ...]:
        """One variant for each subject."""
        options = self.subject_options()
        return tuple(
            Variant(name=name, subject=name, options=options.get(name, {}))
            for name in getattr(self, self.subjects)
        )

    def as_dict(self) -> dict[str, Any]:
        """The study as JSON can hold it."""
        return asdict(self)

    @abstractmethod
    def check_subject(self, name: str) -> None:
        """Refuses, with an :class:`InputError`, a subject that there is not."""

    @abstractmethod
    def load(self) -> Any:
        """The data set: ``train``, ``validation``, ``test``, its ``name`` and ``card``."""

    @abstractmethod
    def make(self, variant: Variant, dataset: Any, width: int) -> nn.Module:
        """A variant's model of a width, its weights drawn from torch's generator."""

    @abstractmethod
    def batches(self, dataset: Any, part: str, seed: int | None = None) -> Source:
        """The examples of a part: shuffled by a seed, and augmented; or as they are, for None."""

    def task(self, dataset: Any) -> str:
        """What is predicted: `CLASSES` or `NUMBERS`."""
        return CLASSES

    def loss(self, dataset: Any) -> Callable[[Tensor, Tensor], Tensor]:
        """What training brings down."""
        return cross_entropy if self.task(dataset) == CLASSES else mse_loss

    def prepare(self, model: nn.Module, dataset: Any) -> None:  # noqa: B027 - most take nothing
        """What a new model takes from the training data before it learns."""

    def penalty(self, model: nn.Module, dataset: Any) -> Callable[[nn.Module], Tensor] | None:
        """The weighted penalties that the model can have; None where it has none."""
        return None

    def usage(self, model: nn.Module, dataset: Any, part: str) -> dict[str, Any] | None:
        """How the model's experts are used on a part; None without experts."""
        return None

    def lengths(self, dataset: Any, part: str, items: Tensor) -> Tensor | None:
        """How long the examples are, (n,); None where all are of one size."""
        return None

    def curves(self, model: nn.Module, dataset: Any) -> dict[str, Any]:
        """Learned functions to look at, as arrays by name."""
        return {}


_LEAST = {
    "seeds": 1,
    "epochs": 1,
    "split_seed": 0,
    "limit": 0,
    "dim": 1,
    "hidden_dim": 1,
    "num_layers": 1,
    "parameters": 0,
    "batch_size": 1,
    "balance": 0,
    "sobolev": 0,
    "variation": 0,
    "workers": 0,
}


def check_device(device: str) -> None:
    """Refuses, with an :class:`InputError`, a device that can't be used here."""
    try:
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError) as error:
        reason = str(error).splitlines()[0]
        raise InputError(f"device {device!r} can't be used here: {reason}") from None
