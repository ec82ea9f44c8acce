"""The comparison of models on texts."""

from dataclasses import dataclass
from functools import partial
from typing import Any, ClassVar

from torch import Tensor, nn

from edgewise.core import InputError, Registry
from edgewise.data import Batches, Tokens, load_texts, tokenise
from edgewise.models import TextClassifier
from edgewise.models.backbones import BACKBONES
from edgewise.studies.kinds.model_study import AbstractModelStudy

TEXT_MODELS: Registry = Registry("model of texts")
"""Functions ``(vocabulary, num_classes, width, *, num_layers, dropout, …)`` to a model."""


def _classifier(
    backbone: str,
    vocabulary: int,
    classes: int,
    width: int,
    *,
    num_layers: int,
    dropout: float,
    **options: Any,
) -> nn.Module:
    known = {"num_layers": num_layers, "dropout": dropout, "hidden_dim": width}
    return TextClassifier(vocabulary, classes, backbone, **known, **options)


for _name in BACKBONES:
    TEXT_MODELS.register(_name)(partial(_classifier, _name))


@dataclass(frozen=True, eq=False)
class TokenDataset:
    """Texts as tokens, in three parts.

    Args:
        train: What a model learns from, and its tokeniser learned from.
        validation: What chooses between epochs and settings.
        test: What is looked at once.
        name: The data set's name.
        card: Plain data for a report.
        vocabulary: How many tokens there are.

    """

    train: Tokens
    validation: Tokens
    test: Tokens
    name: str
    card: dict[str, Any]
    vocabulary: int


@dataclass(frozen=True)
class TextStudy(AbstractModelStudy):
    """Models × seeds on texts, everything else equal.

    Attributes:
        dataset: rt-polarity, imdb, or module:function.
        hidden_dim: The size of the states.
        num_layers: The layers of the backbone.
        vocabulary: The most tokens; the tokeniser learns from the training texts only.
        tokens: How many tokens of a text are read, from its beginning.
        tokeniser: word or bpe.

    """

    kind: ClassVar[str] = "text"
    shelf: ClassVar[Registry] = TEXT_MODELS

    dataset: str = "rt-polarity"
    models: tuple[str, ...] = (
        "rnn",
        "kan-rnn",
        "lstm",
        "kan-lstm",
        "transformer",
        "kan-transformer",
    )
    epochs: int = 6
    hidden_dim: int = 64
    dropout: float = 0.5
    batch_size: int = 64
    learning_rate: float = 2e-3
    vocabulary: int = 8000
    tokens: int = 256
    tokeniser: str = "word"

    def load(self) -> TokenDataset:
        if self.dataset_options:
            raise InputError("a text data set has no options: leave dataset_options out")
        texts = load_texts(self.dataset, self.data_dir, self.split_seed, self.limit or None)
        tokeniser, parts = tokenise(texts, self.vocabulary, self.tokeniser, self.tokens)
        card = texts.card | {"vocabulary": len(tokeniser), "tokeniser": self.tokeniser}
        return TokenDataset(**parts, name=texts.name, card=card, vocabulary=len(tokeniser))

    def sizes(self, dataset: TokenDataset) -> tuple[int, int]:
        """Tokens there are, and classes."""
        return dataset.vocabulary, len(dataset.train.classes)

    def batches(self, dataset: TokenDataset, part: str, seed: int | None = None) -> Batches:
        return Batches(
            getattr(dataset, part), self.batch_size, seed=seed or 0, shuffle=seed is not None
        )

    def lengths(self, dataset: TokenDataset, part: str, items: Tensor) -> Tensor:
        return getattr(dataset, part).lengths[items]
