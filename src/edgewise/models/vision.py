"""Networks for images: convolutions whose edges are functions, and plain ones beside them."""

import copy
from collections.abc import Callable, Sequence

import torch
from jaxtyping import Float
from torch import Tensor, nn

from edgewise.bases import AbstractBasis, Chebyshev, make_basis
from edgewise.core import InputError, check_count, did_you_mean, remembers
from edgewise.layers import KANLinear
from edgewise.layers.bottleneck import KANBottleneck
from edgewise.layers.conv import KANConv2d
from edgewise.models.sizes import check_dropout

FORMS = ("expanded", "bottleneck")
_LEAST_TO_POOL = 4


@remembers
class ConvKAN(nn.Module):
    r"""A convolutional Kolmogorov-Arnold network.

    .. math::
        x^{l+1} = \text{pool}(\text{norm}(Φ_l * x^l)), \qquad
        \text{logits} = \text{mean over pixels } p \text{ of KANLinear}(x^L_p)

    with 3 × 3 kernels of functions Φ, zero padding to the same size, BatchNorm, and pooling over
    2 × 2 maxima after every stage but the last while at least 4 pixels are left each way. In the
    ``"expanded"`` form every edge has its own function (`KANConv2d`); in the ``"bottleneck"`` form
    the functions work on fewer channels, beside a plain convolution (`KANBottleneck`).

    The last layer's functions act on pixels, before the mean: a sum is all that a convolution of
    functions ends with, and the mean of sums would not know where anything stood.

    Args:
        image_shape: Channels, height and width of the images.
        num_classes: How many classes.
        channels: The channels of each stage.
        form: ``"expanded"`` or ``"bottleneck"``.
        basis: What the functions are made of, by name or as an object, which is copied for each
            layer; None is Chebyshev's polynomials of tanh x, of degrees 1 to 3: half the numbers
            of a B-spline for a better network.
        base: The activation beside the basis, as in `KANLinear`.
        dropout: The probability of dropping a channel before the last layer.

    Shape:
        ``(n, *image_shape)`` to ``(n, num_classes)``.

    Raises:
        InputError: If a size, the form or the dropout makes no sense, or x has another shape.

    Example:
        >>> model = ConvKAN((1, 8, 8), channels=(4, 8)).eval()
        >>> x = torch.rand(3, 1, 8, 8)
        >>> torch.allclose(model(x)[1:], model(x[1:]), atol=1e-5)
        True

    """

    def __init__(
        self,
        image_shape: Sequence[int] = (1, 28, 28),
        num_classes: int = 10,
        channels: Sequence[int] = (16, 32, 64),
        form: str = "bottleneck",
        basis: str | AbstractBasis | None = None,
        *,
        base: str | None = "silu",
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        if form not in FORMS:
            raise InputError(f"unknown form {form!r}: {did_you_mean(form, FORMS)}")
        basis = Chebyshev(3, constant=False) if basis is None else basis

        def conv(inlets: int, outlets: int) -> nn.Module:
            own = copy.deepcopy(make_basis(basis))
            if form == "expanded":
                return KANConv2d(inlets, outlets, 3, padding=1, basis=own, base=base)
            # What the squeeze gives has no scale of its own; the stage's BatchNorm is behind it.
            options = {"padding": 1, "normalize": "batch", "base": base}
            return KANBottleneck(inlets, outlets, 3, basis=own, **options)

        self.image_shape, self.num_classes = _check_sizes(image_shape, num_classes)
        self.stages = _stages(self.image_shape, channels, conv)
        self.dropout = nn.Dropout2d(check_dropout(dropout))
        own = copy.deepcopy(make_basis(basis))
        self.head = KANLinear(channels[-1], num_classes, own, base=base, bias=True)

    def forward(self, x: Float[Tensor, "n C H W"]) -> Float[Tensor, "n classes"]:
        """Logits of the classes."""
        _check_images(x, self.image_shape, "ConvKAN")
        pixels = self.dropout(self.stages(x)).movedim(1, -1)
        return self.head(pixels).mean((1, 2))


@remembers
class Flattened(nn.Module):
    """A network of rows, given images: their pixels are its inputs.

    Args:
        network: The network, from ``(n, C·H·W)`` to ``(n, classes)``.

    Shape:
        ``(n, C, H, W)`` to ``(n, classes)``.

    Example:
        >>> network = ew.models.MLP([4, 3, 2])
        >>> x = torch.rand(5, 1, 2, 2)
        >>> torch.equal(Flattened(network)(x), network(x.flatten(1)))
        True

    """

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, x: Float[Tensor, "n C H W"]) -> Float[Tensor, "n classes"]:
        """Logits of the classes."""
        return self.network(x.flatten(1))


