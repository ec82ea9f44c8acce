"""A learned table with one vector for each position."""

import torch
from jaxtyping import Float
from torch import Tensor, nn

from edgewise.core import check_count, remembers
from edgewise.encoders.base import ENCODERS
from edgewise.encoders.pointwise import AbstractPointwiseEncoder


@ENCODERS.register("learned")
@remembers
class LearnedPosition(AbstractPointwiseEncoder):
    r"""A table of P learned vectors; the training range is cut into P equal positions.

    .. math::  E(τ) = W_p, \qquad p = \mathrm{round}(τ\,(P - 1)) \text{ kept within } 0 \dots P - 1

    Outside the training range it is constant.

    Args:
        dim: The size of the vectors.
        positions: The number of positions, P; 784 are the pixels of a 28 × 28 image.

    Example:
        >>> encoder = LearnedPosition(4, positions=10).fit_scale(torch.arange(10))
        >>> bool((encoder(torch.arange(10)) == encoder.table.weight).all())
        True

    """

    def __init__(self, dim: int, positions: int = 784) -> None:
        super().__init__(dim)
        self.table = nn.Embedding(check_count("positions", positions), dim)

    def encode(
        self, tau: Float[Tensor, " n"], counts: Tensor, features: Tensor | None = None
    ) -> Float[Tensor, "n dim"]:
        last = self.table.num_embeddings - 1
        return self.table((tau * last).round().clamp(0, last).to(torch.long))
