"""Polynomials of a dense layer's inputs by the native library, where nothing looks into them."""

import torch
from jaxtyping import Float
from torch import Tensor

from edgewise.kernels import native
from edgewise.kernels.expanded import Features
from edgewise.kernels.operator import unwatched
from edgewise.kernels.polynomials import Polynomials


class NativeFeatures:
    """Features, (n, I) to (n, I, K), whose values and way back the native library knows.

    Args:
        features: The same as operations of torch.
        polynomials: Which they are.

    """

    def __init__(self, features: Features, polynomials: Polynomials) -> None:
        self.features, self.polynomials = features, polynomials

    def __call__(self, x: Float[Tensor, "n I"], order: int) -> Float[Tensor, "n I K"]:
        if order or torch.is_grad_enabled() or not unwatched(x):
            return self.features(x, order)
        return native.maps(_as_pixels(x), self.polynomials).squeeze(-1).movedim(1, -1)

    def back(self, x: Float[Tensor, "n I"], dB: Float[Tensor, "n I K"]) -> Float[Tensor, "n I"]:
        r""":math:`\sum_k B_k'(x_{ni})\, \dot B_{nik}`."""
        if torch.is_grad_enabled() or not unwatched(x, dB):
            return (self.features(x, 1) * dB).sum(-1)
        dmaps = dB.movedim(-1, 1).unsqueeze(-1)
        return native.maps_back(_as_pixels(x), dmaps, self.polynomials).view_as(x)


def _as_pixels(x: Float[Tensor, "n I"]) -> Float[Tensor, "n 1 I 1"]:
    """Rows as images of one channel, whose maps lie side by side."""
    return x.unsqueeze(1).unsqueeze(-1)
