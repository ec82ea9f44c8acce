"""Labelled texts: where they come from, and the three parts of a set."""

import gzip
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from edgewise.core import InputError, Registry
from edgewise.data.catalogue import SOURCES, locate
from edgewise.data.splits import PARTS, stratified_split

_OPINIONS = ("negative", "positive")
_HELD_OUT = 2500


@dataclass(frozen=True, eq=False)
class Texts:
    """S labelled texts.

    Args:
        texts: The texts.
        labels: (S,) int64, indices of ``classes``.
        classes: The names of the classes.

    Raises:
        InputError: If the numbers of texts and labels differ, or a label has no class.

    Example:
        >>> texts = Texts(("good", "bad"), torch.tensor([1, 0]), ("negative", "positive"))
        >>> texts.subset(torch.tensor([1])).texts
        ('bad',)

    """

    texts: tuple[str, ...]
    labels: Tensor
    classes: tuple[str, ...]

    def __post_init__(self) -> None:
        if self.labels.shape != (len(self.texts),) or self.labels.dtype != torch.int64:
            raise InputError(
                f"labels must be int64 of shape ({len(self.texts)},), got {self.labels.dtype} of "
                f"shape {tuple(self.labels.shape)}"
            )
        if len(self.labels) and not 0 <= self.labels.min() <= self.labels.max() < len(self.classes):
            raise InputError(
                f"labels must lie between 0 and {len(self.classes) - 1}, got "
                f"{self.labels.min()} to {self.labels.max()}"
            )

    def __len__(self) -> int:
        return len(self.texts)

    def subset(self, items: Tensor) -> "Texts":
        """Those texts, in that order."""
        chosen = tuple(self.texts[item] for item in items.tolist())
        return replace(self, texts=chosen, labels=self.labels[items])


@dataclass(frozen=True, eq=False)
class TextDataset:
    """The three parts of a text data set.

    Args:
        train: What a model learns from, and what a tokeniser is trained on.
        validation: What chooses between epochs and settings.
        test: What is looked at once.
        name: The data set's name.
        card: Plain data for a report: source, licence, citation, sizes.

    Raises:
        InputError: If the parts differ in classes, or one is empty.

    """

    train: Texts
    validation: Texts
    test: Texts
    name: str
    card: dict[str, Any]

    def __post_init__(self) -> None:
        for part in PARTS:
            texts = getattr(self, part)
            if not len(texts):
                raise InputError(f"the data set {self.name!r}: {part} has no texts")
            if texts.classes != self.train.classes:
                raise InputError(
                    f"the data set {self.name!r}: train and {part} must have the same classes, "
                    f"not {self.train.classes!r} and {texts.classes!r}"
                )

    @property
    def classes(self) -> tuple[str, ...]:
        """The names of the classes."""
        return self.train.classes


TEXTS: Registry[Callable[..., TextDataset]] = Registry("text data set")
"""Functions ``(data_dir, split_seed) -> TextDataset`` by name."""


def load_texts(
    name: str, data_dir: str | Path | None = None, split_seed: int = 0, limit: int | None = None
) -> TextDataset:
    """Loads a text data set.

    Args:
        name: ``"imdb"``, ``"rt-polarity"``, or ``module:function``.
        data_dir: The folder of all data sets; None takes EDGEWISE_DATA or the user's cache.
        split_seed: Which texts are held out.
        limit: Keeps so many training texts, the classes in proportion; None keeps all.

    Raises:
        InputError: If there is no such data set, or files are missing or wrong.

    """
    if split_seed < 0:
        raise InputError(f"split_seed must be at least 0, not {split_seed}")
    dataset = TEXTS.resolve(name)(data_dir, split_seed)
    if not isinstance(dataset, TextDataset):
        raise InputError(
            f"the text data set {name!r} must return a TextDataset, not {type(dataset).__name__}"
        )
    return dataset if limit is None else _limited(dataset, limit, split_seed)


@TEXTS.register("imdb")
def imdb(data_dir: str | Path | None = None, split_seed: int = 0) -> TextDataset:
    """IMDB: the official test reviews, and of the official training reviews 2 500 for validation.

    Of a review that comes twice in the training file one is kept, and none that is also among the
    test reviews: 219 of 25 000 are left out.
    """
    train, test = (_rows(path) for path in _paths("imdb", data_dir))
    seen = {text for _, text in test}
    kept = []
    for label, text in train:
        if text not in seen:
            seen.add(text)
            kept.append((label, text))
    whole = _texts(kept)
    if len(whole) <= _HELD_OUT:
        raise InputError(
            f"the training file of 'imdb' has {len(whole)} reviews, of which {_HELD_OUT} are held "
            f"out for validation: it must have more"
        )
    parts = stratified_split(whole.labels, (len(whole) - _HELD_OUT, _HELD_OUT), split_seed)
    named = [*map(whole.subset, parts), _texts(test)]
    return _described("imdb", named, {"left_out": len(train) - len(kept)})


@TEXTS.register("rt-polarity")
def rt_polarity(data_dir: str | Path | None = None, split_seed: int = 0) -> TextDataset:
    """rt-polarity: there is no official split; 80 % are for training, 10 % and 10 % held out."""
    rows = [
        (label, line.strip())
        for label, path in enumerate(_paths("rt-polarity", data_dir))
        for line in _lines(path)
    ]
    whole = _texts(rows)
    parts = stratified_split(whole.labels, (0.8, 0.1, 0.1), split_seed)
    return _described("rt-polarity", [*map(whole.subset, parts)], {})


def _paths(name: str, explicit: str | Path | None) -> list[Path]:
    return [locate(name, file.name, explicit) for file in SOURCES[name].files]


def _rows(path: Path) -> list[tuple[int, str]]:
    """Label and text of each line: label, rating, id, text, with tabs between."""
    found = []
    for number, line in enumerate(_lines(path), 1):
        columns = line.split("\t")
        if len(columns) != 4 or columns[0] not in ("0", "1"):
            raise InputError(
                f"{path}, line {number}: must be 0 or 1, a rating, an id and a text, with tabs "
                f"between, got {line[:60]!r}"
            )
        found.append((int(columns[0]), columns[3].strip()))
    return found


def _lines(path: Path) -> list[str]:
    """The lines that hold something; only a line feed ends one, as texts have U+0085 in them."""
    try:
        data = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
        text = data.decode("utf-8")
    except (OSError, EOFError, UnicodeDecodeError) as error:
        raise InputError(f"{path} is damaged: {error}") from error
    return [line for line in text.split("\n") if line.strip()]


def _texts(rows: Sequence[tuple[int, str]]) -> Texts:
    labels = torch.tensor([label for label, _ in rows], dtype=torch.int64)
    return Texts(tuple(text for _, text in rows), labels, _OPINIONS)


def _described(name: str, parts: Sequence[Texts], more: dict[str, Any]) -> TextDataset:
    named = dict(zip(PARTS, parts, strict=True))
    sizes = {part: len(texts) for part, texts in named.items()}
    card = {"name": name, **SOURCES[name].card, **more, "sizes": sizes}
    return TextDataset(**named, name=name, card=card)


def _limited(dataset: TextDataset, limit: int, seed: int) -> TextDataset:
    there = len(dataset.train)
    if not 1 <= limit <= there:
        raise InputError(
            f"limit must lie between 1 and {there}, the training texts of {dataset.name!r}, "
            f"got {limit}"
        )
    kept, _ = stratified_split(dataset.train.labels, (limit, there - limit), seed)
    card = dataset.card | {"limit": limit}
    return replace(dataset, train=dataset.train.subset(kept), card=card)
