"""A study: what is compared, on what, and how it is trained. One flat, frozen piece of data."""

import itertools
import os
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field, fields
from typing import Any

from edgewise.core import InputError, did_you_mean
from edgewise.encoders import ENCODERS
from edgewise.train import Settings

ALL_ENCODERS = (
    "raw",
    "learned",
    "sinusoidal",
    "time2vec",
    "fourier",
    "fourier-fixed",
    "lete",
    "kmote",
    "kan-mammote",
)


def _default_workers() -> int:
    return max(1, os.cpu_count() or 1)


@dataclass(frozen=True)
class Study:
    """Encoders × seeds on one data set, everything else equal.

    Attributes:
        dataset: A name (digits, mnist, fashion_mnist, nmnist), a CSV or Parquet file of events
            (sequence, time, label), or module:function.
        encoders: The time encoders to compare: names or module:Class.
        seeds: How many seeds; each trains every encoder on the same splits in the same order.
        epochs: Passes over the training set, at most.
        data_dir: Where data sets lie; by default $EDGEWISE_DATA, else the user's cache.
        dataset_options: Options of the data set, for instance threshold.
        split_seed: The seed of the split into training, validation and test.
        limit: At most so many training streams; 0 is all.
        dim: The size of the encoders' vectors.
        encoder_options: Options for single encoders, by name.
        model: The model: sequence, or module:Class called like SequenceClassifier.
        hidden_dim: The width of the backbone.
        num_layers: The layers of the backbone.
        backbone: lstm, gru or mamba.
        dropout: The probability of dropping a unit before the head.
        parameters: An equal budget: the backbone's width is chosen for each encoder so that the
            model comes closest to so many parameters; 0 keeps hidden_dim.
        batch_size: Streams in a batch.
        learning_rate: AdamW's highest learning rate.
        weight_decay: AdamW's weight decay.
        schedule: cosine, plateau or constant.
        warmup: The part of all steps in which the cosine schedule climbs.
        clip: The largest gradient norm; 0 is no clipping.
        accumulation: Batches whose gradients are added up for one step.
        precision: float32, bfloat16 or float16.
        patience: Stop after so many epochs without a better validation; 0 is never.
        balance: The weight of the experts' load balance.
        sobolev: The weight of the Sobolev penalty on learned functions.
        variation: The weight of the total variation of learned functions.
        device: cpu or cuda.
        workers: Trials at once, each a process with one thread; 0 trains in this process.
        analyses: More sections for the report: module:function.

    """

    dataset: str = "digits"
    encoders: tuple[str, ...] = ALL_ENCODERS
    seeds: int = 3
    epochs: int = 10
    data_dir: str | None = None
    dataset_options: dict[str, Any] = field(default_factory=dict)
    split_seed: int = 0
    limit: int = 0
    dim: int = 32
    encoder_options: dict[str, dict[str, Any]] = field(default_factory=dict)
    model: str = "sequence"
    hidden_dim: int = 128
    num_layers: int = 1
    backbone: str = "lstm"
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
    balance: float = 0.01
    sobolev: float = 0.0
    variation: float = 0.0
    device: str = "cpu"
    workers: int = field(default_factory=_default_workers)
    analyses: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        # JSON has lists; the study keeps tuples.
        object.__setattr__(self, "encoders", tuple(self.encoders))
        object.__setattr__(self, "analyses", tuple(self.analyses))
        if not self.encoders:
            raise InputError("encoders must name at least one encoder, got none")
        twice = {e for e in self.encoders if self.encoders.count(e) > 1}
        if twice:
            raise InputError(f"encoders names {sorted(twice)[0]!r} twice; name each once")
        for encoder in self.encoders:
            ENCODERS.resolve(encoder)
        for encoder in self.encoder_options:
            if encoder not in self.encoders:
                raise InputError(
                    f"encoder_options has {encoder!r}, which is not compared: "
                    f"{did_you_mean(encoder, self.encoders)}"
                )
        for name, least in _LEAST.items():
            if getattr(self, name) < least:
                raise InputError(f"{name} must be at least {least}, got {getattr(self, name)!r}")
        self.settings()

    def settings(self) -> Settings:
        """How a trial is trained."""
        names = {f.name for f in fields(Settings)} & {f.name for f in fields(Study)}
        return Settings(**{name: getattr(self, name) for name in names})

    def variants(self) -> tuple["Variant", ...]:
        """One variant for each encoder."""
        return tuple(
            Variant(name=encoder, encoder=encoder, options=self.encoder_options.get(encoder, {}))
            for encoder in self.encoders
        )

    def as_dict(self) -> dict[str, Any]:
        """The study as JSON can hold it."""
        return asdict(self)


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

SHARED_FREELY = ("encoders", "seeds", "workers", "analyses", "data_dir", "encoder_options")
"""What may change between two runs in one folder: finished trials stay valid."""


