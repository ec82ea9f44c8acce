"""The image job's networks: how each is made, and what is known to train it well."""

from dataclasses import dataclass, replace
from typing import Any

from torch import nn

from edgewise.bases import BASES, AbstractBasis, make_basis
from edgewise.core import InputError
from edgewise.models import KAN, MLP, largest
from edgewise.models.vision import CNN, ConvKAN

KINDS = ("kan", "conv_kan", "mlp", "cnn")
"""The networks: dense and convolutional, of functions and plain."""

# Which option of a basis says how fine it is, and where standardised pixels and normalised
# activations lie, for those that have ends. Chebyshev's polynomials are those of tanh x, without
# the constant: dense layers have a bias, and stages end in a normalisation.
_SIZE = {
    "bspline": ("grid_size", {"domain": (-3.0, 3.0)}),
    "gaussian": ("centers", {"domain": (-3.0, 3.0)}),
    "fourier": ("harmonics", {}),
    "wavelet": ("count", {}),
    "chebyshev": ("degree", {"constant": False}),
    "rational": ("numerator", {}),
}


@dataclass(frozen=True)
class Recipe:
    """What a job leaves open.

    Attributes:
        num_layers: Layers, the last one included.
        hidden_dim: Hidden units; in a convolutional network the channels of the last stage.
        form: ``"expanded"`` or ``"bottleneck"``; of a convolutional KAN.
        basis: What a KAN's functions are made of.
        grid_size: How fine the basis is.
        normalize: Whether a dense KAN's inputs, layer by layer, are normalised over the batch.
        num_epochs: Passes over the training images.
        batch_size: Images in a batch.
        learning_rate: AdamW's highest learning rate.
        weight_decay: AdamW's weight decay.
        dropout: The probability of dropping a hidden unit.
        label_smoothing: The part of a label that is spread over all classes in training.
        shift: Training images are moved by up to so many pixels, up or down and left or right.

    """

    num_layers: int = 2
    hidden_dim: int = 64
    form: str = "expanded"
    basis: str = "bspline"
    grid_size: int = 5
    normalize: bool = True
    num_epochs: int = 10
    batch_size: int = 64
    learning_rate: float = 1e-3
    weight_decay: float = 1e-4
    dropout: float = 0.0
    label_smoothing: float = 0.0
    shift: int = 2


# Weight decay this strong and a cosine over 20 epochs: 98.7 % of MNIST's validation split, where
# 2 epochs with 1e-4 had been at 96.5 %.
_LONG = {"num_epochs": 20, "batch_size": 128, "learning_rate": 3e-3, "weight_decay": 0.05}
CONV_KAN = {"form": "bottleneck", "basis": "chebyshev", "grid_size": 3}
"""A convolutional KAN: there cubic polynomials do better than B-splines (docs/layers.md)."""
_DEEP = {**_LONG, "num_layers": 4, "num_epochs": 12}
_LARGE = {
    "kan": Recipe(**_LONG),
    "conv_kan": Recipe(**CONV_KAN, **_DEEP),
    "mlp": Recipe(hidden_dim=512, **_LONG),
    "cnn": Recipe(**_DEEP),
}
# Moving an 8 × 8 image by a pixel takes away a good part of it.
_TINY = {"num_epochs": 25, "batch_size": 32, "learning_rate": 5e-3, "shift": 0}
_SMALL = {
    "kan": Recipe(hidden_dim=32, normalize=False, **_TINY),
    "conv_kan": Recipe(num_layers=3, hidden_dim=32, **CONV_KAN, **_TINY),
    "mlp": Recipe(hidden_dim=128, **_TINY),
    "cnn": Recipe(num_layers=3, hidden_dim=32, **_TINY),
}
# Clothes are centred in the test images, too: moving them costs a dense network more than it gains.
_CLOTHES_SHIFT = {"kan": 0, "mlp": 0, "conv_kan": 1, "cnn": 1}
RECIPES: dict[tuple[str, str], Recipe] = {
    **{(kind, "mnist"): recipe for kind, recipe in _LARGE.items()},
    **{(k, "fashion_mnist"): replace(r, shift=_CLOTHES_SHIFT[k]) for k, r in _LARGE.items()},
    **{(kind, "digits"): recipe for kind, recipe in _SMALL.items()},
}
"""(Kind of network, data set) to recipe."""


