"""From text to token numbers, by a vocabulary that is learned from texts."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from edgewise.core import InputError, did_you_mean, require, write_atomically

KINDS = ("bpe", "word")
PADDING, UNKNOWN = "<pad>", "<unk>"


class Tokeniser:
    """Text to token numbers, with the library ``tokenizers`` (extra ``text``).

    ``"bpe"`` cuts words into frequent pieces of bytes (Sennrich et al. 2016, arXiv 1508.07909), so
    that there is no unknown token; ``"word"`` knows the most frequent words and marks of
    punctuation, and token 1 for every other. Token 0 is padding. Case is folded and accents are
    put in one form (NFKC) first.

    Args:
        inner: A tokenizer of that library; use :meth:`train` or :meth:`load`.

    """

    def __init__(self, inner: Any) -> None:
        self._inner = inner

    @classmethod
    def train(cls, texts: Sequence[str], size: int = 8000, kind: str = "bpe") -> "Tokeniser":
        """Learns a vocabulary; give it the training split's texts only.

        Args:
            texts: The texts.
            size: The most tokens there may be, padding included.
            kind: ``"bpe"`` or ``"word"``.

        Raises:
            MissingExtraError: If ``tokenizers`` is not installed.
            InputError: If an argument makes no sense.

        """
        if kind not in KINDS:
            raise InputError(f"unknown kind of tokeniser {kind!r}: {did_you_mean(kind, KINDS)}")
        least = {"bpe": 257, "word": 3}[kind]
        if isinstance(size, bool) or not isinstance(size, int) or size < least:
            raise InputError(
                f"size must be a whole number of at least {least} for {kind!r}, got {size!r}"
            )
        if isinstance(texts, str) or not len(texts):
            raise InputError(f"texts must be a list of at least one text, got {texts!r}")
        library = require("tokenizers", "text")
        inner, trainer = (_bpe if kind == "bpe" else _word)(library, size)
        inner.normalizer = library.normalizers.Sequence(
            [library.normalizers.NFKC(), library.normalizers.Lowercase()]
        )
        inner.train_from_iterator(texts, trainer)
        return cls(inner)

    @classmethod
    def load(cls, path: str | Path) -> "Tokeniser":
        """Reads back what :meth:`save` wrote.

        Raises:
            MissingExtraError: If ``tokenizers`` is not installed.
            InputError: If there is no such file, or it holds no tokeniser of ours.

        """
        library = require("tokenizers", "text")
        try:
            text = Path(path).read_text(encoding="utf-8")
        except FileNotFoundError:
            raise InputError(f"there is no file {path}") from None
        try:
            inner = library.Tokenizer.from_str(text)
        except Exception as error:  # the library raises bare Exceptions
            raise InputError(f"{path} is no tokeniser's file: {error}") from error
        if inner.token_to_id(PADDING) != 0:
            raise InputError(f"{path} is a tokeniser in which token 0 is not {PADDING!r}")
        return cls(inner)

    def save(self, path: str | Path) -> Path:
        """Writes the tokeniser as JSON, atomically."""
        return write_atomically(path, json.dumps(json.loads(self._inner.to_str())) + "\n")

    def __len__(self) -> int:
        return self._inner.get_vocab_size()

    def encode(self, texts: Sequence[str]) -> list[list[int]]:
        """The tokens of each text; a text of nothing but blanks has none."""
        # Blanks are tokens to the byte-level kind.
        return [e.ids for e in self._inner.encode_batch([text.strip() for text in texts])]

    def decode(self, tokens: Sequence[int]) -> str:
        """The text of the tokens, as far as they hold it."""
        return self._inner.decode(list(tokens))


def _bpe(library: Any, size: int) -> tuple[Any, Any]:
    inner = library.Tokenizer(library.models.BPE())
    level = library.pre_tokenizers.ByteLevel
    inner.pre_tokenizer = level(add_prefix_space=True)
    inner.decoder = library.decoders.ByteLevel()
    trainer = library.trainers.BpeTrainer(
        vocab_size=size,
        special_tokens=[PADDING],
        initial_alphabet=level.alphabet(),
        show_progress=False,
    )
    return inner, trainer


def _word(library: Any, size: int) -> tuple[Any, Any]:
    inner = library.Tokenizer(library.models.WordLevel(unk_token=UNKNOWN))
    inner.pre_tokenizer = library.pre_tokenizers.Whitespace()
    trainer = library.trainers.WordLevelTrainer(
        vocab_size=size, special_tokens=[PADDING, UNKNOWN], show_progress=False
    )
    return inner, trainer
