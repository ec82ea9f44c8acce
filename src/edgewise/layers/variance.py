"""How large functions are on standard normal numbers, for initial values that keep the variance."""

from collections.abc import Callable

import torch
from torch import Tensor

SMALL = 0.1
"""The standard deviation of the functions' part at the start, where a base term has 1.

Independent random functions are rough: they multiply the gradient in every layer. Beside a base
term that carries the signal they start small.
"""


def mean_square(
    function: Callable[[Tensor], Tensor], channels: int, device: torch.device
) -> Tensor:
    """E[f(z)²] over standard normal z, given to the function as (n, channels)."""
    # The mid-points of 256 equally likely parts.
    z = torch.special.ndtri((torch.arange(256, device=device) + 0.5) / 256)
    return function(z.unsqueeze(-1).expand(-1, channels)).square().mean()
