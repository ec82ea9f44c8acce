"""What each time encoder costs: training steps of the same classifier, timed in turns."""

import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

from edgewise.core import generator, seeded
from edgewise.models import SequenceClassifier, count_parameters
from edgewise.studies.kinds.encoder_study import ALL_ENCODERS


@dataclass(frozen=True)
class Cost:
    """One encoder's cost.

    Attributes:
        encoder: Its name.
        parameters: Of the whole classifier.
        step: Median seconds of a training step: forward, backward, AdamW.
        encode: Median seconds of the encoder's forward pass alone.
        ratio: Of the median step to that with the learned table, from the same rounds.

    """

    encoder: str
    parameters: int
    step: float
    encode: float
    ratio: float


def encoder_costs(
    encoders: Sequence[str] = ALL_ENCODERS,
    *,
    batch: int = 256,
    mean_length: int = 68,
    positions: int = 784,
    dim: int = 32,
    hidden_dim: int = 128,
    rounds: int = 9,
) -> list[Cost]:
    """Times a training step with each encoder, round by round, all in turns.

    The streams look like event MNIST: whole-number positions, a median gap of 1, lengths spread by
    a third around the mean and bucketed as in training. Machines are noisy, so what is quoted is
    the ratio of medians within one run; the learned table is always among them.

    Args:
        encoders: Which encoders.
        batch: Streams in a batch.
        mean_length: Events in a stream.
        positions: The times run from 0 to positions - 1.
        dim: The size of the vectors.
        hidden_dim: The width of the LSTM.
        rounds: How often each is timed, after one round that is not counted.

    Example:
        >>> costs = encoder_costs(["raw"], batch=4, mean_length=8, rounds=1)
        >>> [cost.encoder for cost in costs], costs[0].ratio
        (['learned', 'raw'], 1.0)

    """
    names = list(dict.fromkeys(["learned", *encoders]))
    times, lengths = event_streams(batch, mean_length, positions)
    steps = {name: _Step(name, times, lengths, dim, hidden_dim) for name in names}
    taken: dict[str, list[tuple[float, float]]] = {name: [] for name in names}
    for turn in range(rounds + 1):
        for name, step in steps.items():
            pair = (_seconds(step), _seconds(step.encode))
            if turn:
                taken[name].append(pair)
    medians = {
        n: [statistics.median(column) for column in zip(*v, strict=True)] for n, v in taken.items()
    }
    return [
        Cost(n, steps[n].parameters, *medians[n], ratio=medians[n][0] / medians["learned"][0])
        for n in names
    ]


def event_streams(batch: int, mean_length: int, positions: int) -> tuple[Tensor, Tensor]:
    """Sorted distinct positions in runs of neighbours, as strokes give them, and lengths."""
    draw = generator(0, "streams")
    spread = torch.randn(batch, generator=draw) * mean_length / 20
    lengths = (mean_length + spread).round().clamp(1, positions - 1).long()
    times = torch.zeros(batch, int(lengths.max()), dtype=torch.int64)
    for row, length in enumerate(lengths.tolist()):
        starts = torch.randperm(positions // 4, generator=draw)[: -(-length // 4)] * 4
        runs = (starts.unsqueeze(-1) + torch.arange(4)).flatten().sort().values
        times[row, :length] = runs[:length]
    return times, lengths


class _Step:
    """A training step of a classifier with one encoder."""

    def __init__(
        self, encoder: str, times: Tensor, lengths: Tensor, dim: int, hidden_dim: int
    ) -> None:
        with seeded(0, "init"):
            self.model = SequenceClassifier(encoder, hidden_dim=hidden_dim, dim=dim)
        self.times, self.lengths = times, lengths
        self.mask = torch.arange(times.shape[1]) < lengths.unsqueeze(-1)
        self.model.encoder.fit_scale(times, self.mask)
        self.target = torch.arange(len(lengths)) % 10
        self.optimiser = torch.optim.AdamW(self.model.parameters(), lr=1e-4)
        self.parameters = count_parameters(self.model)

    def __call__(self) -> None:
        loss = cross_entropy(self.model(self.times, self.lengths), self.target)
        self.optimiser.zero_grad()
        loss.backward()
        self.optimiser.step()

    def encode(self) -> None:
        with torch.no_grad():
            self.model.encoder(self.times, self.mask)


def _seconds(call: Callable[[], None]) -> float:
    start = time.perf_counter()
    call()
    return time.perf_counter() - start
