"""The trace of an operator from a few products."""

from collections.abc import Callable
from dataclasses import replace

import torch
from torch import Tensor

from edgewise.core import InputError, check_count, did_you_mean
from edgewise.curvature.estimate import Estimate, mean_of
from edgewise.curvature.krylov import signs_like

METHODS = ("auto", "exact", "hutchinson", "hutch++")


def trace(
    matvec: Callable[[Tensor], Tensor],
    n: int,
    products: int = 100,
    *,
    method: str = "auto",
    generator: torch.Generator | None = None,
    dtype: torch.dtype | None = None,
    device: torch.device | str | None = None,
) -> Estimate:
    r"""The trace of A with its standard error.

    Hutchinson (1990) averages :math:`z^\top A z` over random signs z. Hutch++ (Meyer, Musco, Musco
    & Woodruff 2021, alg. 1) spends a third of the products on a basis Q of what A does most, takes
    the trace there exactly and averages only over the rest:

    .. math::
        \operatorname{tr} A = \operatorname{tr} Q^\top A Q
            + E\,[z^\top (I - QQ^\top) A (I - QQ^\top) z]

    It pays where few eigenvalues dominate, as in a KAN, and not where the bulk does. ``"auto"``
    finds out: a fifth of the products go into a pilot that measures which share of
    :math:`‖A‖_F^2` lies in the span of a tenth of them. Up to ``products`` parameters, it takes
    the diagonal itself.

    Args:
        matvec: v ↦ A v; of an :class:`Operator` dtype and device are known.
        n: The size of A.
        products: How many products may be formed, at least 12 unless A is smaller.
        method: ``"auto"``, ``"exact"`` (n products), ``"hutchinson"`` or ``"hutch++"``.
        generator: Where random signs come from; None is torch's default generator.
        dtype: None is that of the operator, else float64.
        device: None is that of the operator, else the CPU.

    Raises:
        InputError: If the method is unknown or there are too few products.

    Example:
        >>> A = torch.diag(torch.arange(5.0, dtype=torch.float64))
        >>> trace(lambda v: A @ v, 5).value
        10.0

    """
    if method not in METHODS:
        raise InputError(f"unknown method {method!r}: {did_you_mean(method, METHODS)}")
    blank = like(matvec, n, dtype, device)
    if method == "exact" or (method == "auto" and n <= products):
        return _exact(matvec, blank)
    if products < 12:
        raise InputError(f"an estimate with its error needs at least 12 products, got {products}")
    draw = lambda: signs_like(blank, generator)  # noqa: E731
    if method == "hutchinson":
        return mean_of(_plain(matvec, draw, products), products)
    q = products // 3 if method == "hutch++" else products // 10
    Z = torch.stack([draw() for _ in range(min(max(2, q), n))], dim=1)
    AZ = _times(matvec, Z)
    return (_deflated if method == "hutch++" else _after_pilot)(matvec, draw, Z, AZ, products)


def like(
    matvec: Callable[[Tensor], Tensor],
    n: int,
    dtype: torch.dtype | None,
    device: torch.device | str | None,
) -> Tensor:
    """An empty vector as the operator takes them."""
    check_count("n", n)
    dtype = dtype or getattr(matvec, "dtype", torch.float64)
    return torch.zeros(n, dtype=dtype, device=device or getattr(matvec, "device", "cpu"))


def unit_products(matvec: Callable[[Tensor], Tensor], blank: Tensor) -> Tensor:
    """The diagonal of A in float64, one product for each entry."""
    found = torch.empty(len(blank), dtype=torch.float64)
    for i in range(len(blank)):
        e = torch.zeros_like(blank)
        e[i] = 1
        found[i] = matvec(e)[i]
    return found


def _exact(matvec: Callable[[Tensor], Tensor], blank: Tensor) -> Estimate:
    diagonal = unit_products(matvec, blank)
    rounding = torch.finfo(blank.dtype).eps * float(diagonal.abs().sum()) * 10
    return Estimate(float(diagonal.sum()), rounding, 0, len(blank))


def _plain(matvec: Callable, draw: Callable[[], Tensor], count: int) -> list[float]:
    return [float(_dot(z, matvec(z))) for z in (draw() for _ in range(count))]


def _after_pilot(
    matvec: Callable, draw: Callable[[], Tensor], Z: Tensor, AZ: Tensor, products: int
) -> Estimate:
    """Goes on with the method that the pilot favours; plain samples of the pilot are not lost."""
    Q = torch.linalg.qr(AZ).Q
    AQ = _times(matvec, Q)
    # E‖A z‖² = ‖A‖_F²; what Q holds of it would be gone from the variance.
    whole, held = AZ.square().sum() / AZ.shape[1], AQ.square().sum()
    if held > 0.5 * whole:
        more = products // 3 - Q.shape[1]
        new = torch.stack([draw() for _ in range(max(1, min(more, Z.shape[0] - Q.shape[1])))], 1)
        W = _times(matvec, new)
        return _rest(matvec, draw, *_widen(matvec, Q, AQ, W), products, 2 * Q.shape[1] + W.shape[1])
    pilot = [float(_dot(z, w)) for z, w in zip(Z.T, AZ.T, strict=True)]
    used = Z.shape[1] + Q.shape[1]
    return mean_of(pilot + _plain(matvec, draw, products - used), products)


def _deflated(
    matvec: Callable, draw: Callable[[], Tensor], Z: Tensor, AZ: Tensor, products: int
) -> Estimate:
    Q = torch.linalg.qr(AZ).Q
    return _rest(matvec, draw, Q, _times(matvec, Q), products, 2 * Q.shape[1])


def _widen(matvec: Callable, Q: Tensor, AQ: Tensor, W: Tensor) -> tuple[Tensor, Tensor]:
    """The basis with the columns of W that are new to it, and A times it."""
    for _ in range(2):
        W = W - Q @ (Q.T @ W)
    new = torch.linalg.qr(W).Q
    new = torch.linalg.qr(new - Q @ (Q.T @ new)).Q
    return torch.cat([Q, new], 1), torch.cat([AQ, _times(matvec, new)], 1)


def _rest(
    matvec: Callable, draw: Callable, Q: Tensor, AQ: Tensor, products: int, used: int
) -> Estimate:
    """The trace of QᵀAQ exactly, and the average over what lies beside Q."""
    used = max(used, 2 * Q.shape[1])
    inside = float(_dot(Q.reshape(-1), AQ.reshape(-1)))
    samples = []
    for _ in range(max(4, products - used)):
        z = draw()
        z = z - Q @ (Q.T @ z)
        samples.append(inside + float(_dot(z, matvec(z))))
    found = mean_of(samples, used + len(samples))
    # Where Q holds all of A, the samples agree to the last digit and only rounding is left.
    rounding = 10 * torch.finfo(Q.dtype).eps * float(AQ.abs().sum())
    return replace(found, standard_error=max(found.standard_error, rounding))


def _times(matvec: Callable, V: Tensor) -> Tensor:
    return torch.stack([matvec(v) for v in V.unbind(1)], dim=1)


def _dot(a: Tensor, b: Tensor) -> Tensor:
    return torch.dot(a.double(), b.double())
