"""One optimiser step with MLX; between epochs the state is torch's."""

import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import mlx.core as mx
import mlx.nn as nn
import torch
from mlx.utils import tree_flatten, tree_unflatten

from edgewise.core import stream
from edgewise.mlx.layout import Entry, entries
from edgewise.mlx.networks import twin
from edgewise.mlx.transfer import give, take, to_array, to_tensor
from edgewise.train.settings import Settings
from edgewise.train.source import Batch
from edgewise.train.step import Step, Stepper, _weighted

Arrays = dict[str, mx.array]

BETAS, EPSILON = (0.9, 0.999), 1e-8
"""AdamW's, as torch has them."""


class MLXStepper(Stepper):
    """What `Stepper` is, with MLX doing the work.

    On an epoch's first batch the twin takes weights, buffers and AdamW's moments over from torch,
    and after the last it gives them back. So what happens between epochs (validation, checkpoints,
    grid updates) works on the torch model and its optimiser, and knows nothing of MLX.

    Args:
        model: Called as ``model(*batch.inputs)``; all its modules must have twins.
        settings: Weight decay and clipping are read from it.
        loss: ``loss(prediction, target)`` of arrays, the mean over the batch's examples.
        device: Where MLX computes.

    Raises:
        InputError: If a module has no twin, or the model has nothing to train.

    """

    def __init__(
        self,
        model: torch.nn.Module,
        settings: Settings,
        loss: Callable[[mx.array, mx.array], mx.array],
        device: mx.Device,
    ) -> None:
        super().__init__(model, settings, loss, None, torch.device("cpu"))
        self.measured_by, self.arithmetic = loss, device
        self.factors = {
            p: group["factor"] for group in self.optimiser.param_groups for p in group["params"]
        }
        twin(model)

    def __call__(
        self, group: Sequence[Batch], epoch: int, first: int, batches: int, rate: float
    ) -> Step:
        """As `Stepper`; after an error the torch model is as it was before the epoch."""
        last = first + len(group) - 1
        with mx.stream(self.arithmetic):
            if first == 1:
                self._take_over()
            with _drawing(stream(self.draw, "masks", first)):
                step = self._step(group, epoch, first, batches, rate)
            if last == batches:
                self._give_back()
        return step

    def _take_over(self) -> None:
        """The twin as the torch model is now; knots may have moved since the last epoch."""
        self.draw = int(torch.randint(2**62, ()))
        self.network = twin(self.model)
        give(self.model, self.network)
        self.network.train()
        self.moving = {
            e.array: e for e in entries(self.model) if any(e.tensor is p for p in self.parameters)
        }
        states = {name: self.optimiser.state.get(e.tensor, {}) for name, e in self.moving.items()}
        self.counts = {name: int(state.get("step", 0)) for name, state in states.items()}
        self.moments = [
            {name: _moment(e, states[name].get(kind)) for name, e in self.moving.items()}
            for kind in ("exp_avg", "exp_avg_sq")
        ]
        self.measure = nn.value_and_grad(self.network, self._measure)
        self.update = self._update
        # On a CPU, MLX compiles with the system's C++ compiler: minutes, for steps no faster.
        if self.arithmetic.type == mx.gpu:
            # Dropout's masks and running statistics change as it goes, so they must be named.
            state = [self.network.state, mx.random.state]
            self.measure = mx.compile(self.measure, inputs=state, outputs=state)
            self.update = mx.compile(self.update)

    def _give_back(self) -> None:
        take(self.model, self.network)
        for name, entry in self.moving.items():
            mean, square = (entry.restored(to_tensor(m[name])) for m in self.moments)
            self.optimiser.state[entry.tensor] = {
                "step": torch.tensor(float(self.counts[name])),
                "exp_avg": mean.contiguous().to(entry.tensor),
                "exp_avg_sq": square.contiguous().to(entry.tensor),
            }

    def _step(
        self, group: Sequence[Batch], epoch: int, first: int, batches: int, rate: float
    ) -> Step:
        examples = [len(batch.items) for batch in group]
        shares = [n / sum(examples) for n in examples]
        gradient: Arrays = {}
        rows = []
        for batch, share in zip(group, shares, strict=True):
            row, tree = self.measure(*map(to_array, (*batch.inputs, batch.target)))
            rows.append(row)
            for name, part in tree_flatten(tree, destination={}).items():
                if name in self.moving:
                    gradient[name] = gradient.get(name, 0) + share * part
        weights = tree_flatten(self.network.trainable_parameters(), destination={})
        weights = {name: weights[name] for name in self.moving}
        numbers = {name: self._numbers(name, e, rate) for name, e in self.moving.items()}
        norm, weights, *moments = self.update(weights, gradient, *self.moments, numbers)
        mx.eval(rows, norm, weights, moments)
        rows = [[float(loss), 0.0, float(correct)] for loss, correct in rows]
        self._check(rows, float(norm), group, epoch, first)
        self.network.update(tree_unflatten(list(weights.items())))
        self.moments = moments
        self.counts = {name: count + 1 for name, count in self.counts.items()}
        losses, _, correct = zip(*rows, strict=True)
        return Step(
            epoch=epoch,
            batch=first + len(group) - 1,
            batches=batches,
            examples=sum(examples),
            loss=_weighted(losses, shares),
            penalty=0.0,
            correct=None if math.isnan(sum(correct)) else int(sum(correct)),
            learning_rate=rate,
            gradient_norm=float(norm),
        )

    def _measure(self, *arrays: mx.array) -> tuple[mx.array, mx.array]:
        """The loss, whose gradient is taken, and how many labels are right."""
        *inputs, target = arrays
        prediction = self.network(*inputs)
        correct = mx.array(math.nan)
        if prediction.ndim == 2 and target.ndim == 1 and mx.issubdtype(target.dtype, mx.integer):
            correct = (prediction.argmax(axis=1) == target).sum().astype(mx.float32)
        return self.measured_by(prediction, target), correct

    def _numbers(self, name: str, entry: Entry, rate: float) -> tuple[mx.array, ...]:
        """Of AdamW's step t: the rate and √v's factor with their bias corrections, and the decay.

        Taken in Python's floats: 1 - 0.999 has five digits in float32.
        """
        t = self.counts[name] + 1
        decay = self.settings.weight_decay if entry.tensor.ndim >= 2 else 0.0
        rate *= self.factors[entry.tensor]
        corrections = [1 - beta**t for beta in BETAS]
        numbers = rate / corrections[0], 1 / math.sqrt(corrections[1]), 1 - rate * decay
        return tuple(map(mx.array, numbers))

    def _update(
        self, weights: Arrays, gradient: Arrays, mean: Arrays, square: Arrays, numbers: dict
    ) -> tuple[mx.array, Arrays, Arrays, Arrays]:
        """The gradient's norm, and weights and moments after one step of AdamW."""
        norm = mx.sqrt(sum(g.square().sum() for g in gradient.values()))
        clip = self.settings.clip
        scale = mx.minimum(clip / (norm + 1e-6), 1.0) if clip else 1.0
        new: tuple[Arrays, Arrays, Arrays] = ({}, {}, {})
        for name, weight in weights.items():
            rate, factor, kept = numbers[name]
            g = gradient[name] * scale
            m = BETAS[0] * mean[name] + (1 - BETAS[0]) * g
            v = BETAS[1] * square[name] + (1 - BETAS[1]) * g * g
            weight = kept * weight - rate * m / (mx.sqrt(v) * factor + EPSILON)
            for place, array in zip(new, (weight, m, v), strict=True):
                place[name] = array
        return norm, *new


def _moment(entry: Entry, tensor: torch.Tensor | None) -> mx.array:
    """A moment as the twin has its weight; none yet is zero."""
    tensor = torch.zeros_like(entry.tensor) if tensor is None else tensor
    return to_array(tensor.permute(entry.axes))


@contextmanager
def _drawing(seed: int) -> Iterator[None]:
    """Inside, MLX draws from this seed; outside, its random state is what it was."""
    high, low = mx.random.state[0].tolist()
    mx.random.seed(seed)
    try:
        yield
    finally:
        # A key is its seed in two halves.
        mx.random.seed(high << 32 | low)