@remembers
class CNN(nn.Module):
    r"""The convolutional network that a `ConvKAN` is compared with: the same stages, plain.

    .. math::
        x^{l+1} = \text{pool}(a(\text{norm}(W_l * x^l)))

    Args:
        image_shape: Channels, height and width of the images.
        num_classes: How many classes.
        channels: The channels of each stage.
        dropout: The probability of dropping a channel before the last layer.

    Shape:
        ``(n, *image_shape)`` to ``(n, num_classes)``.

    Raises:
        InputError: If a size or the dropout makes no sense, or x has another shape.

    Example:
        >>> model = CNN((1, 8, 8), channels=(4, 8)).eval()
        >>> x = torch.rand(3, 1, 8, 8)
        >>> torch.allclose(model(x)[1:], model(x[1:]), atol=1e-5)
        True

    """

    def __init__(
        self,
        image_shape: Sequence[int] = (1, 28, 28),
        num_classes: int = 10,
        channels: Sequence[int] = (16, 32, 64),
        *,
        dropout: float = 0.0,
    ) -> None:
        super().__init__()

        def conv(inlets: int, outlets: int) -> nn.Module:
            # No bias: the normalisation that follows would take it away.
            return nn.Conv2d(inlets, outlets, 3, padding=1, bias=False)

        self.image_shape, self.num_classes = _check_sizes(image_shape, num_classes)
        self.stages = _stages(self.image_shape, channels, conv, nn.SiLU)
        self.dropout = nn.Dropout(check_dropout(dropout))
        self.head = nn.Linear(channels[-1], num_classes)

    def forward(self, x: Float[Tensor, "n C H W"]) -> Float[Tensor, "n classes"]:
        """Logits of the classes."""
        _check_images(x, self.image_shape, "CNN")
        if self.training and x.device.type == "cpu":
            # How torch's convolutions like it best there: a quarter of a step. Copied, since
            # contiguous() sees no difference where there is one channel. The weights stay as they
            # are, for saved ones come back like this and must give the same bits.
            x = torch.empty_like(x, memory_format=torch.channels_last).copy_(x)
        return self.head(self.dropout(self.stages(x).mean((-2, -1))))


def _stages(
    image_shape: tuple[int, ...],
    channels: Sequence[int],
    conv: Callable[[int, int], nn.Module],
    activation: Callable[[], nn.Module] | None = None,
) -> nn.Sequential:
    """Convolution, normalisation, perhaps an activation, and pooling, as often as channels say."""
    if isinstance(channels, (str, int)) or len(channels) == 0:
        raise InputError(f"channels must be one number for each stage, got {channels!r}")
    inlets, *size = image_shape
    modules: list[nn.Module] = []
    for place, outlets in enumerate(channels):
        check_count(f"channels[{place}]", outlets)
        modules += [conv(inlets, outlets), nn.BatchNorm2d(outlets)]
        if activation is not None:
            modules.append(activation())
        if place < len(channels) - 1 and min(size) >= _LEAST_TO_POOL:
            modules.append(nn.MaxPool2d(2))
            size = [side // 2 for side in size]
        inlets = outlets
    return nn.Sequential(*modules)


def _check_sizes(image_shape: Sequence[int], num_classes: int) -> tuple[tuple[int, ...], int]:
    if isinstance(image_shape, (str, int)) or len(image_shape) != 3:
        raise InputError(f"image_shape must be (channels, height, width), got {image_shape!r}")
    for place, side in enumerate(image_shape):
        check_count(f"image_shape[{place}]", side)
    return tuple(image_shape), check_count("num_classes", num_classes)


def _check_images(x: Tensor, image_shape: tuple[int, ...], kind: str) -> None:
    if x.ndim != 4 or tuple(x.shape[1:]) != image_shape:
        raise InputError(
            f"{kind} takes images of shape (n, {', '.join(map(str, image_shape))}), "
            f"got x of shape {tuple(x.shape)}"
        )
