"""Twins of the layers whose edges are functions."""

import mlx.core as mx
import mlx.nn as nn

from edgewise.layers import linear
from edgewise.layers.bottleneck import KANBottleneck as TorchKANBottleneck
from edgewise.layers.conv import KANConv1d, KANConv2d, KANConv3d
from edgewise.mlx.activations import BASE_ACTIVATIONS
from edgewise.mlx.stock import check_groups
from edgewise.mlx.twins import twin, twin_of


@twin_of(linear.KANLinear)
class KANLinear(nn.Module):
    """y_o = b_o + Σᵢ (w_io a(xᵢ) + Σₖ c_iko Bₖ(xᵢ)), the sum over (i, k) as one product."""

    def __init__(self, layer: linear.KANLinear) -> None:
        super().__init__()
        size, inlets, outlets = layer.coefficients.shape
        self.norm = twin(layer.norm) if layer.norm is not None else None
        self.basis = twin(layer.basis)
        self.coefficients = mx.zeros((inlets, size, outlets))
        self._activation = BASE_ACTIVATIONS[layer.base] if layer.base else None
        if layer.base:
            self.base_weight = mx.zeros((inlets, outlets))
        if layer.bias is not None:
            self.bias = mx.zeros((outlets,))

    def __call__(self, x: mx.array) -> mx.array:
        rows = x.reshape(-1, x.shape[-1])
        if self.norm is not None:
            rows = self.norm(rows)
        y = mx.flatten(self.basis(rows), -2) @ mx.flatten(self.coefficients, 0, 1)
        if "base_weight" in self:
            y = y + self._activation(rows) @ self.base_weight
        y = y + self.bias if "bias" in self else y
        return y.reshape(*x.shape[:-1], y.shape[-1])


@twin_of(KANConv1d, KANConv2d, KANConv3d)
class KANConv(nn.Module):
    """One ordinary convolution of the basis maps, and one of the base activation.

    Channels are on the last axis inside, (N, *S, C); the maps of one channel lie together.
    """

    def __init__(self, layer: KANConv2d) -> None:
        super().__init__()
        size, outlets, inlets, *kernel = layer.coefficients.shape
        check_groups(type(layer).__name__, len(kernel), layer.groups)
        self._moves = {
            "stride": layer.geometry.stride,
            "kernel_dilation": layer.geometry.dilation,
            "groups": layer.groups,
        }
        self._pads = [(0, 0), *layer.geometry.padding, (0, 0)]
        self.norm = twin(layer.norm) if layer.norm is not None else None
        self.basis = twin(layer.basis)
        self.coefficients = mx.zeros((outlets, *kernel, inlets, size))
        self._activation = BASE_ACTIVATIONS[layer.base] if layer.base else None
        if layer.base:
            self.base_weight = mx.zeros((outlets, *kernel, inlets))
        if layer.bias is not None:
            self.bias = mx.zeros((outlets,))

    def __call__(self, x: mx.array) -> mx.array:
        x = self.norm(x) if self.norm is not None else x
        # Before the functions: a padded pixel is the number 0, and its functions are B(0).
        x = mx.pad(mx.moveaxis(x, 1, -1), self._pads)
        kernel = mx.flatten(self.coefficients, -2)
        y = mx.conv_general(mx.flatten(self.basis(x), -2), kernel, **self._moves)
        if "base_weight" in self:
            y = y + mx.conv_general(self._activation(x), self.base_weight, **self._moves)
        return mx.moveaxis(y + self.bias if "bias" in self else y, -1, 1)


@twin_of(TorchKANBottleneck)
class KANBottleneck(nn.Module):
    """y = b + W * a(x) + U Φ * (D x)."""

    def __init__(self, layer: TorchKANBottleneck) -> None:
        super().__init__()
        self.squeeze, self.functions = twin(layer.squeeze), twin(layer.functions)
        self.unsqueeze = twin(layer.unsqueeze)
        if layer.plain is not None:
            self.plain = twin(layer.plain)
            self._activation = BASE_ACTIVATIONS[layer.base]
            self._pads = [(0, 0), (0, 0), *layer.functions.geometry.padding]

    def __call__(self, x: mx.array) -> mx.array:
        y = self.unsqueeze(self.functions(self.squeeze(x)))
        return y + self.plain(mx.pad(self._activation(x), self._pads)) if "plain" in self else y
