"""Convolutions whose taps are functions."""

import torch
from jaxtyping import Float
from torch import Tensor, nn

from edgewise.bases import AbstractBasis, make_basis
from edgewise.core import InputError, check_count, remembers
from edgewise.layers.activation import BASE_ACTIVATIONS, check_base
from edgewise.layers.expanded_conv import Formula
from edgewise.layers.geometry import check_input, check_reach, make_geometry
from edgewise.layers.recomputed_conv import recomputed_conv
from edgewise.layers.variance import SMALL, mean_square

_BATCH_NORM = {1: nn.BatchNorm1d, 2: nn.BatchNorm2d, 3: nn.BatchNorm3d}


class AbstractKANConv(nn.Module):
    """What the convolutions over one, two and three axes share; see :class:`KANConv2d`."""

    dims: int
    """The number of axes that the kernel moves along."""

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int | tuple[int, ...],
        stride: int | tuple[int, ...] = 1,
        padding: int | tuple[int, ...] | str = 0,
        dilation: int | tuple[int, ...] = 1,
        groups: int = 1,
        basis: str | AbstractBasis = "bspline",
        *,
        base: str | None = "silu",
        bias: bool = False,
        normalize: str | None = None,
    ) -> None:
        super().__init__()
        _check_channels(groups, in_channels=in_channels, out_channels=out_channels)
        check_base(base)
        if normalize not in (None, "batch"):
            raise InputError(f"normalize must be None or 'batch', got {normalize!r}")
        self.in_channels, self.out_channels, self.groups = in_channels, out_channels, groups
        self.geometry = make_geometry(self.dims, kernel_size, stride, padding, dilation)
        self.base = base
        self.basis = make_basis(basis)
        edges = (out_channels, in_channels // groups, *self.geometry.kernel_size)
        # K first, as in KANLinear.
        self.coefficients = nn.Parameter(torch.empty(self.basis.size, *edges))
        self.base_weight = nn.Parameter(torch.empty(edges)) if base else None
        self.bias = nn.Parameter(torch.empty(out_channels)) if bias else None
        self.norm = _BATCH_NORM[self.dims](in_channels, affine=False) if normalize else None
        self.reset_parameters()

    @torch.no_grad()
    def reset_parameters(self) -> None:
        """Draws values that hand the variance of a standard normal input on from layer to layer.

        Where there is a base term it carries the signal, and the functions start at a tenth of it:
        large random functions would multiply the gradient in every layer. Draws from torch's
        default generator.
        """
        fan_in = self.coefficients[0, 0].numel()
        device = self.coefficients.device
        share = 1.0 if self.base is None else SMALL
        power = self.basis.size * mean_square(self.basis, self.in_channels, device)
        self.coefficients.normal_().mul_(share * (fan_in * power).rsqrt())
        if self.base_weight is not None:
            power = mean_square(self._activation, 1, device)
            self.base_weight.normal_().mul_((fan_in * power).rsqrt())
        if self.bias is not None:
            self.bias.zero_()

    def forward(self, x: Float[Tensor, "N C *S"]) -> Float[Tensor, "N O *P"]:
        """The sum of the edges' values under the kernel, at each place it moves to."""
        name = type(self).__name__
        check_input(name, x, self.in_channels, self.coefficients[0])
        check_reach(name, x, self.geometry)
        if self.norm is not None:
            x = self.norm(x)
        weights = (self.coefficients, self.base_weight, self.bias)
        dtype = _product_dtype(self.coefficients)
        formula = Formula(self._activation, self.geometry, self.groups, dtype)
        return recomputed_conv(x, *weights, self.basis, formula)

    def curves(self, x: Float[Tensor, "*batch"], order: int = 0) -> Float[Tensor, "..."]:
        """Every edge's function at the same numbers, or its derivative of order 1 or 2.

        Args:
            x: Numbers, in the units that the functions see: behind the normalisation if there is
                one. All edges get each of them.
            order: 0, 1 or 2.

        Returns:
            φ_ocr(x), ``(..., O, C/groups, *kernel_size)``, without the bias; channel c is counted
            within the group of o.

        """
        features = self.basis.derivative(x.unsqueeze(-1).expand(*x.shape, self.in_channels), order)
        c = self.coefficients.flatten(3).unflatten(1, (self.groups, -1))
        features = features.to(c.dtype).unflatten(-2, (self.groups, -1))
        y = torch.einsum("...gck,kgocr->...gocr", features, c)
        y = y.reshape(*x.shape, *self.coefficients.shape[1:])
        if self.base_weight is None:
            return y
        a = self._activation(x.to(c.dtype), order)
        return y + a[(..., *(None,) * self.base_weight.ndim)] * self.base_weight

    def _activation(self, x: Tensor, order: int = 0) -> Tensor:
        return BASE_ACTIVATIONS[self.base](x, order)

    def extra_repr(self) -> str:
        sizes = [f"{k}={v}" for k, v in self.geometry._asdict().items() if k != "kernel_size"]
        channels = f"{self.in_channels}, {self.out_channels}, {self.geometry.kernel_size}"
        return f"{channels}, {', '.join(sizes)}, groups={self.groups}, base={self.base!r}"


@remembers
class KANConv1d(AbstractKANConv):
    """A convolution over one axis, (N, C, L), whose taps are functions; see :class:`KANConv2d`.

    Example:
        Two taps, and a padded zero before and behind:

        >>> layer = KANConv1d(1, 1, kernel_size=2, padding=1)
        >>> x = torch.tensor([0.3, -0.8])
        >>> phi = layer.curves(torch.tensor([0.0, 0.3, -0.8, 0.0]))[:, 0, 0]
        >>> torch.allclose(layer(x.view(1, 1, 2)).flatten(), phi[:-1, 0] + phi[1:, 1])
        True

    """

    dims = 1


@remembers
class KANConv2d(AbstractKANConv):
    r"""A convolution over two axes, (N, C, H, W), whose taps are functions of one number.

    .. math::
        y_{nop} = b_o + \sum_{c, r} φ_{ocr}\big(x_{n,\,c,\,p \cdot \text{stride} +
        r \cdot \text{dilation}}\big), \qquad
        φ_{ocr}(x) = w_{ocr}\, a(x) + \sum_{k=1}^K c_{kocr}\, B_k(x)

    over the taps r and the channels c of o's group. It is computed as one ordinary convolution of
    the basis maps B_k(x) (:func:`~edgewise.layers.recomputed_conv.recomputed_conv`), and only x is
    saved for the backward pass.

    The input is padded, not the maps: a padded pixel is the number 0 (behind the normalisation)
    and contributes φ(0), which for splines is not 0.

    Args:
        in_channels: The number of input channels, C.
        out_channels: The number of output channels, O.
        kernel_size: The number of taps along each axis; one number, or one for each axis, as for
            all sizes here.
        stride: The step of the kernel.
        padding: How many zeros go before and behind, or ``"same"``, which keeps the size.
        dilation: The distance between taps.
        groups: Into how many groups the channels are split, each with outputs of its own.
        basis: The functions B: a name, ``"module:Class"`` or a basis object. It is called with the
            channels on the last axis, so knots and groups of a basis may be those of channels.
        base: The activation a: ``"silu"``, ``"tanh"``, ``"identity"``, or None for no such term.
        bias: Whether there is a bias b.
        normalize: ``"batch"`` brings each channel to mean 0 and variance 1 before the functions
            (BatchNorm without scale and shift); None leaves it as it is.

    Shape:
        ``(N, C, H, W)`` to ``(N, O, H', W')``, in the dtype of the layer (in autocast, in its).

    Attributes:
        coefficients: c, of shape ``(K, O, C/groups, *kernel_size)``.
        base_weight: w, of shape ``(O, C/groups, *kernel_size)``, or None.
        bias: b, of shape (O,), or None.

    Raises:
        InputError: If an argument or x does not fit.

    Example:
        A kernel of one pixel is a dense layer at each pixel:

        >>> layer, dense = KANConv2d(3, 2, kernel_size=1), ew.layers.KANLinear(3, 2)
        >>> with torch.no_grad():
        ...     _ = dense.coefficients.copy_(layer.coefficients[..., 0, 0].mT)
        ...     _ = dense.base_weight.copy_(layer.base_weight[..., 0, 0].mT)
        >>> x = torch.randn(4, 3, 8, 8)
        >>> torch.allclose(layer(x).movedim(1, -1), dense(x.movedim(1, -1)), atol=1e-5)
        True

    """

    dims = 2


@remembers
class KANConv3d(AbstractKANConv):
    """A convolution over three axes, (N, C, D, H, W), whose taps are functions.

    All else is as in :class:`KANConv2d`.

    Example:
        With one kernel position the output is the sum over all taps:

        >>> layer = KANConv3d(1, 2, kernel_size=2)
        >>> x = torch.full((1, 1, 2, 2, 2), 0.3)
        >>> torch.allclose(layer(x).flatten(), layer.curves(x[0, 0, 0, 0, 0]).flatten(1).sum(1))
        True

    """

    dims = 3


def _product_dtype(weight: Tensor) -> torch.dtype:
    """That of autocast where it is on (it leaves float64 alone), else that of the weights."""
    kind = weight.device.type
    if not torch.amp.is_autocast_available(kind) or not torch.is_autocast_enabled(kind):
        return weight.dtype
    return weight.dtype if weight.dtype == torch.float64 else torch.get_autocast_dtype(kind)


def _check_channels(groups: int, **channels: int) -> None:
    check_count("groups", groups)
    for name, number in channels.items():
        if check_count(name, number) % groups:
            raise InputError(f"{name} is {number}: it must be a multiple of groups={groups}")
