"""A convolution whose functions work on a few mixed channels."""

import math

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from edgewise.bases import AbstractBasis
from edgewise.core import InputError, check_count, remembers
from edgewise.layers.conv import (
    SMALL,
    KANConv1d,
    KANConv2d,
    KANConv3d,
    check_base,
    mean_square,
)
from edgewise.layers.geometry import check_input, check_reach
from edgewise.layers.linear import BASE_ACTIVATIONS

_KAN_CONV = {1: KANConv1d, 2: KANConv2d, 3: KANConv3d}
_CONV = {1: nn.Conv1d, 2: nn.Conv2d, 3: nn.Conv3d}


@remembers
class KANBottleneck(nn.Module):
    r"""A KAN convolution between two 1×1 convolutions, beside a plain one of the base activation.

    .. math::
        y = b + W * a(x) + U\, Φ * (D x)

    D takes the C channels to s (``squeeze``), Φ is a KAN convolution from s to s channels without
    a base term, U takes them to O. With K functions and R taps that is C s + K s² R + s O + C O R
    numbers in place of (K + 1) C O R. (The form of Drokin 2024, arXiv 2407.01092, without its
    normalisations.)

    Args:
        in_channels: The number of input channels, C.
        out_channels: The number of output channels, O.
        kernel_size: The number of taps along each axis; one number, or one for each axis, as for
            all sizes here.
        stride: The step of the kernel.
        padding: How many zeros go before and behind, or ``"same"``. They go around
            a(x), and around D x (normalised), where each contributes φ(0).
        dilation: The distance between taps.
        squeeze: The number s of channels between; by default an eighth of the larger of C and O,
            and at least 2.
        basis: The functions B: a name, ``"module:Class"`` or a basis object.
        base: The activation a: ``"silu"``, ``"tanh"``, ``"identity"``, or None for no such term.
        bias: Whether there is a bias b.
        normalize: ``"batch"`` brings each channel of D x to mean 0 and variance 1; None leaves it.
        dims: The number of axes, 1 to 3.

    Shape:
        ``(N, C, *S)`` to ``(N, O, *S')``, with ``dims`` axes in S.

    Attributes:
        squeeze, functions, unsqueeze, plain: The layers D, Φ, U and W (None without a base).

    Raises:
        InputError: If an argument or x does not fit.

    Example:
        >>> layer = KANBottleneck(32, 64, kernel_size=3, padding=1, basis="gaussian")
        >>> full = ew.layers.conv.KANConv2d(32, 64, kernel_size=3, padding=1, basis="gaussian")
        >>> [sum(p.numel() for p in m.parameters()) for m in (layer, full)]
        [23808, 165888]

    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int | tuple[int, ...],
        stride: int | tuple[int, ...] = 1,
        padding: int | tuple[int, ...] | str = 0,
        dilation: int | tuple[int, ...] = 1,
        *,
        squeeze: int | None = None,
        basis: str | AbstractBasis = "bspline",
        base: str | None = "silu",
        bias: bool = False,
        normalize: str | None = None,
        dims: int = 2,
    ) -> None:
        super().__init__()
        if dims not in _CONV:
            raise InputError(f"dims must be 1, 2 or 3, got {dims!r}")
        for name, number in (("in_channels", in_channels), ("out_channels", out_channels)):
            check_count(name, number)
        if squeeze is None:
            squeeze = max(2, max(in_channels, out_channels) // 8)
        check_count("squeeze", squeeze)
        check_base(base)
        move = (kernel_size, stride, padding, dilation)
        self.base = base
        self.functions = _KAN_CONV[dims](
            squeeze, squeeze, *move, basis=basis, base=None, normalize=normalize
        )
        self.squeeze = _CONV[dims](in_channels, squeeze, 1, bias=False)
        self.unsqueeze = _CONV[dims](squeeze, out_channels, 1, bias=bias)
        # The padding is put on in forward(): torch warns of "same" with kernels of even size.
        move = (kernel_size, stride, 0, dilation)
        self.plain = _CONV[dims](in_channels, out_channels, *move, bias=False) if base else None
        self.reset_parameters()

    @torch.no_grad()
    def reset_parameters(self) -> None:
        """As in the KAN convolutions: the base term carries the variance, the functions a tenth.

        Without a base term the functions carry it. Draws from torch's default generator.
        """
        self.functions.reset_parameters()
        share = 1.0 if self.base is None else SMALL
        self.squeeze.weight.normal_(std=1 / math.sqrt(self.squeeze.in_channels))
        self.unsqueeze.weight.normal_(std=share / math.sqrt(self.unsqueeze.in_channels))
        if self.unsqueeze.bias is not None:
            self.unsqueeze.bias.zero_()
        if self.plain is not None:
            weight = self.plain.weight
            power = mean_square(lambda z: BASE_ACTIVATIONS[self.base](z, 0), 1, weight.device)
            weight.normal_().mul_((weight[0].numel() * power).rsqrt())

    def forward(self, x: Float[Tensor, "N C *S"]) -> Float[Tensor, "N O *P"]:
        """The functions of the squeezed channels, unsqueezed, and the convolved activation."""
        weight = self.squeeze.weight
        name = type(self).__name__
        check_input(name, x, self.squeeze.in_channels, weight)
        check_reach(name, x, self.functions.geometry)
        x = x.to(weight.dtype)
        y = self.unsqueeze(self.functions(self.squeeze(x)))
        if self.plain is None:
            return y
        a = BASE_ACTIVATIONS[self.base](x, 0)
        return y + self.plain(F.pad(a, self.functions.geometry.pads))

    def extra_repr(self) -> str:
        return f"base={self.base!r}"
