"""The base activations that stand beside a basis, with their derivatives."""

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional as F


def _silu(x: Tensor, order: int) -> Tensor:
    if order == 0:
        return F.silu(x)
    s = x.sigmoid()
    return s * (1 + x * (1 - s)) if order == 1 else s * (1 - s) * (2 + x * (1 - 2 * s))


def _tanh(x: Tensor, order: int) -> Tensor:
    t = x.tanh()
    return t if order == 0 else 1 - t * t if order == 1 else -2 * t * (1 - t * t)


def _identity(x: Tensor, order: int) -> Tensor:
    return x if order == 0 else torch.full_like(x, 2.0 - order)


ACTIVATIONS: dict[str, Callable[[Tensor, int], Tensor]] = {
    "silu": _silu,
    "tanh": _tanh,
    "identity": _identity,
}
"""Name to a(x, order): the activation and its first two derivatives."""
