"""The time itself: the baseline without any encoding."""

from torch import Tensor, nn

from edgewise.core import remembers
from edgewise.encoders.base import ENCODERS
from edgewise.encoders.pointwise import AbstractPointwiseEncoder


@ENCODERS.register("raw")
@remembers
class RawTime(AbstractPointwiseEncoder):
    r"""The bare number, through one affine map: :math:`E(τ) = w\,(2τ - 1) + b`.

    The map adds nothing that the next layer could not do; it makes the width equal for all
    encoders. Outside the training range it goes on as a straight line.

    Args:
        dim: The size of the vectors.

    Example:
        >>> encoder = RawTime(4)
        >>> a, b, c = encoder(torch.tensor([0.0, 1.0, 2.0]))
        >>> torch.allclose(b - a, c - b, atol=1e-6)
        True

    """

    def __init__(self, dim: int) -> None:
        super().__init__(dim)
        self.affine = nn.Linear(1, dim)

    def encode(self, tau: Tensor, counts: Tensor, features: Tensor | None = None) -> Tensor:
        return self.affine((2 * tau - 1).unsqueeze(-1).to(self._dtype))
