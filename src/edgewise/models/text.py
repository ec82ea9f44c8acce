"""Texts to classes: embedding, backbone, pooling, head."""

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from edgewise.core import InputError, check_count, remembers
from edgewise.models.backbones import make_backbone
from edgewise.models.pooling import PooledHead, check_lengths, mask_of
from edgewise.models.sizes import check_dropout


@remembers
class TextClassifier(nn.Module):
    r"""Classifies texts by their tokens.

    .. math::
        (B, L) \xrightarrow{\text{embedding}} (B, L, d) \xrightarrow{\text{backbone}} (B, L, H)
        \xrightarrow{\text{pool}} (B, H) \xrightarrow{\text{dropout, head}} (B, C)

    The embedding is a table of free numbers, so functions of its entries would add nothing:
    where functions work is on states, and on what attention has mixed.

    Args:
        vocabulary: The number of tokens; token 0 is padding and embedded as zeros.
        num_classes: The number of classes, C.
        backbone: A name as in `SeriesClassifier`, or ``"module:function"``.
        dim: The size of the embedding's vectors, d.
        hidden_dim: The size of the states, H.
        num_layers: How many layers the backbone has.
        pool: ``"mean"``, ``"last"`` or ``"max"`` of the real states.
        head: ``"linear"`` or ``"kan"``.
        dropout: The probability of dropping an entry of an embedded token, a unit within the
            backbone, and one before the head.

    Shape:
        tokens ``(B, L)``, lengths ``(B,)`` to logits ``(B, C)``.

    Raises:
        InputError: If an argument or an input makes no sense, or a text is all padding.

    Example:
        >>> model = TextClassifier(100, backbone="kan-lstm", dim=8, hidden_dim=8).eval()
        >>> tokens, lengths = torch.tensor([[5, 6, 7], [8, 0, 0]]), torch.tensor([3, 1])
        >>> torch.allclose(model(tokens, lengths)[1:], model(tokens[1:, :1], lengths[1:]))
        True

    """

    def __init__(
        self,
        vocabulary: int,
        num_classes: int = 2,
        backbone: str = "lstm",
        dim: int = 64,
        hidden_dim: int = 64,
        num_layers: int = 1,
        *,
        pool: str = "mean",
        head: str = "linear",
        dropout: float = 0.2,
    ) -> None:
        super().__init__()
        self.vocabulary = check_count("vocabulary", vocabulary)
        check_count("dim", dim)
        self.embedding = nn.Embedding(vocabulary, dim, padding_idx=0)
        with torch.no_grad():
            # With torch's deviation of 1 rare words stay noise: on rt-polarity 11 points less for a
            # bag, 7 for an LSTM.
            self.embedding.weight.mul_(0.1)
        self.dropout = nn.Dropout(check_dropout(dropout))
        self.backbone = make_backbone(backbone, dim, hidden_dim, num_layers, dropout)
        self.head = PooledHead(hidden_dim, num_classes, pool, head, dropout)

    def forward(
        self, tokens: Int[Tensor, "B L"], lengths: Int[Tensor, " B"]
    ) -> Float[Tensor, "B C"]:
        """Logits of the classes."""
        self._check(tokens)
        check_lengths(lengths, tokens.shape[0], tokens.shape[1], "token")
        mask = mask_of(lengths, tokens.shape[1])
        x = self.dropout(self.embedding(tokens.masked_fill(~mask, 0)))
        return self.head(self.backbone(x, mask), mask)

    def _check(self, tokens: Tensor) -> None:
        if tokens.ndim != 2 or tokens.is_floating_point() or tokens.dtype == torch.bool:
            raise InputError(
                f"tokens must be whole numbers of shape (texts, length), got {tokens.dtype} of "
                f"shape {tuple(tokens.shape)}"
            )
        if torch.compiler.is_compiling() or not tokens.numel():
            return
        low, high = int(tokens.min()), int(tokens.max())
        if low < 0 or high >= self.vocabulary:
            raise InputError(
                f"tokens must lie between 0 and {self.vocabulary - 1}, got {low} to {high}: the "
                f"model was made for a vocabulary of {self.vocabulary}"
            )
