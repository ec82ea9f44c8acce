"""Texts as numbers, by a tokeniser that was trained on the training split."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from edgewise.core import InputError, check_count
from edgewise.data.splits import PARTS
from edgewise.data.text import TextDataset, Texts
from edgewise.data.tokeniser import Tokeniser


@dataclass(frozen=True, eq=False)
class Tokens:
    """S labelled texts as N tokens in all; text s is ``flat[offsets[s]:offsets[s + 1]]``.

    `Batches` takes it in place of event streams: its batches are (tokens (B, L), lengths (B,)).

    Args:
        flat: (N,) int64, at least 1.
        offsets: (S + 1,) int64, from 0 to N, rising.
        labels: (S,) int64, indices of ``classes``.
        classes: The names of the classes.

    Example:
        >>> tokens = Tokens.of([[5, 6, 7], [8]], torch.tensor([1, 0]), ("a", "b"))
        >>> [t.tolist() for t in tokens.batch(torch.tensor([1, 0]))[:2]]
        [[[8, 0, 0], [5, 6, 7]], [1, 3]]

    """

    flat: Tensor
    offsets: Tensor
    labels: Tensor
    classes: tuple[str, ...]

    @classmethod
    def of(
        cls, rows: Sequence[Sequence[int]], labels: Tensor, classes: tuple[str, ...]
    ) -> "Tokens":
        """The tokens of each text.

        Raises:
            InputError: If a text has none, or there are not as many labels.

        """
        if labels.shape != (len(rows),):
            raise InputError(f"there are {len(rows)} texts, but labels {tuple(labels.shape)}")
        for place, row in enumerate(rows):
            if not len(row):
                raise InputError(f"text {place} has no token: leave it out")
        lengths = torch.tensor([0, *(len(row) for row in rows)])
        flat = torch.tensor([token for row in rows for token in row], dtype=torch.int64)
        return cls(flat, lengths.cumsum(0), labels, classes)

    @classmethod
    def encoded(cls, texts: Texts, tokeniser: Tokeniser, most: int = 256) -> "Tokens":
        """The first ``most`` tokens of each text.

        Raises:
            InputError: If a text has no token, or ``most`` makes no sense.

        """
        check_count("most", most)
        rows = [row[:most] for row in tokeniser.encode(texts.texts)]
        for place, (row, text) in enumerate(zip(rows, texts.texts, strict=True)):
            if not row:
                raise InputError(f"text {place} ({text[:40]!r}) has no token: leave it out")
        return cls.of(rows, texts.labels, texts.classes)

    @property
    def lengths(self) -> Tensor:
        """(S,) int64, the number of tokens of each text."""
        return self.offsets.diff()

    def __len__(self) -> int:
        return len(self.labels)

    def subset(self, items: Tensor) -> "Tokens":
        """Those texts, in that order.

        Example:
            >>> tokens = Tokens.of([[5, 6, 7], [8]], torch.tensor([1, 0]), ("a", "b"))
            >>> tokens.subset(torch.tensor([1, 0])).flat.tolist()
            [8, 5, 6, 7]

        """
        parts = self.flat.split(self.lengths.tolist())
        flat = torch.cat([parts[item] for item in items.tolist()])
        offsets = torch.cat([torch.zeros(1, dtype=torch.int64), self.lengths[items].cumsum(0)])
        return Tokens(flat, offsets, self.labels[items], self.classes)

    def batch(self, items: Tensor) -> tuple[Tensor, Tensor, None]:
        """The texts' tokens (B, L), padded with zeros on the right, and their lengths (B,)."""
        lengths = self.lengths[items]
        steps = torch.arange(int(lengths.max()))
        places = (self.offsets[items].unsqueeze(-1) + steps).clamp(max=len(self.flat) - 1)
        padding = steps >= lengths.unsqueeze(-1)
        return self.flat[places].masked_fill(padding, 0), lengths, None


def tokenise(
    dataset: TextDataset, size: int = 8000, kind: str = "bpe", most: int = 256
) -> tuple[Tokeniser, dict[str, Tokens]]:
    """A tokeniser trained on the training split, and all three splits as it cuts them.

    Args:
        dataset: The texts.
        size: The most tokens there may be, padding included.
        kind: ``"bpe"`` or ``"word"``, see `Tokeniser`.
        most: How many tokens of each text are kept, from its beginning.

    Returns:
        The tokeniser, and by ``"train"``, ``"validation"`` and ``"test"`` the tokens.

    Raises:
        MissingExtraError: If ``tokenizers`` is not installed.
        InputError: If an argument makes no sense, or a text has no token.

    """
    tokeniser = Tokeniser.train(dataset.train.texts, size, kind)
    parts = {part: Tokens.encoded(getattr(dataset, part), tokeniser, most) for part in PARTS}
    return tokeniser, parts
