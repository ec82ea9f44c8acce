"""What the optimisers refuse, each with the way out."""

import torch
from torch import Tensor

from edgewise.core import InputError, RunError


def check_positive(name: str, value: float) -> None:
    """Raises an :class:`InputError` unless ``value`` is a finite number above zero."""
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 < value < 1e300:
        raise InputError(f"{name} must be a positive number, got {value!r}")


def is_same(again: Tensor, before: Tensor) -> bool:
    """Whether two evaluations at the same parameters differ by rounding only."""
    tolerance = torch.finfo(before.dtype).eps ** 0.5
    return bool((again - before).abs() <= tolerance * before.abs())


def is_rounding(decrease: Tensor | float, loss: Tensor) -> bool:
    """Whether a decrease is no more than the loss's last digit; NaN is."""
    return not bool(decrease > torch.finfo(loss.dtype).eps * loss.abs())


def check_repeatable(again: Tensor, before: Tensor, name: str) -> None:
    """Raises a :class:`RunError` if the closure was not one function within a step."""
    if not is_same(again, before):
        raise RunError(
            f"{name}'s closure gave {float(before):.6g} and then {float(again):.6g} for the same "
            f"parameters; within a step it must be one function: no dropout, no new batch"
        )


def check_fixed(loss: Tensor, before: Tensor) -> None:
    """Raises an :class:`InputError` if the loss is another one than at the end of the last step."""
    if not is_same(loss, before):
        raise InputError(
            f"SSBroyden learns from differences between gradients of one loss, but at the same "
            f"parameters the loss was {float(before):.6g} and is now {float(loss):.6g}; give it "
            f"all data in every step, or use LevenbergMarquardt, SFN or HSODM with mini-batches"
        )
