"""What a model is traced with: inputs by name, and which of their axes may have any size."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from edgewise.core import InputError
from edgewise.encoders.base import AbstractTimeEncoder
from edgewise.export.bundle import check_module
from edgewise.layers import KAF, GroupRational, KANLinear, KernelActivation
from edgewise.layers.conv import AbstractKANConv
from edgewise.models import (
    CNN,
    KAN,
    MLP,
    ConvKAN,
    Hybrid,
    SequenceClassifier,
    SeriesClassifier,
    TextClassifier,
)

Axes = dict[int, str]

BATCH: Axes = {0: "batch"}
SEQUENCE: Axes = {0: "batch", 1: "length"}
_STEPS = torch.tensor([[0.1, 0.3, 0.6, 0.9], [0.2, 0.4, 0.0, 0.0]])
_LENGTHS = torch.tensor([4, 2])


@dataclass(frozen=True)
class Inputs:
    """Inputs of a model.

    Attributes:
        names: Their names.
        tensors: An example, of two samples at least.
        axes: For each input the axes that may have any size, by name.

    """

    names: tuple[str, ...]
    tensors: tuple[Tensor, ...]
    axes: tuple[Axes, ...]

    def resized(self, **sizes: int) -> tuple[Tensor, ...]:
        """The example with other sizes of named axes, cut or repeated; lengths stay within.

        Example:
            >>> inputs = example_of(ew.models.SequenceClassifier("raw"))
            >>> [tuple(t.shape) for t in inputs.resized(batch=3, length=7)]
            [(3, 7), (3,)]

        """
        found = []
        for name, tensor, axes in zip(self.names, self.tensors, self.axes, strict=True):
            for axis, called in axes.items():
                size = sizes.get(called, tensor.shape[axis])
                rows = torch.arange(size) % tensor.shape[axis]
                tensor = tensor.index_select(axis, rows)
            if name == "lengths" and "length" in sizes:
                tensor = tensor.clamp(max=sizes["length"])
            found.append(tensor)
        return tuple(found)

    def sizes(self) -> dict[str, int]:
        """The sizes of the named axes in the example."""
        pairs = zip(self.tensors, self.axes, strict=True)
        return {name: t.shape[axis] for t, axes in pairs for axis, name in axes.items()}


def inputs_for(
    model: nn.Module,
    example: Tensor | Sequence[Tensor] | None = None,
    axes: Sequence[Axes] | None = None,
) -> Inputs:
    """An example and its axes, from what was given and from what is known of the model.

    Args:
        model: The model.
        example: Its inputs; None takes a made-up example where the class is known.
        axes: For each input the axes that may have any size, such as ``{0: "batch"}``; None takes
            those of a known class, and else the first axis of each input.

    Raises:
        InputError: If there is no example, it is not of tensors of two samples at least, or the
            axes don't fit it.

    """
    known = _known(check_module(model))
    if example is None and known is None:
        raise InputError(
            f"{type(model).__name__} is traced with an example of its inputs: give one"
        )
    if example is None:
        tensors = known.tensors
    else:
        tensors = tuple(example) if isinstance(example, (tuple, list)) else (example,)
    if not tensors or not all(isinstance(t, Tensor) and t.ndim for t in tensors):
        raise InputError("example must be a tensor, or one for each input, with a first axis")
    names = tuple(f"input_{k}" for k in range(len(tensors))) if known is None else known.names
    if known is not None and axes is None:
        axes = known.axes[: len(tensors)]
    axes = [BATCH] * len(tensors) if axes is None else list(axes)
    _check_axes(tensors, names, axes, type(model).__name__)
    return Inputs(names[: len(tensors)], tuple(t.detach().cpu() for t in tensors), tuple(axes))


def _check_axes(
    tensors: tuple[Tensor, ...], names: tuple[str, ...], axes: Sequence[Axes], kind: str
) -> None:
    if len(tensors) > len(names):
        raise InputError(f"{kind} takes {', '.join(names)}, got {len(tensors)} inputs as example")
    if len(axes) != len(tensors):
        raise InputError(f"axes must be one dictionary for each of {len(tensors)} inputs")
    for name, tensor, own in zip(names, tensors, axes, strict=False):
        for axis, called in own.items():
            if axis >= tensor.ndim or tensor.shape[axis] < 2:
                raise InputError(
                    f"the example {name!r} must be at least 2 long on axis {axis} ({called!r}), "
                    f"which may then have any size; got shape {tuple(tensor.shape)}"
                )


def example_of(model: nn.Module) -> Inputs:
    """A made-up example for a model of Edgewise.

    Raises:
        InputError: If its class is not known.

    Example:
        >>> example_of(ew.models.KAN([2, 5, 1])).tensors[0].shape
        torch.Size([2, 2])

    """
    return inputs_for(model)


def _known(model: nn.Module) -> Inputs | None:
    make = next((make for kinds, make in _KNOWN.items() if isinstance(model, kinds)), None)
    return None if make is None else make(model)


def _spread(*shape: int) -> Tensor:
    """Different numbers in [-1, 1], the same each time."""
    count = torch.Size(shape).numel()
    return (torch.arange(count) * 0.618034 % 1 * 2 - 1).reshape(shape)


def _like(model: nn.Module, tensor: Tensor) -> Tensor:
    parameter = next((p for p in model.parameters() if p.is_floating_point()), tensor)
    return tensor.to(parameter.dtype)


def _flat(width: Callable[[nn.Module], int]) -> Callable[[nn.Module], Inputs]:
    def make(model: nn.Module) -> Inputs:
        return Inputs(("x",), (_like(model, _spread(2, width(model))),), (BATCH,))

    return make


def _images(model: nn.Module) -> Inputs:
    return Inputs(("x",), (_like(model, _spread(2, *model.image_shape)),), (BATCH,))


def _maps(model: AbstractKANConv) -> Inputs:
    sides = [span + 3 for span in model.geometry.span]
    return Inputs(("x",), (_like(model, _spread(2, model.in_channels, *sides)),), (BATCH,))


def _streams(model: SequenceClassifier) -> Inputs:
    inputs = Inputs(("times", "lengths"), (_times(model.encoder), _LENGTHS), (SEQUENCE, BATCH))
    return _with_features(inputs, model, model.feature_dim or model.encoder.feature_dim)


def _encoder(model: AbstractTimeEncoder) -> Inputs:
    times = _times(model)
    mask = torch.arange(times.shape[1]) < _LENGTHS.unsqueeze(-1)
    inputs = Inputs(("times", "mask"), (times, mask), (SEQUENCE, SEQUENCE))
    return _with_features(inputs, model, model.feature_dim)


def _with_features(inputs: Inputs, model: nn.Module, width: int) -> Inputs:
    if not width:
        return inputs
    features = _like(model, _spread(*_STEPS.shape, width))
    names, axes = (*inputs.names, "features"), (*inputs.axes, SEQUENCE)
    return Inputs(names, (*inputs.tensors, features), axes)


def _times(encoder: AbstractTimeEncoder) -> Tensor:
    """In the encoder's own span; float64, as unix seconds need."""
    return encoder.origin.cpu() + encoder.span.cpu() * _STEPS.double()


def _series(model: SeriesClassifier) -> Inputs:
    x = _like(model, _spread(*_STEPS.shape, model.feature_dim))
    return Inputs(("x", "lengths"), (x, _LENGTHS), (SEQUENCE, BATCH))


def _texts(model: TextClassifier) -> Inputs:
    tokens = torch.arange(_STEPS.numel()).reshape(_STEPS.shape) % model.vocabulary
    return Inputs(("tokens", "lengths"), (tokens, _LENGTHS), (SEQUENCE, BATCH))


_KNOWN: dict[tuple[type, ...], Callable[[nn.Module], Inputs]] = {
    (KAN, MLP, Hybrid): _flat(lambda model: model.widths[0]),
    (KANLinear, KernelActivation): _flat(lambda layer: layer.in_features),
    (KAF, GroupRational): _flat(lambda layer: layer.features),
    (ConvKAN, CNN): _images,
    (AbstractKANConv,): _maps,
    (SequenceClassifier,): _streams,
    (AbstractTimeEncoder,): _encoder,
    (SeriesClassifier,): _series,
    (TextClassifier,): _texts,
}