def recipe_for(kind: str, dataset: str) -> Recipe:
    """The recipe of a network on a data set; one of its own takes MNIST's.

    Example:
        >>> recipe_for("kan", "mnist").hidden_dim
        64

    """
    return RECIPES.get((kind, dataset), RECIPES[kind, "mnist"])


def basis_of(name: str, grid_size: int) -> AbstractBasis:
    """A basis of a given fineness on the range where normalised numbers lie.

    Args:
        name: A name, or ``"module:Class"`` for one that takes ``grid_size``.
        grid_size: Cells, centres, harmonics, degree: what the basis calls its size.

    Raises:
        InputError: If there is no such basis or it can't have this size.

    Example:
        >>> basis_of("gaussian", 6).size
        6

    """
    BASES.resolve(name)
    word, options = _SIZE.get(name, ("grid_size", {}))
    return make_basis(name, **{word: grid_size}, **options)


def make_network(
    kind: str,
    shape: tuple[int, int, int],
    classes: int,
    *,
    num_layers: int,
    hidden_dim: int,
    basis: str = "bspline",
    grid_size: int = 5,
    form: str = "expanded",
    normalize: bool = False,
    dropout: float = 0.0,
) -> nn.Module:
    """A network for images of a shape; dense ones take them as a row of numbers.

    Args:
        kind: One of `KINDS`.
        shape: Channels, height and width.
        classes: How many classes.
        num_layers: Layers, the last one included: 2 of 64 units are [784, 64, 10] on MNIST; in
            a convolutional network all but the last are stages.
        hidden_dim: Hidden units; or the channels of the last stage, halved from stage to stage
            towards the image.
        basis: The functions' basis, by name.
        grid_size: How fine it is.
        form: Of a convolutional KAN.
        normalize: Whether a dense KAN's inputs, layer by layer, are normalised over the batch.
        dropout: The probability of dropping a hidden unit.

    Raises:
        InputError: If the sizes make no network.

    Example:
        >>> make_network("mlp", (1, 28, 28), 10, num_layers=2, hidden_dim=64).widths
        [784, 64, 10]

    """
    if kind in ("kan", "mlp"):
        widths = [shape[0] * shape[1] * shape[2], *[hidden_dim] * (num_layers - 1), classes]
        if kind == "mlp":
            return MLP(widths, dropout=dropout)
        own = basis_of(basis, grid_size)
        return KAN(widths, own, normalize="batch" if normalize else None, dropout=dropout)
    if num_layers < 2:
        raise InputError(
            f"a convolutional network needs num_layers of at least 2, got {num_layers}: stages "
            f"and the last layer"
        )
    channels = [max(1, hidden_dim >> place) for place in reversed(range(num_layers - 1))]
    if kind == "cnn":
        return CNN(shape, classes, channels, dropout=dropout)
    return ConvKAN(shape, classes, channels, form, basis_of(basis, grid_size), dropout=dropout)


def hidden_within(parameters: int, kind: str, *shape_and_classes: Any, **options: Any) -> int:
    """The largest ``hidden_dim`` with which the network has at most so many parameters.

    Args:
        parameters: How many there may be.
        kind: One of `KINDS`.
        shape_and_classes: As `make_network` takes them.
        options: As `make_network` takes them, without ``hidden_dim``.

    Example:
        >>> hidden_within(50_890, "mlp", (1, 28, 28), 10, num_layers=2)
        64

    """
    return largest(
        lambda hidden: make_network(kind, *shape_and_classes, hidden_dim=hidden, **options),
        parameters,
    )


def takes_rows(model: nn.Module) -> bool:
    """Whether the network takes an image as a row of numbers."""
    return isinstance(model, (KAN, MLP))