@dataclass(frozen=True)
class Variant:
    """One thing that is compared.

    Attributes:
        name: What tables and folders call it.
        encoder: The encoder's name.
        options: The encoder's options.
        changes: Fields of the study that this variant has otherwise (ablations).

    """

    name: str
    encoder: str
    options: dict[str, Any] = field(default_factory=dict)
    changes: dict[str, Any] = field(default_factory=dict)

    @property
    def slug(self) -> str:
        """The name, fit for a folder."""
        return "".join(c if c.isalnum() or c in "-_.=" else "_" for c in self.name)


def make_study(values: dict[str, Any], where: str = "the configuration") -> Study:
    """A study from plain values, each key and type checked.

    Args:
        values: Field to value, as read from JSON or the command line.
        where: Where they come from, for the message.

    Raises:
        InputError: For an unknown key (with the nearest known one) or a value of the wrong type.

    Example:
        >>> make_study({"epochs": 3}).epochs
        3
        >>> make_study({"epoch": 3})
        Traceback (most recent call last):
        edgewise.core.errors.InputError: the configuration has an unknown key 'epoch': did you
        mean 'epochs'? ...

    """
    known = {f.name: f for f in fields(Study)}
    for key, value in values.items():
        if key not in known:
            raise InputError(f"{where} has an unknown key {key!r}: {did_you_mean(key, known)}")
        _check_type(key, value, where)
    return Study(**values)


def _check_type(key: str, value: Any, where: str) -> None:
    kind, words = _kind(key)
    good = isinstance(value, kind) and not (isinstance(value, bool) and bool not in kind)
    if good and key in ("encoders", "analyses"):
        good = all(isinstance(v, str) for v in value)
    if good and key == "encoder_options":
        good = all(isinstance(v, dict) for v in value.values())
    if not good:
        raise InputError(f"{where}: {key} must be {words}, got {value!r}")


def _kind(key: str) -> tuple[tuple[type, ...], str]:
    """The types a field accepts, and how to say so."""
    if key in ("encoders", "analyses"):
        return (list, tuple), "a list of names"
    if key == "encoder_options":
        return (dict,), "an object of encoder name to options"
    if key == "dataset_options":
        return (dict,), "an object"
    if key == "data_dir":
        return (str, type(None)), "a path"
    default = getattr(Study, key, 0)
    if isinstance(default, float):
        return (int, float), "a number"
    if isinstance(default, int):
        return (int,), "a whole number"
    return (str,), "a word"


def grid(values: dict[str, Any], where: str = "the configuration") -> tuple[Study, list[Variant]]:
    """Lists in a configuration become a grid of variants.

    A list where a single value belongs is an axis: ``{"dim": [16, 32]}`` makes two variants of
    each encoder. So is a list among the encoder options; one that is itself a value, such as a
    choice of experts, goes into another list.

    Returns:
        The study of the first value of each axis, and all variants.

    Raises:
        InputError: As :func:`make_study`, for every point of the grid.

    Example:
        >>> study, variants = grid({"encoders": ["lete"], "dim": [8, 16], "hidden_dim": [4, 5]})
        >>> [v.name for v in variants][:3]
        ['lete dim=8 hidden_dim=4', 'lete dim=8 hidden_dim=5', 'lete dim=16 hidden_dim=4']

    """
    lists = ("encoders", "analyses")
    axes = {k: v for k, v in values.items() if isinstance(v, list) and k not in lists}
    for key in axes:
        if key in SHARED_FREELY or key in ("dataset", "dataset_options", "split_seed", "limit"):
            raise InputError(
                f"{where}: {key} can't be a list in an ablation: all variants share the data, "
                f"the seeds and the processes"
            )
        if not axes[key]:
            raise InputError(f"{where}: {key} is an empty list; give it at least one value")
    options = values.get("encoder_options", {})
    plain = {k: v for k, v in values.items() if k not in axes}
    plain["encoder_options"] = {
        encoder: {k: v[0] if isinstance(v, list) else v for k, v in chosen.items()}
        for encoder, chosen in (options.items() if isinstance(options, dict) else ())
    }
    points = [dict(zip(axes, point, strict=True)) for point in itertools.product(*axes.values())]
    for point in points:
        make_study(plain | point, where)
    study = make_study(plain | points[0], where)
    variants = []
    for encoder in study.encoders:
        for chosen in _option_grid(options.get(encoder, {})):
            moving = {k: v for k, v in chosen.items() if isinstance(options[encoder][k], list)}
            for point in points:
                name = " ".join([encoder, *_words(moving), *_words(point)])
                variants.append(Variant(name, encoder, chosen, point))
    return study, variants


def _option_grid(options: dict[str, Any]) -> Iterable[dict[str, Any]]:
    axes = [v if isinstance(v, list) else [v] for v in options.values()]
    return [dict(zip(options, point, strict=True)) for point in itertools.product(*axes)]


def _words(values: dict[str, Any]) -> list[str]:
    return [f"{k}={'+'.join(map(str, v)) if isinstance(v, list) else v}" for k, v in values.items()]
