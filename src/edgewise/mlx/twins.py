"""The twin in MLX of each torch module, by its class."""

from collections.abc import Callable
from typing import Any, TypeVar

import mlx.nn as nn
import torch

from edgewise.core import InputError

T = TypeVar("T", bound=Callable[[Any], nn.Module])

TWINS: dict[type[torch.nn.Module], Callable[[Any], nn.Module]] = {}
"""Torch class to what makes its twin of a module of that class."""


def twin_of(*classes: type[torch.nn.Module]) -> Callable[[T], T]:
    """Class decorator: makes twins of modules of these classes."""

    def put(maker: T) -> T:
        TWINS.update(dict.fromkeys(classes, maker))
        return maker

    return put


def twin(module: torch.nn.Module) -> nn.Module:
    """The module of MLX that computes the same; its weights are not yet those of the original.

    Raises:
        InputError: If there is none for this class, or for one of a module within.

    """
    maker = TWINS.get(type(module))
    if maker is None:
        known = ", ".join(sorted({cls.__name__ for cls in TWINS}))
        raise InputError(f"MLX has no twin of {type(module).__name__}: use one of {known}")
    return maker(module)
