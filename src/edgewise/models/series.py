"""Sequences of vectors to classes: recurrent networks and transformers, plain and of functions."""

from jaxtyping import Float, Int
from torch import Tensor, nn

from edgewise.core import InputError, check_count, remembers
from edgewise.models.backbones import make_backbone
from edgewise.models.pooling import PooledHead, check_lengths, mask_of


@remembers
class SeriesClassifier(nn.Module):
    r"""Classifies sequences of vectors.

    .. math::
        (B, L, F) \xrightarrow{\text{backbone}} (B, L, H) \xrightarrow{\text{pool}} (B, H)
        \xrightarrow{\text{dropout, head}} (B, C)

    Args:
        feature_dim: The size of the vectors, F.
        num_classes: The number of classes, C.
        backbone: ``"rnn"``, ``"gru"``, ``"lstm"``, ``"kan-rnn"``, ``"kan-gru"``, ``"kan-lstm"``,
            ``"transformer"``, ``"kan-transformer"``, ``"kaf-transformer"``,
            ``"grkan-transformer"``, ``"bag"``, or ``"module:function"``; see `BACKBONES`.
        hidden_dim: The size of the states, H.
        num_layers: How many layers the backbone has.
        pool: ``"mean"``, ``"last"`` or ``"max"`` of the real states.
        head: ``"linear"`` or ``"kan"``.
        dropout: The probability of dropping a unit within the backbone and before the head.

    Shape:
        x ``(B, L, F)``, lengths ``(B,)`` to logits ``(B, C)``. What x holds after a sequence's
        length is never looked at.

    Raises:
        InputError: If an argument or an input makes no sense, or a sequence is all padding.

    Example:
        >>> model = SeriesClassifier(3, num_classes=2, backbone="kan-gru", hidden_dim=8).eval()
        >>> x, lengths = torch.randn(2, 5, 3), torch.tensor([5, 3])
        >>> torch.allclose(model(x, lengths)[1:], model(x[1:, :3], lengths[1:]), atol=1e-6)
        True

    """

    def __init__(
        self,
        feature_dim: int,
        num_classes: int = 2,
        backbone: str = "kan-gru",
        hidden_dim: int = 32,
        num_layers: int = 1,
        *,
        pool: str = "mean",
        head: str = "linear",
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        self.feature_dim = check_count("feature_dim", feature_dim)
        self.backbone = make_backbone(backbone, feature_dim, hidden_dim, num_layers, dropout)
        self.head = PooledHead(hidden_dim, num_classes, pool, head, dropout)

    def forward(
        self, x: Float[Tensor, "B L F"], lengths: Int[Tensor, " B"]
    ) -> Float[Tensor, "B C"]:
        """Logits of the classes."""
        if x.ndim != 3 or x.shape[-1] != self.feature_dim:
            raise InputError(
                f"SeriesClassifier takes x of shape (batch, steps, {self.feature_dim}), "
                f"got {tuple(x.shape)}"
            )
        check_lengths(lengths, x.shape[0], x.shape[1], "step")
        mask = mask_of(lengths, x.shape[1])
        # A NaN at padding would reach the gradients, although no state is taken there.
        x = x.masked_fill(~mask.unsqueeze(-1), 0.0)
        return self.head(self.backbone(x, mask), mask)
