"""Building a model from a recipe of unknown origin without taking more memory than it may."""

import math
from itertools import zip_longest
from typing import Any

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode

from edgewise.core import InputError

_BY_SIZE = {"empty", "zeros", "ones", "rand", "randn", "full"}
_BY_SIZE |= {f"new_{name}" for name in ("empty", "zeros", "ones", "full")}
_BY_RANGE = {"arange", "linspace", "logspace", "eye", "randperm", "one_hot", "randint"}


class Bounded(TorchFunctionMode):
    """Within it torch may make so many numbers in all; what would pass it is refused unmade.

    It counts what is asked for by size (``empty``, ``zeros``, ``linspace``, …), and looks at what
    an operation on several tensors spreads them to.

    Args:
        numbers: How many.
        what: What is being read, for the message.

    Example:
        >>> with Bounded(100, "a file"):
        ...     torch.zeros(10**12)
        Traceback (most recent call last):
        edgewise.core.errors.InputError: a file asks for a model much larger than its weights

    """

    def __init__(self, numbers: int, what: str) -> None:
        super().__init__()
        self.left, self.what = numbers, what

    def __torch_function__(
        self, func: Any, types: Any, args: tuple = (), kwargs: dict | None = None
    ) -> Any:
        kwargs = kwargs or {}
        self.left -= _asked(getattr(func, "__name__", ""), args, kwargs)
        if self.left < 0 or _spread(args) > self.left:
            raise InputError(f"{self.what} asks for a model much larger than its weights")
        return func(*args, **kwargs)

    def check_numbers(self, value: Any) -> None:
        """Refuses a recipe in which a size, even one that torch never sees, is beyond the bound."""
        if isinstance(value, dict):
            for own in value.values():
                self.check_numbers(own)
        elif isinstance(value, int) and value > self.left:
            raise InputError(f"{self.what} asks for a model much larger than its weights")


def _asked(name: str, args: tuple, kwargs: dict) -> int:
    """How many numbers a function that makes a tensor is asked for; 0 for any other."""
    given = [a for a in (*args, *kwargs.values()) if not isinstance(a, Tensor)]
    sizes = next((a for a in given if isinstance(a, (tuple, list, torch.Size))), None)
    whole = [a for a in (given if sizes is None else sizes) if _is_whole(a)]
    if name in _BY_SIZE:
        return math.prod(whole)
    if name in _BY_RANGE:
        return math.prod(whole) if sizes is not None else max(map(abs, whole), default=0)
    return 0


def _is_whole(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _spread(args: tuple) -> int:
    """To how many numbers an operation on several tensors would spread them."""
    shapes = [a.shape[::-1] for a in args if isinstance(a, Tensor)]
    if len(shapes) < 2:
        return 0
    total = 1
    for sides in zip_longest(*shapes, fillvalue=1):
        longest = max(sides)
        if any(side not in (1, longest) for side in sides):
            # Not an operation that spreads, such as a product of matrices.
            return 0
        total *= longest
    return total
