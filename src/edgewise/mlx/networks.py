"""Twins of the networks of `edgewise.models`; importing this file knows all twins."""

import mlx.core as mx
import mlx.nn as nn

import edgewise.mlx.activations
import edgewise.mlx.bases
import edgewise.mlx.bsplines
import edgewise.mlx.layers
import edgewise.mlx.stock  # noqa: F401
from edgewise import models
from edgewise.mlx.twins import twin, twin_of
from edgewise.models import vision


@twin_of(models.KAN)
class KAN(nn.Module):
    """Layers with dropout between them."""

    def __init__(self, model: models.KAN) -> None:
        super().__init__()
        self.layers = [twin(layer) for layer in model.layers]
        self.dropout = twin(model.dropout)

    def __call__(self, x: mx.array) -> mx.array:
        first, *rest = self.layers
        x = first(x)
        for layer in rest:
            x = layer(self.dropout(x))
        return x


@twin_of(models.MLP)
class MLP(nn.Module):
    """Linear maps, with normalisation, activation and dropout between them."""

    def __init__(self, model: models.MLP) -> None:
        super().__init__()
        self.layers = [twin(layer) for layer in model.layers]
        self.between = [twin(between) for between in model.between]

    def __call__(self, x: mx.array) -> mx.array:
        first, *rest = self.layers
        x = first(x)
        for between, layer in zip(self.between, rest, strict=True):
            x = layer(between(x))
        return x


class _Staged(nn.Module):
    """Stages, dropout and a dense layer, which the networks put together in their own order."""

    def __init__(self, model: vision.ConvKAN | vision.CNN) -> None:
        super().__init__()
        self.stages, self.head = twin(model.stages), twin(model.head)
        self.dropout = twin(model.dropout)


@twin_of(vision.ConvKAN)
class ConvKAN(_Staged):
    """The dense layer's functions act on pixels; then the mean."""

    def __call__(self, x: mx.array) -> mx.array:
        pixels = mx.moveaxis(self.stages(x), 1, -1)
        return self.head(self.dropout(pixels)).mean(axis=(1, 2))


@twin_of(vision.CNN)
class CNN(_Staged):
    """The mean over pixels, then the dense layer."""

    def __call__(self, x: mx.array) -> mx.array:
        return self.head(self.dropout(self.stages(x).mean(axis=(-2, -1))))
