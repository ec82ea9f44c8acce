"""How large functions are on standard normal numbers, for initial values that keep the variance."""

from collections.abc import Callable

import torch
from torch import Tensor

from edgewise.bases import AbstractBasis

SMALL = 0.1
"""The standard deviation of the functions' part at the start, where a base term has 1.

Independent random functions are rough: they multiply the gradient in every layer. Beside a base
term that carries the signal they start small.
"""


def mean_square(
    function: Callable[[Tensor], Tensor], channels: int, device: torch.device
) -> Tensor:
    """E[f(z)²] over standard normal z, given to the function as (n, channels).

    A basis whose domain does not hold zero is meant for other numbers: there z is even over it.
    """
    # The mid-points of 256 equally likely parts.
    share = (torch.arange(256, device=device) + 0.5) / 256
    low, high = function.domain if isinstance(function, AbstractBasis) else (-1.0, 1.0)
    z = torch.special.ndtri(share) if low <= 0 <= high else low + (high - low) * share
    return function(z.unsqueeze(-1).expand(-1, channels)).square().mean()
