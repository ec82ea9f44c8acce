"""Whether a program in another format says what the model says, at several sizes."""

import copy
from collections.abc import Callable, Iterator, Sequence

import torch
from torch import Tensor, nn
from torch.utils import _pytree as pytree

from edgewise.core import InputError, RunError
from edgewise.export.example import Inputs

TOLERANCE = 1e-5
"""The largest difference, relative to the largest number the model gives."""

Program = Callable[[tuple[Tensor, ...]], Sequence[Tensor]]


@torch.no_grad()
def check_same(program: Program, model: nn.Module, inputs: Inputs, name: str) -> float:
    """Runs both on the example, on one sample, and on one more sample and three more steps.

    Args:
        program: From inputs to the outputs, in a row.
        model: The model as it is: its own paths, not those it is traced by.
        inputs: The example.
        name: What the program is, for messages.

    Returns:
        The largest relative difference.

    Raises:
        InputError: If the model's own numbers are not finite.
        RunError: If they differ by more than `TOLERANCE`.

    """
    reference, worst = copy.deepcopy(model).cpu().eval(), 0.0
    for tensors in _variants(inputs):
        expected = pytree.tree_leaves(reference(*tensors))
        for own, other in zip(expected, program(tensors), strict=True):
            worst = max(worst, _difference(own, other, name))
    return worst


def _variants(inputs: Inputs) -> Iterator[tuple[Tensor, ...]]:
    sizes = inputs.sizes()
    yield inputs.tensors
    yield inputs.resized(**{name: 1 for name in sizes if name == "batch"})
    yield inputs.resized(**{name: n + (1 if name == "batch" else 3) for name, n in sizes.items()})


def _difference(own: Tensor, other: Tensor, name: str) -> float:
    if own.shape != other.shape:
        raise RunError(
            f"{name} gives the shape {tuple(other.shape)} where the model gives {tuple(own.shape)}"
        )
    own, other = own.double(), other.double()
    if not own.isfinite().all():
        raise InputError(
            "the model gives numbers that are not finite for the example: give another"
        )
    if not own.numel():
        return 0.0
    largest = float(own.abs().max())
    found = float((own - other).abs().max()) / (largest or 1.0)
    # Written so that NaN is refused.
    if not found <= TOLERANCE:
        raise RunError(
            f"{name} differs from the model by {found:.1e} of its largest number, more than "
            f"{TOLERANCE:.0e}; nothing was written"
        )
    return found
