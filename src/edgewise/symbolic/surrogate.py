"""A polynomial that stands in for an unknown function, to ask it for derivatives."""

import math
from collections.abc import Iterator
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor


class Surrogate(NamedTuple):
    """A polynomial of total degree at most d, in coordinates scaled to [-1, 1].

    Attributes:
        powers: (T, I), the degree of each Chebyshev polynomial in each term.
        numbers: (T,), what multiplies the terms.
        middle: (I,), where the coordinates are 0.
        half: (I,), the length that is 1.
        error: Its mean squared error on rows that it was not fitted to, relative to the variance.

    """

    powers: Tensor
    numbers: Float[Tensor, " T"]
    middle: Float[Tensor, " I"]
    half: Float[Tensor, " I"]
    error: float

    def gradient(self, z: Float[Tensor, "N I"]) -> Float[Tensor, "N I"]:
        """The derivatives with respect to z."""
        values, slopes = _chebyshev((z - self.middle) / self.half, int(self.powers.max()))
        found = []
        for i in range(z.shape[1]):
            product = torch.ones(len(z), len(self.powers), dtype=z.dtype)
            for k in range(z.shape[1]):
                product *= (slopes if k == i else values)[:, k, self.powers[:, k]]
            found.append(product @ self.numbers / self.half[i])
        return torch.stack(found, dim=1)


def surrogate(
    z: Float[Tensor, "N I"],
    t: Float[Tensor, " N"],
    most: int = 450,
    rows_per_term: int = 4,
    highest: int = 40,
) -> Surrogate:
    """The polynomial of the highest degree that the rows can bear.

    Args:
        z: Inputs.
        t: The function's values.
        most: The most terms.
        rows_per_term: How many rows are looked at for each of these.
        highest: The highest degree.

    """
    most = min(most, len(z) // 4)
    powers, middle, half = _shape(z, most, highest)
    rows = torch.linspace(0, len(z) - 1, min(rows_per_term * most, len(z))).long()
    A = terms((z[rows] - middle) / half, powers)
    fit, test = slice(None, len(rows) * 4 // 5), slice(len(rows) * 4 // 5, None)
    numbers = _solved(A[fit], t[rows][fit])
    left = A[test] @ numbers - t[rows][test]
    spread = (t[rows][test] - t[rows][fit].mean()).square().mean()
    error = float(left.square().mean() / spread.clamp(min=1e-300))
    return Surrogate(powers, numbers, middle, half, error)


def _shape(z: Tensor, most: int, highest: int) -> tuple[Tensor, Tensor, Tensor]:
    """The degrees of so many terms at most, and what scales the inputs to [-1, 1]."""
    inputs, degree = z.shape[1], 1
    while math.comb(inputs + degree + 1, inputs) <= most and degree < highest:
        degree += 1
    powers = torch.tensor(list(compositions(inputs, degree)), dtype=torch.long).reshape(-1, inputs)
    low, high = z.amin(0), z.amax(0)
    return powers, (low + high) / 2, ((high - low) / 2).clamp(min=1e-300)


def is_noisy(z: Float[Tensor, "N I"], t: Float[Tensor, " N"]) -> bool:
    """Whether polynomials of many more terms follow no better: what is left is noise."""
    few = surrogate(z, t, 120, rows_per_term=16, highest=12).error
    for most, rows_per_term in ((480, 16), (1500, 6)):
        many = surrogate(z, t, most, rows_per_term, highest=24).error
        if not 2e-10 < many < 0.3:
            return False
        if many > 0.5 * few:
            return True
        if not 2e-6 < many < 0.05:
            return False
        few = many
    return False


def is_structureless(z: Float[Tensor, "N I"], residual: Float[Tensor, " N"]) -> bool:
    r"""Whether polynomials explain no more of a residual than they do of noise.

    Of noise, p terms explain :math:`p ± \sqrt{2p}` parts in N; five times that deviation more is
    structure. False with fewer than 1000 rows, which can't tell.
    """
    if len(z) < 1000:
        return False
    r = residual - residual.mean()
    for most in (60, 400):
        powers, middle, half = _shape(z, min(most, len(z) // 20), 24)
        A = terms((z - middle) / half, powers)
        explained = float((A @ _solved(A, r) * r).sum() / r.square().sum())
        count = len(powers) - 1
        if explained * len(z) - count > 5 * math.sqrt(2 * count):
            return False
    return True


def compositions(inputs: int, degree: int) -> Iterator[tuple[int, ...]]:
    """All degrees of so many factors with at most this sum."""
    if inputs == 0:
        yield ()
        return
    for first in range(degree + 1):
        for rest in compositions(inputs - 1, degree - first):
            yield (first, *rest)


def _chebyshev(u: Tensor, degree: int) -> tuple[Tensor, Tensor]:
    """Values and slopes of T₀ … T_d, (N, I, d + 1)."""
    values, slopes = [torch.ones_like(u), u], [torch.zeros_like(u), torch.ones_like(u)]
    for _ in range(2, degree + 1):
        values.append(2 * u * values[-1] - values[-2])
        slopes.append(2 * values[-2] + 2 * u * slopes[-1] - slopes[-2])
    return torch.stack(values[: degree + 1], -1), torch.stack(slopes[: degree + 1], -1)


def terms(u: Float[Tensor, "N I"], powers: Tensor) -> Float[Tensor, "N T"]:
    """The polynomial's terms."""
    values, _ = _chebyshev(u, int(powers.max()))
    product = torch.ones(len(u), len(powers), dtype=u.dtype)
    for k in range(u.shape[1]):
        product *= values[:, k, powers[:, k]]
    return product


def _solved(A: Tensor, t: Tensor) -> Tensor:
    """Least squares by normal equations: Chebyshev polynomials are nearly orthogonal."""
    H = A.T @ A
    H.diagonal().add_(1e-13 * float(H.diagonal().max()))
    L, info = torch.linalg.cholesky_ex(H)
    if info:
        return torch.linalg.lstsq(A, t.unsqueeze(1), driver="gelsd").solution[:, 0]
    numbers = torch.cholesky_solve((A.T @ t).unsqueeze(1), L)
    left = t.unsqueeze(1) - A @ numbers
    return (numbers + torch.cholesky_solve(A.T @ left, L))[:, 0]
