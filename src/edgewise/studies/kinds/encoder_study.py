"""The comparison of time encoders on event streams."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor, nn

from edgewise.core import Registry
from edgewise.data import Batches, EventDataset, EventStreams, load_dataset
from edgewise.encoders import ENCODERS, AbstractTimeEncoder, make_encoder
from edgewise.layers import KANLinear, MixtureOfExperts
from edgewise.losses import load_balance, sobolev, total_variation
from edgewise.models import SequenceClassifier
from edgewise.studies.kinds.study import AbstractStudy, Variant

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

SEQUENCE_MODELS: Registry = Registry("model")
SEQUENCE_MODELS.register("sequence")(SequenceClassifier)


@dataclass(frozen=True)
class EncoderStudy(AbstractStudy):
    """Time encoders × seeds on event streams, everything else equal.

    Attributes:
        dataset: A name (digits, mnist, fashion_mnist, nmnist), a CSV or Parquet file of events
            (sequence, time, label), or module:function.
        encoders: The time encoders to compare: names or module:Class.
        encoder_options: Options for single encoders, by name.
        dim: The size of the encoders' vectors.
        model: The model: sequence, or module:Class called like SequenceClassifier.
        backbone: lstm, gru or mamba.
        balance: The weight of the experts' load balance.
        sobolev: The weight of the Sobolev penalty on learned functions.
        variation: The weight of the total variation of learned functions.

    """

    kind: ClassVar[str] = "encoders"
    subjects: ClassVar[str] = "encoders"

    encoders: tuple[str, ...] = ALL_ENCODERS
    encoder_options: dict[str, dict[str, Any]] = field(default_factory=dict)
    dim: int = 32
    model: str = "sequence"
    backbone: str = "lstm"
    balance: float = 0.01
    sobolev: float = 0.0
    variation: float = 0.0

    def check_subject(self, name: str) -> None:
        ENCODERS.resolve(name)
        SEQUENCE_MODELS.resolve(self.model)

    def load(self) -> EventDataset:
        return load_dataset(
            self.dataset,
            data_dir=self.data_dir,
            split_seed=self.split_seed,
            limit=self.limit or None,
            **self.dataset_options,
        )

    def make(self, variant: Variant, dataset: EventDataset, width: int) -> nn.Module:
        streams = dataset.train
        features = 0 if streams.features is None else streams.features.shape[1]
        return SEQUENCE_MODELS.resolve(self.model)(
            make_encoder(variant.subject, self.dim, **variant.options),
            num_classes=streams.num_classes,
            hidden_dim=width,
            num_layers=self.num_layers,
            backbone=self.backbone,
            dropout=self.dropout,
            feature_dim=features,
        )

    def batches(self, dataset: EventDataset, part: str, seed: int | None = None) -> Batches:
        streams = getattr(dataset, part)
        return Batches(streams, self.batch_size, seed=seed or 0, shuffle=seed is not None)

    def prepare(self, model: nn.Module, dataset: EventDataset) -> None:
        """Fits the model's clock to the training times."""
        times, lengths, _ = dataset.train.batch(torch.arange(len(dataset.train)))
        encoder = getattr(model, "encoder", None)
        if isinstance(encoder, AbstractTimeEncoder):
            encoder.fit_scale(times, torch.arange(times.shape[1]) < lengths.unsqueeze(-1))

    def penalty(
        self, model: nn.Module, dataset: EventDataset
    ) -> Callable[[nn.Module], Tensor] | None:
        has = {
            load_balance: self.balance * _holds(model, MixtureOfExperts),
            sobolev: self.sobolev * _holds(model, KANLinear),
            total_variation: self.variation * _holds(model, KANLinear),
        }
        terms = [(term, weight) for term, weight in has.items() if weight]
        if not terms:
            return None
        return lambda model: sum(weight * term(model) for term, weight in terms)

    def usage(self, model: nn.Module, dataset: EventDataset, part: str) -> dict[str, Any] | None:
        return expert_usage(model, getattr(dataset, part))

    def lengths(self, dataset: EventDataset, part: str, items: Tensor) -> Tensor:
        return getattr(dataset, part).lengths[items]

    def curves(
        self, model: nn.Module, dataset: EventDataset, points: int = 784
    ) -> dict[str, np.ndarray]:
        """What each learned function looks like over the training times, and where events lie."""
        encoder = getattr(model, "encoder", None)
        if not isinstance(encoder, AbstractTimeEncoder):
            return {}
        times = dataset.train.times
        grid = torch.linspace(0, 1, points, dtype=torch.float64)
        grid = float(times.min()) + grid * float(times.max() - times.min())
        edges = np.linspace(float(grid[0]), float(grid[-1]) or 1.0, points + 1)
        density = np.histogram(times.double().numpy(), bins=edges)[0]
        device = next(model.parameters()).device
        with torch.no_grad():
            curves = encoder.curves(grid.to(device))
        arrays = {"time": grid.numpy(), "density": density.astype(np.float64)}
        return arrays | {name: c.float().cpu().numpy() for name, c in curves.items()}


def _holds(model: nn.Module, kind: type) -> bool:
    return any(isinstance(m, kind) for m in model.modules())


def expert_usage(
    model: nn.Module, streams: EventStreams, at_most: int = 2000
) -> dict[str, Any] | None:
    """How the encoder's experts are used on streams, padding left out; None without experts."""
    encoder = getattr(model, "encoder", None)
    if not hasattr(encoder, "usage"):
        return None
    chosen = torch.linspace(0, len(streams) - 1, min(at_most, len(streams))).long()
    times, lengths, features = streams.batch(chosen)
    device = next(model.parameters()).device
    mask = torch.arange(times.shape[1]) < lengths.unsqueeze(-1)
    with torch.no_grad():
        encoder(
            times.to(device),
            mask.to(device),
            None if features is None else features.to(device),
        )
    usage = encoder.usage()
    return {
        "experts": list(encoder.expert_names),
        "selected": [round(v, 6) for v in usage["selected"].tolist()],
        "weight": [round(v, 6) for v in usage["weight"].tolist()],
        "entropy": round(float(usage["entropy"]), 6),
    }
