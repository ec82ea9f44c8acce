"""Batches of streams of similar length, in an order that depends on the seed and the epoch only."""

from collections.abc import Iterator
from typing import NamedTuple

import torch
from torch import Tensor

from edgewise.core import InputError, generator
from edgewise.data.streams import EventStreams


class Batch(NamedTuple):
    """What a model takes, what it should answer, and which streams these are.

    ``inputs`` is (times (B, L), lengths (B,)), or with features (B, L, F) as a third; ``target``
    (B,) and ``items`` (B,), the indices of the streams, are int64.
    """

    inputs: tuple[Tensor, ...]
    target: Tensor
    items: Tensor

    def to(self, device: torch.device | str) -> "Batch":
        """The same batch on ``device``."""
        inputs = tuple(tensor.to(device) for tensor in self.inputs)
        return Batch(inputs, self.target.to(device), self.items.to(device))


class Batches:
    """All streams once an epoch, in batches that waste little on padding.

    An epoch is shuffled and cut in pools of ``pool`` batches; each pool is sorted by length and cut
    in batches; then the batches are shuffled. A larger pool means less padding and less chance
    in who meets whom. Without shuffling, all streams are sorted by length once and every epoch is
    the same.

    Args:
        streams: The streams.
        batch_size: Streams in a batch; the last of an epoch's pools may end in a smaller one.
        seed: With the epoch's number, all that the order depends on.
        shuffle: False for validation and test.
        pool: Batches in a pool.

    Raises:
        InputError: If there are no streams, or a number is too small.

    Example:
        >>> streams = EventStreams(torch.arange(6), torch.tensor([0, 3, 4, 6]),
        ...     torch.tensor([0, 1, 0]), ("a", "b"))
        >>> [batch.items.tolist() for batch in Batches(streams, 2, shuffle=False).epoch(0)]
        [[1, 2], [0]]
        >>> sorted(torch.cat([b.items for b in Batches(streams, 2, seed=3).epoch(7)]).tolist())
        [0, 1, 2]

    """

    def __init__(
        self,
        streams: EventStreams,
        batch_size: int,
        seed: int = 0,
        shuffle: bool = True,
        pool: int = 20,
    ) -> None:
        if len(streams) == 0:
            raise InputError("there are no streams to make batches of")
        for name, value, least in (
            ("batch_size", batch_size, 1),
            ("seed", seed, 0),
            ("pool", pool, 1),
        ):
            if value < least:
                raise InputError(f"{name} must be at least {least}, not {value}")
        self.streams = streams
        self.batch_size = batch_size
        self.seed = seed
        self.shuffle = shuffle
        self.pool = pool

    def __len__(self) -> int:
        return -(-len(self.streams) // self.batch_size)

    def epoch(self, number: int) -> Iterator[Batch]:
        """The batches of epoch ``number``, counted from 0.

        Raises:
            InputError: If ``number`` is negative.

        """
        if number < 0:
            raise InputError(f"epochs are counted from 0, there is no epoch {number}")
        return map(self._batch, self._order(number))

    def _order(self, number: int) -> list[Tensor]:
        lengths = self.streams.lengths.cpu()
        if not self.shuffle:
            return list(lengths.argsort(stable=True).split(self.batch_size))
        random = generator(self.seed, "shuffle", number)
        items = torch.randperm(len(self.streams), generator=random)
        pools = items.split(self.pool * self.batch_size)
        # Only the last batch of the last pool can be short, so the epoch has len(self) batches.
        batches = [
            batch
            for members in pools
            for batch in members[lengths[members].argsort(stable=True)].split(self.batch_size)
        ]
        return [batches[i] for i in torch.randperm(len(batches), generator=random).tolist()]

    def _batch(self, items: Tensor) -> Batch:
        times, lengths, features = self.streams.batch(items)
        inputs = (times, lengths) if features is None else (times, lengths, features)
        items = items.to(times.device)
        return Batch(inputs, self.streams.labels[items], items)
