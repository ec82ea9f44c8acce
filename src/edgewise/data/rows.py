"""Rows of numbers with what is to be predicted from them."""

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor

from edgewise.core import InputError, generator
from edgewise.data.batches import Batch
from edgewise.data.splits import PARTS


@dataclass(frozen=True, eq=False)
class Rows:
    """S rows of I numbers, each with a class or a number to predict.

    Args:
        inputs: (S, I) float32, finite.
        targets: (S,) int64, indices of ``classes``; or (S, 1) float32.
        classes: The names of the classes; none where numbers are predicted.

    Raises:
        InputError: If shapes or types disagree, a number is not finite or a label has no class.

    Example:
        >>> rows = Rows(torch.zeros(3, 2), torch.tensor([0, 1, 1]), ("no", "yes"))
        >>> rows.subset(torch.tensor([2])).targets.tolist()
        [1]

    """

    inputs: Tensor
    targets: Tensor
    classes: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        S = len(self.inputs)
        shape, kind = ((S,), torch.int64) if self.classes else ((S, 1), torch.float32)
        if self.inputs.ndim != 2 or self.inputs.dtype != torch.float32:
            raise InputError(
                f"inputs must be float32 of shape (rows, columns), got {self.inputs.dtype} of "
                f"shape {tuple(self.inputs.shape)}"
            )
        if tuple(self.targets.shape) != shape or self.targets.dtype != kind:
            raise InputError(
                f"targets must be {kind} of shape {shape}, got {self.targets.dtype} of shape "
                f"{tuple(self.targets.shape)}"
            )
        if not (self.inputs.isfinite().all() and self.targets.isfinite().all()):
            raise InputError("inputs and targets must be finite: drop or fill those rows first")
        if (
            self.classes
            and S
            and not 0 <= self.targets.min() <= self.targets.max() < len(self.classes)
        ):
            raise InputError(
                f"labels must lie between 0 and {len(self.classes) - 1}, got "
                f"{self.targets.min()} to {self.targets.max()}"
            )

    def __len__(self) -> int:
        return len(self.inputs)

    def subset(self, items: Tensor) -> "Rows":
        """Those rows, in that order."""
        return replace(self, inputs=self.inputs[items], targets=self.targets[items])


@dataclass(frozen=True, eq=False)
class RowDataset:
    """The three parts of a table, and more test sets where there are any.

    Args:
        train: What a model learns from.
        validation: What chooses between epochs and settings.
        test: What is looked at once.
        name: The data set's name.
        card: Plain data for a report: source, licence, citation, sizes.
        extra: Further test sets by name, for instance one outside the range of the training rows.

    Raises:
        InputError: If the parts differ in columns or classes, or one is empty.

    """

    train: Rows
    validation: Rows
    test: Rows
    name: str
    card: dict[str, Any]
    extra: dict[str, Rows] = field(default_factory=dict)

    def __post_init__(self) -> None:
        parts = {part: getattr(self, part) for part in PARTS} | self.extra
        columns, classes = self.train.inputs.shape[1], self.train.classes
        for part, rows in parts.items():
            if not len(rows):
                raise InputError(f"the data set {self.name!r}: {part} has no rows")
            if rows.inputs.shape[1] != columns or rows.classes != classes:
                raise InputError(
                    f"the data set {self.name!r}: train and {part} must have the same columns and "
                    f"classes"
                )

    @property
    def classes(self) -> tuple[str, ...]:
        """The names of the classes; none where numbers are predicted."""
        return self.train.classes


class RowBatches:
    """All rows once an epoch, in an order that seed and epoch decide; a `train.Source`.

    Args:
        rows: The rows.
        batch_size: Rows in a batch; the last of an epoch may have fewer.
        seed: With the epoch's number, all that the order depends on.
        shuffle: False for validation and test.

    Raises:
        InputError: If there are no rows, or a number makes no sense.

    Example:
        >>> rows = Rows(torch.eye(3), torch.zeros(3, 1))
        >>> items = torch.cat([b.items for b in RowBatches(rows, 2, seed=1).epoch(5)])
        >>> sorted(items.tolist())
        [0, 1, 2]

    """

    def __init__(self, rows: Rows, batch_size: int, seed: int = 0, shuffle: bool = True) -> None:
        if not len(rows):
            raise InputError("there are no rows to make batches of")
        for name, value, least in (("batch_size", batch_size, 1), ("seed", seed, 0)):
            if isinstance(value, bool) or not isinstance(value, int) or value < least:
                raise InputError(
                    f"{name} must be a whole number of at least {least}, got {value!r}"
                )
        self.rows, self.batch_size, self.seed, self.shuffle = rows, batch_size, seed, shuffle

    def __len__(self) -> int:
        return -(-len(self.rows) // self.batch_size)

    def epoch(self, number: int) -> Iterator[Batch]:
        """The batches of epoch ``number``, counted from 0.

        Raises:
            InputError: If ``number`` is negative.

        """
        if number < 0:
            raise InputError(f"epochs are counted from 0, there is no epoch {number}")
        order = torch.arange(len(self.rows))
        if self.shuffle:
            random = generator(self.seed, "shuffle", number)
            order = torch.randperm(len(self.rows), generator=random)
        return (self._batch(items) for items in order.split(self.batch_size))

    def _batch(self, items: Tensor) -> Batch:
        return Batch((self.rows.inputs[items],), self.rows.targets[items], items)
