r"""Structure that makes a problem smaller: factors, ratios, differences, parts that only add up.

A polynomial of all inputs (or of their logarithms), fitted to a sample, stands in for the unknown
function: its derivatives show what depends on what. Each hint is exact once it is guessed right, so
the smaller problem has data without error, but for groups, whose parts are known as well as the
polynomial fits.
"""

import itertools
import math
from collections.abc import Iterator
from fractions import Fraction
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from edgewise.symbolic.surrogate import compositions, terms


def rational(value: float, tolerance: float = 0.02) -> Fraction | None:
    """A fraction with denominator at most 4 within an absolute tolerance, or None.

    Example:
        >>> rational(-1.49), rational(0.13)
        (Fraction(-3, 2), None)

    """
    found = Fraction(value).limit_denominator(4)
    return found if abs(float(found) - value) < tolerance and abs(found) <= 6 else None


class Ridge(NamedTuple):
    """log y = p · log x + g(q · log x), or with x for log x."""

    p: list[Fraction]
    q: list[Fraction]


def power_factors(gradient: Float[Tensor, "N I"], tolerance: float) -> dict[int, Fraction]:
    """The inputs that are nothing but a factor xᵖ, by the logarithmic derivatives.

    These are constant where there is a factor.
    """
    found = {}
    for i in range(gradient.shape[1]):
        p = float(gradient[:, i].median())
        close = rational(p, max(0.03, 2 * tolerance))
        spread = float((gradient[:, i] - p).abs().quantile(0.8))
        if close is not None and close != 0 and spread < max(0.02, tolerance):
            found[i] = close
    return found


def idle_inputs(gradient: Float[Tensor, "N I"], spread: Float[Tensor, " I"]) -> list[int]:
    """Inputs that do nothing."""
    effect = gradient.square().mean(0).sqrt() * spread
    return [i for i in range(len(effect)) if effect[i] < 1e-3 * effect.max()]


def ridge(gradient: Float[Tensor, "N I"]) -> Ridge | None:
    """The one direction along which the gradient varies, if it is one.

    Then the gradient is p + g' q: its covariance has rank 1, q spans it and p is what is left,
    chosen so that as many of its entries as can be are 0.
    """
    mean = gradient.mean(0)
    centred = gradient - mean
    # Where the polynomial is poor, at the ends, single rows would decide.
    size = centred.norm(dim=1)
    centred = centred[size <= size.quantile(0.95)]
    values, vectors = torch.linalg.eigh(centred.T @ centred)
    if len(values) < 2 or values[-2] > 0.01 * values[-1] or values[-1] <= 0:
        return None
    q = vectors[:, -1]
    lead = int(q.abs().argmax())
    best: Ridge | None = None
    for unit in q[q.abs() > 0.15].tolist():
        fractions = [rational(float(v) / unit, 0.06) for v in q]
        if any(f is None for f in fractions):
            continue
        exact = torch.tensor([float(f) for f in fractions], dtype=q.dtype)
        for i in [lead, *range(len(q))]:
            if not fractions[i]:
                continue
            p = mean - exact * (mean[i] / exact[i])
            rounded = [rational(float(v), 0.15) for v in p]
            if any(f is None for f in rounded):
                continue
            found = Ridge(rounded, fractions)
            if best is None or _weight(found) < _weight(best):
                best = found
    return best


def _weight(found: Ridge) -> float:
    sizes = [abs(f.numerator) * f.denominator for f in (*found.p, *found.q)]
    return sum(sizes) + 0.5 * sum(s > 0 for s in sizes)


class Combination(NamedTuple):
    """Two inputs that act as one: x_i + factor x_j, or x_i x_j^factor."""

    i: int
    j: int
    factor: Fraction


def combinations(gradient: Float[Tensor, "N I"], tolerance: float) -> list[Combination]:
    """Pairs whose derivatives stand in a fixed ratio, the surest first."""
    found = []
    for i, j in itertools.combinations(range(gradient.shape[1]), 2):
        a, b = gradient[:, i], gradient[:, j]
        aa, bb, ab = float(a @ a), float(b @ b), float(a @ b)
        if aa == 0 or bb == 0:
            continue
        ratio = ab / aa
        left = 1 - ab * ab / (aa * bb)
        close = rational(ratio, 0.05)
        if close and left < max(1e-3, tolerance):
            found.append((left, Combination(i, j, close)))
    return [c for _, c in sorted(found, key=lambda pair: pair[0])]


class Groups(NamedTuple):
    """Sets of inputs whose parts only add up, and the parts on all rows."""

    sets: list[list[int]]
    parts: list[Float[Tensor, " N"]]
    error: float


def groups(z: Float[Tensor, "N I"], t: Float[Tensor, " N"]) -> Groups | None:
    """The finest such sets of at most two inputs each, or of one and a rest of two."""
    inputs = z.shape[1]
    if inputs < 2 or inputs > 6:
        return None
    low, high = z.amin(0), z.amax(0)
    u = (z - (low + high) / 2) / ((high - low) / 2).clamp(min=1e-300)
    best: Groups | None = None
    for sets in _partitions(list(range(inputs))):
        found = _additive_fit(u, t, sets)
        if found.error < 2e-3 and (best is None or len(sets) > len(best.sets)):
            best = found
    return best


def _partitions(items: list[int]) -> Iterator[list[list[int]]]:
    """Into sets of one or two, at least two sets."""

    def split(rest: list[int]) -> Iterator[list[list[int]]]:
        if not rest:
            yield []
            return
        first, *others = rest
        for found in split(others):
            yield [[first], *found]
        for k, other in enumerate(others):
            for found in split(others[:k] + others[k + 1 :]):
                yield [[first, other], *found]

    return (sets for sets in split(items) if len(sets) > 1)


def _additive_fit(u: Tensor, t: Tensor, sets: list[list[int]]) -> Groups:
    degrees = {1: 16, 2: 13}
    blocks = []
    for members in sets:
        powers = [p for p in compositions(len(members), degrees[len(members)]) if any(p)]
        blocks.append(terms(u[:, members], torch.tensor(powers).reshape(-1, len(members))))
    A = torch.cat([*blocks, torch.ones_like(t).unsqueeze(1)], dim=1)
    if A.shape[1] > 0.6 * len(t):
        return Groups(sets, [], math.inf)
    cut = len(t) * 4 // 5
    numbers = torch.linalg.lstsq(A[:cut], t[:cut].unsqueeze(1)).solution[:, 0]
    error = float((A[cut:] @ numbers - t[cut:]).square().mean() / t.var().clamp(min=1e-300))
    sizes = [b.shape[1] for b in blocks]
    parts = [b @ n for b, n in zip(blocks, numbers[:-1].split(sizes), strict=True)]
    return Groups(sets, parts, error)
