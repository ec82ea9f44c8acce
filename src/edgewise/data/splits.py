"""Parts of a data set that hold every class in the same proportion."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from edgewise.core import InputError, generator
from edgewise.data.streams import EventStreams

PARTS = ("train", "validation", "test")


@dataclass(frozen=True, eq=False)
class EventDataset:
    """The three parts of a data set, and the card that says where it comes from.

    Args:
        train: What a model learns from.
        validation: What chooses between epochs and settings.
        test: What is looked at once.
        name: The data set's name.
        card: Plain data for a report: source, licence, citation, options used, and from
            ``described`` the sizes, the streams without events and the events in a stream.

    Raises:
        InputError: If the parts differ in classes, features or the dtype of their times.

    """

    train: EventStreams
    validation: EventStreams
    test: EventStreams
    name: str
    card: dict[str, Any]

    def __post_init__(self) -> None:
        for part in PARTS[1:]:
            for what in ("classes", "feature_names", "time_unit"):
                ours, theirs = getattr(self.train, what), getattr(getattr(self, part), what)
                if ours != theirs:
                    raise InputError(
                        f"the data set {self.name!r}: train and {part} must have the same {what}, "
                        f"not {ours!r} and {theirs!r}"
                    )
            if self.train.times.dtype != getattr(self, part).times.dtype:
                raise InputError(
                    f"the data set {self.name!r}: train and {part} must have times of one dtype"
                )

    @classmethod
    def described(
        cls, name: str, parts: Sequence[EventStreams], facts: dict[str, Any]
    ) -> "EventDataset":
        """A data set of three ``parts`` whose card is ``facts`` and what can be counted.

        Example:
            >>> one = EventStreams(torch.tensor([3]), torch.tensor([0, 1, 1]),
            ...     torch.tensor([0, 1]), ("a", "b"))
            >>> card = EventDataset.described("toy", [one, one, one], {"source": "here"}).card
            >>> card["source"], card["sizes"]["train"], card["empty"]["test"]
            ('here', 2, 1)

        """
        named = dict(zip(PARTS, parts, strict=True))
        counted = {
            "classes": list(named["train"].classes),
            "features": list(named["train"].feature_names),
            "time_unit": named["train"].time_unit,
            "sizes": {part: len(streams) for part, streams in named.items()},
            "empty": {part: streams.empty for part, streams in named.items()},
            "events": {part: _events(streams) for part, streams in named.items()},
        }
        return cls(**named, name=name, card={"name": name, **facts, **counted})


def stratified_split(
    labels: Tensor, sizes: Sequence[int] | Sequence[float], seed: int = 0
) -> list[Tensor]:
    """Random disjoint parts of 0..S-1, each with the classes in the proportion of the whole.

    With counts the parts have exactly those sizes, and a class of n_c has in a part of size m
    within one of n_c·m/S members. With fractions every class is divided by itself, by the largest
    remainder: its share of each part is within one of n_c times the fraction.

    Args:
        labels: (S,) integers from 0.
        sizes: Counts (integers) that sum to S, or fractions (floats) that sum to 1.
        seed: What the choice depends on, besides labels and sizes.

    Returns:
        For each size the indices of the part, ascending.

    Raises:
        InputError: If there are no labels, or sizes are mixed, negative or of the wrong sum.

    Example:
        >>> labels = torch.tensor([0] * 60 + [1] * 30)
        >>> train, test = stratified_split(labels, (60, 30), seed=1)
        >>> labels[train].bincount().tolist(), labels[test].bincount().tolist()
        ([40, 20], [20, 10])

    """
    if seed < 0:
        raise InputError(f"the seed of a split must be at least 0, not {seed}")
    if labels.numel() == 0:
        raise InputError("there are no labels to split")
    members = labels.bincount()
    if all(isinstance(size, int) for size in sizes):
        _check_sum(sizes, labels.numel(), "counts", f"the {labels.numel()} labels")
        table = _share_counts(members, sizes)
    elif all(isinstance(size, float) for size in sizes):
        _check_sum(sizes, 1.0, "fractions", "1")
        table = torch.stack([_largest_remainder(int(n), sizes) for n in members])
    else:
        raise InputError(f"sizes must be all counts or all fractions, not {tuple(sizes)}")
    # In random order and grouped by class, each class is dealt out as its row of the table says.
    order = torch.randperm(labels.numel(), generator=generator(seed, "split"))
    order = order[labels[order].argsort(stable=True)]
    part = torch.arange(len(sizes)).repeat(len(members)).repeat_interleave(table.reshape(-1))
    return [order[part == p].sort().values for p in range(len(sizes))]


def _check_sum(sizes: Sequence[float], total: float, kind: str, meaning: str) -> None:
    if any(size < 0 for size in sizes) or abs(sum(sizes) - total) > 1e-9:
        raise InputError(
            f"{kind} must not be negative and must sum to {meaning}, not {tuple(sizes)}"
        )


def _largest_remainder(total: int, fractions: Sequence[float]) -> Tensor:
    """``total`` in whole numbers by ``fractions``; what rounding leaves goes to the most cut."""
    exact = torch.tensor(fractions, dtype=torch.float64) * total
    # 0.6·5 is a hair below 3 in binary, and must not lose one for it.
    counts = (exact + 1e-9).floor().to(torch.int64)
    cut = (exact - counts).argsort(descending=True, stable=True)
    counts[cut[: total - int(counts.sum())]] += 1
    return counts


def _share_counts(members: Tensor, sizes: Sequence[int]) -> Tensor:
    """(C, parts) whole numbers within one of n_c·m/S whose rows and columns sum exactly.

    Each class first gets the floor of its share everywhere, then one more in the parts that lack
    most. Serving the neediest columns first always comes out even (Gale and Ryser's theorem).
    """
    columns = torch.tensor(list(sizes))
    table = members[:, None] * columns // int(members.sum())
    lacking = columns - table.sum(0)
    for row, left in zip(table, (members - table.sum(1)).tolist(), strict=True):
        neediest = lacking.argsort(descending=True, stable=True)[:left]
        row[neediest] += 1
        lacking[neediest] -= 1
    return table


def _events(streams: EventStreams) -> dict[str, float]:
    """How many events a stream has: the mean, the least and the most."""
    if len(streams) == 0:
        return {"mean": 0.0, "min": 0, "max": 0}
    lengths = streams.lengths
    mean = round(float(lengths.double().mean()), 3)
    return {"mean": mean, "min": int(lengths.min()), "max": int(lengths.max())}
