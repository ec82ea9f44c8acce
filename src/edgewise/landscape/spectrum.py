"""Eigenvalues, trace and spectral density of a model's loss."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from torch import Tensor, nn

from edgewise.core import generator
from edgewise.curvature import (
    Density,
    Estimate,
    Functional,
    Gauge,
    extreme_eigenpairs,
    spectral_density,
)
from edgewise.curvature import trace as trace_of
from edgewise.landscape.operators import (
    LARGEST_MATRIX,
    Data,
    Loss,
    has_matrix,
    in_float64,
    operator,
)

EXACT = 2048
"""Up to this many parameters the density is that of all eigenvalues, one product for each."""


@dataclass(frozen=True, eq=False)
class Eigenvalues:
    """Some eigenvalues, best first; it can be indexed, iterated and made an array of.

    Attributes:
        values: (k,), in float64.
        residuals: ‖H v − λ v‖ of each: an eigenvalue lies within it.
        vectors: (n, k).
        products: Products with the operator.

    """

    values: Tensor
    residuals: Tensor
    vectors: Tensor = field(repr=False)
    products: int

    def __len__(self) -> int:
        return len(self.values)

    def __getitem__(self, index: int) -> float:
        return float(self.values[index])

    def __iter__(self) -> Iterator[float]:
        return iter(self.values.tolist())

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        return np.array(self.values.numpy(), dtype=dtype)


def top_eigenvalues(
    model: nn.Module,
    loss: Loss,
    data: Data,
    k: int = 5,
    *,
    which: str = "largest",
    matrix: str = "hessian",
    tol: float | None = None,
    seed: int = 0,
    **options: Any,
) -> Eigenvalues:
    """The k eigenvalues at one end of the spectrum, with bounds.

    Args:
        model: The model, in evaluation mode where that matters.
        loss: ``loss(prediction, target)``, the mean over examples.
        data: ``(x, y)`` batches, or one such pair.
        k: How many.
        which: ``"largest"``, ``"smallest"`` or ``"magnitude"``.
        matrix: ``"hessian"``, ``"gauss-newton"`` or ``"fisher"`` (the empirical one).
        tol: Relative accuracy of the values; None is 1e-10 in float64 and 3e-7 in float32.
        seed: Of the start vector.
        options: ``params`` (a layer's name, say), ``dtype``, ``chunk_size``, ``keep``, as in
            :class:`edgewise.curvature.Functional`.

    Raises:
        InputError: If more are asked for than there are, or the arguments do not fit.

    Example:
        >>> from edgewise.landscape import top_eigenvalues
        >>> x = torch.tensor([[1.0, 0.0], [0.0, 2.0]])
        >>> line = torch.nn.Linear(2, 1, bias=False)
        >>> top = top_eigenvalues(line, torch.nn.functional.mse_loss, (x, x[:, :1]), k=2)
        >>> [round(value, 5) for value in top]
        [4.0, 1.0]

    """
    functional = Functional(model, loss, data, **options)
    H = operator(functional, matrix)
    tol = in_float64(functional.dtype) if tol is None else tol
    found = extreme_eigenpairs(
        H,
        functional.size,
        k,
        which,
        tol=tol,
        values_only=True,
        generator=generator(seed, "eigenvalues"),
    )
    return Eigenvalues(found.values, found.residuals, found.vectors, H.products)


def trace(
    model: nn.Module,
    loss: Loss,
    data: Data,
    *,
    matrix: str = "hessian",
    products: int = 100,
    method: str = "auto",
    seed: int = 0,
    **options: Any,
) -> Estimate:
    """The trace with its stated error, see :func:`edgewise.curvature.trace`.

    It is exact for a KAN of up to 3000 parameters, and where there are no more parameters than
    ``products``. ``float(trace(...))`` is its value.

    Args:
        model: The model, in evaluation mode where that matters.
        loss: ``loss(prediction, target)``, the mean over examples.
        data: ``(x, y)`` batches, or one such pair.
        matrix: ``"hessian"``, ``"gauss-newton"`` or ``"fisher"``.
        products: How many products may be formed.
        method: ``"auto"``, ``"exact"``, ``"hutchinson"`` or ``"hutch++"``.
        seed: Of the probes.
        options: As in :func:`top_eigenvalues`.

    """
    functional = Functional(model, loss, data, **options)
    H = operator(functional, matrix)
    exact = method == "auto" and matrix != "fisher" and has_matrix(functional)
    return trace_of(
        H,
        functional.size,
        products,
        method="exact" if exact else method,
        generator=generator(seed, "trace"),
    )


def spectrum(
    model: nn.Module,
    loss: Loss,
    data: Data,
    *,
    matrix: str = "hessian",
    steps: int = 60,
    probes: int = 10,
    outliers: int = 10,
    gauge: bool = False,
    seed: int = 0,
    progress: Callable[[int, int], None] | None = None,
    **options: Any,
) -> Density:
    """The density of all eigenvalues by stochastic Lanczos quadrature, with its error.

    Args:
        model: The model, in evaluation mode where that matters.
        loss: ``loss(prediction, target)``, the mean over examples.
        data: ``(x, y)`` batches, or one such pair.
        matrix: ``"hessian"``, ``"gauss-newton"`` or ``"fisher"``.
        steps: Lanczos steps for each probe.
        probes: How many probes.
        outliers: How many eigenvalues are computed one by one.
        gauge: Whether a KAN's gauge directions, whose eigenvalue is 0 by construction, are
            left out.
        seed: Of the probes.
        progress: Called with (probes done, probes).
        options: As in :func:`top_eigenvalues`.

    Raises:
        InputError: If the arguments do not fit, or ``gauge`` is asked of a model that is no KAN.

    Example:
        >>> from edgewise.landscape import spectrum
        >>> x = torch.tensor([[1.0, 0.0], [0.0, 2.0]])
        >>> line = torch.nn.Linear(2, 1, bias=False)
        >>> density = spectrum(line, torch.nn.functional.mse_loss, (x, x[:, :1]))
        >>> density.ends()
        (1.0, 4.0)

    """
    functional = Functional(model, loss, data, **options)
    H = operator(functional, matrix)
    exact = LARGEST_MATRIX if matrix != "fisher" and has_matrix(functional) else EXACT
    return spectral_density(
        H,
        functional.size,
        steps,
        probes,
        outliers=outliers,
        exact=exact,
        gauge=Gauge(functional) if gauge else None,
        generator=generator(seed, "density"),
        progress=progress,
    )
