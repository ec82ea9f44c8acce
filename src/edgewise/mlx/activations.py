"""Pointwise functions, plainly.

`mlx.nn`'s own are compiled when they are first called, which on a CPU takes the system's C++
compiler and tens of seconds.
"""

import math
from collections.abc import Callable

import mlx.core as mx
import mlx.nn as nn
import torch

from edgewise.mlx.twins import TWINS

Function = Callable[[mx.array], mx.array]


def silu(x: mx.array) -> mx.array:
    """X σ(x)."""
    return x * mx.sigmoid(x)


def relu(x: mx.array) -> mx.array:
    """max(x, 0)."""
    return mx.maximum(x, 0)


def gelu(x: mx.array) -> mx.array:
    """X Φ(x), with the normal distribution's Φ."""
    return x * (1 + mx.erf(x / math.sqrt(2))) / 2


def gelu_tanh(x: mx.array) -> mx.array:
    """X (1 + tanh(√(2/π) (x + 0.044715 x³))) / 2, which is close to x Φ(x)."""
    return x * (1 + mx.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x * x * x))) / 2


def identity(x: mx.array) -> mx.array:
    """The same x."""
    return x


BASE_ACTIVATIONS: dict[str, Function] = {"silu": silu, "tanh": mx.tanh, "identity": identity}
"""The twins of `edgewise.layers.linear.BASE_ACTIVATIONS`."""


class Pointwise(nn.Module):
    """A function of each number, as a module."""

    def __init__(self, function: Function) -> None:
        super().__init__()
        self.function = function

    def __call__(self, x: mx.array) -> mx.array:
        return self.function(x)


TWINS[torch.nn.SiLU] = lambda module: Pointwise(silu)
TWINS[torch.nn.ReLU] = lambda module: Pointwise(relu)
TWINS[torch.nn.Tanh] = lambda module: Pointwise(mx.tanh)
TWINS[torch.nn.Identity] = lambda module: Pointwise(identity)
TWINS[torch.nn.GELU] = lambda module: Pointwise(gelu if module.approximate == "none" else gelu_tanh)
