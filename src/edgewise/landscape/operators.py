"""The operator to ask: closed form where there is one, products elsewhere."""

from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor, nn

from edgewise.core import InputError, did_you_mean
from edgewise.curvature import ClosedForm, Functional, Operator, obstacle

Loss = Callable[[Tensor, Any], Tensor]
Data = Iterable[Any]

LARGEST_MATRIX = 3000
"""Up to this many parameters a KAN's Hessian is formed as a matrix: 72 MB in float64."""

MATRICES = ("hessian", "gauss-newton", "fisher")


def operator(
    functional: Functional, matrix: str = "hessian", theta: Tensor | None = None
) -> Operator:
    """Hessian, Gauss-Newton matrix or empirical Fisher of a functional at θ.

    Raises:
        InputError: If there is no such matrix.

    """
    if matrix not in MATRICES:
        raise InputError(f"unknown matrix {matrix!r}: {did_you_mean(matrix, MATRICES)}")
    if has_matrix(functional) and matrix != "fisher":
        closed = ClosedForm(functional)
        A = closed.hessian(theta) if matrix == "hessian" else closed.gauss_newton(theta)
        return Operator(lambda v: A @ v, functional.size, functional.dtype, functional.device)
    if matrix == "hessian":
        return functional.hessian(theta)
    if matrix == "gauss-newton":
        return functional.gauss_newton(theta)
    return functional.empirical_fisher(theta)


def has_matrix(functional: Functional) -> bool:
    """Whether the Hessian is cheap as a matrix."""
    return functional.size <= LARGEST_MATRIX and obstacle(functional) is None


class Evaluating:
    """Inside, the model is in evaluation mode; afterwards every module is as it was."""

    def __init__(self, model: nn.Module) -> None:
        self.model = model

    def __enter__(self) -> nn.Module:
        self.modes = {module: module.training for module in self.model.modules()}
        return self.model.eval()

    def __exit__(self, *_: object) -> None:
        for module, mode in self.modes.items():
            module.training = mode


def in_float64(dtype: torch.dtype | None) -> float:
    """The relative accuracy asked of eigenvalues in this dtype."""
    return 1e-10 if dtype == torch.float64 else 3e-7
