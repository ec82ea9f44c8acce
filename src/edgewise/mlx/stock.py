"""Twins of torch's own modules; shapes are torch's, so channels come first between modules."""

import mlx.core as mx
import mlx.nn as nn
import torch

from edgewise.core import InputError
from edgewise.mlx.twins import twin, twin_of

t = torch.nn


@twin_of(t.Linear)
class Linear(nn.Module):
    """x Wᵀ + b. MLX's own draws initial values, here for nothing, from the user's random state."""

    def __init__(self, module: t.Linear) -> None:
        super().__init__()
        self.weight = mx.zeros((module.out_features, module.in_features))
        if module.bias is not None:
            self.bias = mx.zeros((module.out_features,))

    def __call__(self, x: mx.array) -> mx.array:
        y = x @ self.weight.T
        return y + self.bias if "bias" in self else y


@twin_of(t.Dropout)
def dropout(module: t.Dropout) -> nn.Module:
    """MLX's own; masks are drawn from MLX's random state."""
    return nn.Dropout(module.p)


@twin_of(t.Dropout2d)
def dropout_of_channels(module: t.Dropout2d) -> nn.Module:
    """MLX's own; it wants the channels last."""
    return nn.Dropout2d(module.p)


@twin_of(t.LayerNorm)
def layer_norm(module: t.LayerNorm) -> nn.Module:
    """The same, over the last axis."""
    if len(module.normalized_shape) != 1:
        raise InputError(
            f"MLX normalises over the last axis only, this LayerNorm over "
            f"{tuple(module.normalized_shape)}"
        )
    (size,) = module.normalized_shape
    return nn.LayerNorm(
        size, module.eps, affine=module.elementwise_affine, bias=module.bias is not None
    )


@twin_of(t.Sequential)
class Sequential(nn.Module):
    """One after another."""

    def __init__(self, module: t.Sequential) -> None:
        super().__init__()
        self.layers = [twin(member) for member in module]

    def __call__(self, x: mx.array) -> mx.array:
        for layer in self.layers:
            x = layer(x)
        return x


@twin_of(t.Flatten)
class Flatten(nn.Module):
    """Some axes as one."""

    def __init__(self, module: t.Flatten) -> None:
        super().__init__()
        self.start, self.end = module.start_dim, module.end_dim

    def __call__(self, x: mx.array) -> mx.array:
        return mx.flatten(x, self.start, self.end)


@twin_of(t.BatchNorm1d, t.BatchNorm2d, t.BatchNorm3d)
class BatchNorm(nn.BatchNorm):
    """MLX's own, with channels on the second axis."""

    def __init__(self, module: t.BatchNorm2d) -> None:
        if module.momentum is None:
            raise InputError("MLX has no BatchNorm with momentum=None: give it a number")
        super().__init__(
            module.num_features,
            module.eps,
            module.momentum,
            module.affine,
            module.track_running_stats,
        )

    def __call__(self, x: mx.array) -> mx.array:
        x = mx.moveaxis(x, 1, -1)
        y = super().__call__(x.reshape(-1, x.shape[-1])).reshape(x.shape)
        return mx.moveaxis(y, -1, 1)


@twin_of(t.Conv1d, t.Conv2d, t.Conv3d)
class Conv(nn.Module):
    """A convolution with zero padding; the weight is (O, *S, C)."""

    def __init__(self, module: t.Conv2d) -> None:
        super().__init__()
        if module.padding_mode != "zeros":
            raise InputError(
                f"MLX's convolutions pad with zeros, not with padding_mode={module.padding_mode!r}"
            )
        check_groups(type(module).__name__, len(module.stride), module.groups)
        self.stride, self.dilation = module.stride, module.dilation
        self.groups, self.padding = module.groups, _pads(module)
        outlets, inlets, *kernel = module.weight.shape
        self.weight = mx.zeros((outlets, *kernel, inlets))
        if module.bias is not None:
            self.bias = mx.zeros((outlets,))

    def __call__(self, x: mx.array) -> mx.array:
        x = mx.moveaxis(x, 1, -1)
        y = mx.conv_general(
            x,
            self.weight,
            stride=self.stride,
            padding=self.padding,
            kernel_dilation=self.dilation,
            groups=self.groups,
        )
        return mx.moveaxis(y + self.bias if "bias" in self else y, -1, 1)


def check_groups(name: str, dims: int, groups: int) -> None:
    """Refuses what MLX's convolutions can't do."""
    if dims == 3 and groups > 1:
        raise InputError(
            f"MLX convolves in groups over one or two axes only: {name} with groups={groups} "
            f"has no twin"
        )


def _pads(module: t.Conv2d) -> tuple[list[int], list[int]]:
    """How many zeros before and after each axis; "same" puts the odd one after."""
    if module.padding == "valid":
        return [0] * len(module.stride), [0] * len(module.stride)
    if module.padding == "same":
        total = [d * (k - 1) for d, k in zip(module.dilation, module.kernel_size, strict=True)]
        return [n // 2 for n in total], [n - n // 2 for n in total]
    return list(module.padding), list(module.padding)


@twin_of(t.MaxPool2d)
class MaxPool2d(nn.Module):
    """Maxima of windows."""

    def __init__(self, module: t.MaxPool2d) -> None:
        super().__init__()
        if module.dilation not in (1, (1, 1)) or module.ceil_mode:
            raise InputError("MLX's MaxPool2d knows neither dilation nor ceil_mode")
        self._pool = nn.MaxPool2d(module.kernel_size, module.stride, module.padding)

    def __call__(self, x: mx.array) -> mx.array:
        return mx.moveaxis(self._pool(mx.moveaxis(x, 1, -1)), -1, 1)
