"""The eigenpairs at the ends of a spectrum."""

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

from edgewise.core import InputError, RunError, check_count, did_you_mean
from edgewise.curvature.krylov import Krylov, random_like

ENDS = ("largest", "smallest", "magnitude")


class Eigenpairs(NamedTuple):
    """Eigenvalues (k,) in float64, best first; vectors (n, k); residuals ‖A x − λ x‖ (k,).

    A residual bounds the error: an eigenvalue of A lies within it (Parlett 1998, §4.5).
    """

    values: Tensor
    vectors: Tensor
    residuals: Tensor


def extreme_eigenpairs(
    matvec: Callable[[Tensor], Tensor],
    n: int,
    k: int = 1,
    which: str = "largest",
    *,
    tol: float | None = None,
    values_only: bool = False,
    repeats: bool | None = None,
    start: Tensor | None = None,
    generator: torch.Generator | None = None,
    dtype: torch.dtype | None = None,
    device: torch.device | str | None = None,
    basis: int | None = None,
    products: int | None = None,
) -> Eigenpairs:
    r"""The k eigenpairs at one end, by Lanczos with full re-orthogonalisation and thick restarts.

    A pair has converged when its residual is below ``tol`` ‖A‖. Eigenvalues converge twice as
    fast as vectors: with ``values_only`` a pair has converged when the bound on its error,
    :math:`\min(r, r^2 / \text{gap})`, is below ``tol`` :math:`|λ|`.

    Args:
        matvec: v ↦ A v, A symmetric; of an :class:`Operator` dtype and device are known.
        n: The size of A.
        k: How many.
        which: ``"largest"``, ``"smallest"`` (leftmost first) or ``"magnitude"`` (of :math:`|λ|`).
        tol: None is 1e-10 in float64 and 1e-5 in float32.
        values_only: Whether the accuracy asked for is that of the values.
        repeats: Lanczos sees a repeated eigenvalue once. With True it looks again beside the
            vectors found until nothing better comes up. None is True where it matters most: for
            several of the smallest, where a Hessian has its many zeros.
        start: Where to begin, (n,), such as the last eigenvector; None is random.
        generator: Where random vectors come from; None is torch's default generator.
        dtype: None is that of the start or the operator, else float64.
        device: None is that of the start or the operator, else the CPU.
        basis: The most vectors held at once, (basis + 1) · n numbers; None is max(4 k + 60, 100).
        products: The most products; None is max(1000, 10 n / k), and never less than n.

    Raises:
        InputError: If more eigenvalues are asked for than there are, or an argument does not fit.
        RunError: If they have not converged after all products.

    Example:
        >>> A = torch.diag(torch.arange(10.0, dtype=torch.float64))
        >>> extreme_eigenpairs(lambda v: A @ v, 10, 3).values.round(decimals=9)
        tensor([9., 8., 7.], dtype=torch.float64)

    """
    _check(n, k, which)
    repeats = (which == "smallest" and k > 1) if repeats is None else repeats
    dtype = dtype or getattr(matvec if start is None else start, "dtype", torch.float64)
    device = device or getattr(matvec if start is None else start, "device", "cpu")
    tol = tol if tol is not None else 1e-10 if dtype == torch.float64 else 1e-5
    blank = torch.empty(n, dtype=dtype, device=device)
    start = random_like(blank, generator) if start is None else start.to(blank)
    limit = max(basis or max(4 * k + 60, 100), 2 * k + 4)
    krylov = Krylov(matvec, start, limit, generator)
    most = products or max(1000, n, 10 * n // k)
    values, S, residuals = _converge(krylov, k, which, tol, values_only, most)
    while repeats and not krylov.is_complete and k < n:
        krylov.shrink(values, S)
        krylov.restart_randomly()
        found, S, residuals = _converge(krylov, min(k + 1, n), which, tol, values_only, most)
        same = (found[:k] - values).abs().max() <= max(10 * tol, 1e-12) * krylov.scale
        values, S, residuals = found[:k], S[:, :k], residuals[:k]
        if same:
            break
    vectors = krylov.vectors(S)
    vectors = vectors / vectors.norm(dim=0)
    if krylov.restarts:  # the recurrence no longer knows what was left over before
        residuals = torch.stack(
            [(matvec(v) - x.to(v) * v).norm() for x, v in zip(values, vectors.T, strict=True)]
        )
        residuals = residuals.double().cpu()
    return Eigenpairs(values, vectors, residuals)


def _converge(
    krylov: Krylov, k: int, which: str, tol: float, values_only: bool, most: int
) -> tuple[Tensor, Tensor, Tensor]:
    """Extends the basis until the k wanted pairs have converged."""
    eps = torch.finfo(krylov.Q.dtype).eps
    fresh = krylov.size
    while True:
        if krylov.size == krylov.limit and not krylov.is_complete:
            theta, S, _ = krylov.ritz()
            held = _wanted(theta, which)[: k + (krylov.limit - k) // 2]
            krylov.shrink(theta[held], S[:, held])
        krylov.extend()
        # After 100 vectors the small eigenproblem is no longer free.
        if krylov.size < k or (krylov.size > 100 and krylov.size % 5 and not krylov.is_complete):
            continue
        theta, S, residuals = krylov.ritz()
        ends = _wanted(theta, which)[:k]
        norm = max(float(theta.abs().max()), krylov.scale * eps)
        if values_only:
            errors = _value_errors(theta, residuals, ends)
            allowed = (tol * theta[ends].abs()).clamp(min=4 * eps * norm)
        else:
            errors = residuals[ends]
            allowed = torch.full_like(errors, max(tol, 4 * eps) * norm)
        if krylov.is_complete or (krylov.size > fresh + 1 and bool((errors <= allowed).all())):
            return theta[ends], S[:, ends], residuals[ends]
        if krylov.products >= most:
            raise RunError(
                f"{k} eigenpairs have not converged after {krylov.products} products, residuals up "
                f"to {float(residuals[ends].max()):.1e}; raise tol, basis or products"
            )


def _wanted(theta: Tensor, which: str) -> Tensor:
    """Where the Ritz values lie in the order wanted."""
    key = {"largest": -theta, "smallest": theta, "magnitude": -theta.abs()}[which]
    return torch.argsort(key, stable=True)


def _value_errors(theta: Tensor, residuals: Tensor, ends: Tensor) -> Tensor:
    """min(r, r² / gap), the gap to the nearest interval that holds another eigenvalue."""
    apart = (theta[ends].unsqueeze(1) - theta).abs() - residuals
    apart[range(len(ends)), ends] = float("inf")
    gap = apart.min(dim=1).values
    r = residuals[ends]
    return torch.where(gap > r, r * r / gap.clamp(min=1e-300), r)


def _check(n: int, k: int, which: str) -> None:
    if which not in ENDS:
        raise InputError(f"unknown end of the spectrum {which!r}: {did_you_mean(which, ENDS)}")
    check_count("k", k)
    if k > n:
        raise InputError(f"{k} eigenvalues were asked for, but the operator has only {n}")
