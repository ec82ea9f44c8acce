"""The diagonal of an operator from a few products."""

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

from edgewise.core import InputError
from edgewise.curvature.krylov import signs_like
from edgewise.curvature.trace import like, unit_products


class Diagonal(NamedTuple):
    """Estimates (n,) and their standard errors (n,), both in float64."""

    values: Tensor
    standard_errors: Tensor


def diagonal(
    matvec: Callable[[Tensor], Tensor],
    n: int,
    products: int = 100,
    *,
    generator: torch.Generator | None = None,
    dtype: torch.dtype | None = None,
    device: torch.device | str | None = None,
) -> Diagonal:
    r"""The diagonal of A and its standard error (Bekas, Kokiopoulou & Saad 2007).

    It is the mean of :math:`z \odot A z` over random signs z.

    Up to ``products`` entries they are computed one by one and the errors are those of rounding.

    Args:
        matvec: v ↦ A v; of an :class:`Operator` dtype and device are known.
        n: The size of A.
        products: How many products may be formed, at least 2.
        generator: Where random signs come from; None is torch's default generator.
        dtype: None is that of the operator, else float64.
        device: None is that of the operator, else the CPU.

    Raises:
        InputError: If there are fewer than two products.

    Example:
        >>> A = torch.diag(torch.arange(4.0, dtype=torch.float64))
        >>> diagonal(lambda v: A @ v, 4).values
        tensor([0., 1., 2., 3.], dtype=torch.float64)

    """
    blank = like(matvec, n, dtype, device)
    if n <= products:
        values = unit_products(matvec, blank)
        return Diagonal(values, values.abs() * torch.finfo(blank.dtype).eps)
    if products < 2:
        raise InputError(f"an estimate with its error needs at least 2 products, got {products}")
    mean = torch.zeros(n, dtype=torch.float64, device=blank.device)
    scatter = torch.zeros_like(mean)
    for j in range(1, products + 1):  # Welford's update: no sum of squares that cancels
        z = signs_like(blank, generator)
        sample = (z * matvec(z)).double()
        step = sample - mean
        mean += step / j
        scatter += step * (sample - mean)
    return Diagonal(mean, (scatter / (products - 1) / products).sqrt())
