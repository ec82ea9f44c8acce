r"""Sums of few terms, each a product: :math:`T(y) = c_0 + \sum_k c_k Π_i f_{ki}(x_i)`.

Each f is a simple function of one input, without constants of its own.

All products of a dictionary are compared at once, by correlation; sums grow one term at a time from
the best few dozen, each new term judged by what it explains beside those that are in.
"""

from collections.abc import Iterator
from typing import NamedTuple

import sympy
import torch
from jaxtyping import Float
from torch import Tensor

from edgewise.symbolic.atoms import LEVELS, ONE, Atom
from edgewise.symbolic.deadline import Deadline
from edgewise.symbolic.transforms import Transform, transformed

POINTS = 96
"""How many points choose the terms; all of them verify."""


_MOST = 40_000


class TermSum(NamedTuple):
    """A sum of terms that fits, and its relative mean squared error on all points."""

    expression: sympy.Expr
    error: float
    terms: int


class _Dictionary:
    """Products of one atom for each input, at most ``order`` of them not 1, on a sample."""

    def __init__(self, x: Tensor, few: Tensor, atoms: list[list[Atom]], order: int) -> None:
        self.x, self.atoms = x, atoms
        counts, index = torch.zeros(1), torch.zeros(1, dtype=torch.long)
        rows = torch.ones(1, len(few), dtype=x.dtype)
        for z, pool in zip(x[few].T, atoms, strict=True):
            column = torch.stack([a.value(z) for a in pool])
            others = torch.tensor([float(a is not ONE) for a in pool])
            grown = (counts.unsqueeze(1) + others).flatten()
            fits = (grown <= order).nonzero()[:, 0]
            before, atom = fits // len(pool), fits % len(pool)
            counts, index = grown[fits], index[before] * len(pool) + atom
            rows = rows[before] * column[atom]
        centred = rows - rows.mean(1, keepdim=True)
        size = centred.norm(dim=1)
        good = torch.isfinite(size) & (size > 1e-9 * rows.norm(dim=1))
        self.index = index[good]
        self.features = centred[good] / size[good].unsqueeze(1)

    def atoms_of(self, column: int) -> list[Atom]:
        """The atoms of a product."""
        index, found = int(self.index[column]), []
        for atoms in reversed(self.atoms):
            index, k = divmod(index, len(atoms))
            found.append(atoms[k])
        return found[::-1]

    def values(self, column: int) -> Tensor:
        """The product on all points."""
        found = torch.ones_like(self.x[:, 0])
        for z, atom in zip(self.x.T, self.atoms_of(column), strict=True):
            found = found * atom.value(z)
        return found

    def expression(self, column: int, names: list[sympy.Symbol]) -> sympy.Expr:
        """The product as SymPy writes it."""
        return sympy.Mul(
            *[a.expression(s) for s, a in zip(names, self.atoms_of(column), strict=True)]
        )


def _pools(x: Tensor, most: int) -> Iterator[tuple[list[list[Atom]], int]]:
    """Ever richer atoms with as many of them in one product as the number of products allows."""
    inputs = x.shape[1]
    seen = set()
    for pool in (
        LEVELS[0][:2],
        LEVELS[0][:3],
        LEVELS[0],
        LEVELS[0] + LEVELS[1],
        sum(LEVELS, ()),
    ):
        atoms = [[a for a in pool if a.allowed(z)] for z in x.T]
        for order in range(inputs, 0, -1):
            if _count(atoms, order) <= most:
                key = (tuple(map(len, atoms)), order)
                if key not in seen:
                    seen.add(key)
                    yield atoms, order
                break


def _count(atoms: list[list[Atom]], order: int) -> int:
    """How many products have at most ``order`` atoms that are not 1."""
    counts = [1] + [0] * order
    for pool in atoms:
        others = len(pool) - 1
        counts = [n + (counts[k - 1] * others if k else 0) for k, n in enumerate(counts)]
    return sum(counts)


def search_terms(
    x: Float[Tensor, "N I"],
    y: Float[Tensor, " N"],
    names: list[sympy.Symbol],
    most: int,
    deadline: Deadline,
    least: int = 1,
    exact: float = 1e-21,
    rough: bool = False,
) -> Iterator[TermSum]:
    """Sums of at most so many terms under each transform of y; exact ones first of all.

    Args:
        x: Inputs.
        y: Targets.
        names: Symbols of the inputs.
        most: The most terms.
        deadline: When to stop.
        least: The fewest terms.
        exact: The relative mean squared error that counts as exact.
        rough: Whether the best sum of each number of terms for y itself is given too, exact or not.

    """
    few = torch.linspace(0, len(x) - 1, min(POINTS, len(x))).long()
    pools = list(_pools(x, _MOST))
    # Plain atoms of all inputs at once, then rich ones of as many as can be.
    whole = [pool for pool in pools if pool[1] == x.shape[1]][-1:]
    for atoms, order in [*whole, *(pools[-1:] if pools[-1:] != whole else [])]:
        dictionary = _Dictionary(x, few, atoms, order)
        if len(dictionary.features):
            yield from _grown(dictionary, x, y, names, (least, most), deadline, exact, rough)


def _grown(
    dictionary: _Dictionary,
    x: Tensor,
    y: Tensor,
    names: list[sympy.Symbol],
    counts: tuple[int, int],
    deadline: Deadline,
    exact: float,
    rough: bool,
) -> Iterator[TermSum]:
    """Sums of the products of one dictionary, one term more at a time."""
    least, most = counts
    few = torch.linspace(0, len(x) - 1, min(POINTS, len(x))).long()
    kinds = list(transformed(y))
    beams: list[list[tuple[int, ...]]] = [[()] for _ in kinds]
    for count in range(1, most + 1):
        for k, (transform, t, sign) in enumerate(kinds):
            if deadline.passed:
                return
            beams[k], best = _extend(dictionary, t[few], beams[k], count)
            if best is None or count < least:
                continue
            wanted = rough and transform.name == "y" and best[0] < 0.5
            if wanted or best[0] < exact * 10:
                found = _verify(dictionary, best[1], transform, t, y, sign, names)
                if wanted or found.error < exact:
                    yield found


def solve_terms(
    x: Float[Tensor, "N I"],
    y: Float[Tensor, " N"],
    names: list[sympy.Symbol],
    deadline: Deadline,
    exact: float = 1e-21,
    most: int = 700,
) -> Iterator[TermSum]:
    """All products of a small dictionary in one least-squares problem, for all transforms of y.

    Without noise the solution is that of the formula however many terms it has, if the dictionary
    holds them: the others come out as zero.
    """
    kinds = list(transformed(y))
    for atoms, order in _pools(x, min(most, len(x) // 2)):
        if deadline.passed:
            return
        count = min(len(x), 3 * _count(atoms, order) + 50)
        few = torch.linspace(0, len(x) - 1, count).long()
        dictionary = _Dictionary(x, few, atoms, order)
        if len(dictionary.features) == 0:
            continue
        targets = torch.stack([t[few] - t[few].mean() for _, t, _ in kinds], dim=1)
        targets = targets / targets.norm(dim=0)
        A = dictionary.features.T
        solution = torch.linalg.lstsq(A, targets, driver="gelsd", rcond=1e-13).solution
        left = (A @ solution - targets).square().sum(0)
        right = []
        for k in (left < max(1e-14, exact)).nonzero()[:, 0].tolist():
            chosen = _sparse(A, targets[:, k], solution[:, k], exact)
            if chosen is not None:
                found = _verify(dictionary, chosen, *kinds[k][:2], y, kinds[k][2], names)
                if found.error < exact:
                    right.append(found)
        yield from sorted(right, key=lambda r: r.terms)


def _sparse(A: Tensor, t: Tensor, solution: Tensor, exact: float) -> tuple[int, ...] | None:
    """The few columns that do it alone, or None."""
    chosen = torch.arange(A.shape[1])
    size = solution.abs()
    for _ in range(40):
        keep = size > max(1e-9, 1e-3 * float(size.median())) * size.max()
        if keep.all():
            keep = size > size.min()
        if not keep.any():
            break
        trial = chosen[keep]
        numbers = torch.linalg.lstsq(A[:, trial], t.unsqueeze(1)).solution[:, 0]
        left = float((A[:, trial] @ numbers - t).square().sum())
        if left > max(exact, 1e-22):
            break
        chosen, size = trial, numbers.abs()
        if len(chosen) == 1:
            break
    return tuple(chosen.tolist()) if len(chosen) <= 12 else None


def _extend(
    dictionary: _Dictionary, t: Tensor, beams: list[tuple[int, ...]], count: int
) -> tuple[list[tuple[int, ...]], tuple[float, tuple[int, ...]] | None]:
    """The best sums with one term more."""
    F = dictionary.features
    t = t - t.mean()
    t = t / t.norm()
    width = 48 if count < 4 else 24
    found: dict[tuple[int, ...], float] = {}
    for chosen in beams:
        Q = torch.linalg.qr(F[list(chosen)].T).Q if chosen else F.new_zeros(len(t), 0)
        left = t - Q @ (Q.T @ t)
        gain = (F @ left).square()
        if chosen:
            gain = gain / (1 - (F @ Q).square().sum(1)).clamp(min=1e-7)
        best = gain.topk(min(width, len(gain)))
        total = float(left @ left)
        for value, k in zip(best.values.tolist(), best.indices.tolist(), strict=True):
            if k not in chosen:
                found[tuple(sorted((*chosen, k)))] = total - value
    if not found:
        return [], None
    order = sorted(found, key=found.get)[:width]
    top = order[0]
    Q = torch.linalg.qr(F[list(top)].T).Q
    left = t - Q @ (Q.T @ t)
    left = left - Q @ (Q.T @ left)
    return order, (float(left @ left), top)


def _verify(
    dictionary: _Dictionary,
    chosen: tuple[int, ...],
    transform: Transform,
    t: Tensor,
    y: Tensor,
    sign: int,
    names: list[sympy.Symbol],
) -> TermSum:
    """The coefficients on all points; terms without weight are left out."""
    A = torch.stack([*(dictionary.values(k) for k in chosen), torch.ones_like(t)], dim=1)
    size = A.norm(dim=0)
    solution = torch.linalg.lstsq(A / size, t.unsqueeze(1)).solution[:, 0]
    residual = t - (A / size) @ solution
    error = float(residual.square().mean() / t.var())
    heavy = solution.abs() > 1e-9 * solution.abs().max()
    c = solution / size
    parts = [
        sympy.Float(float(c[k]), 17) * dictionary.expression(column, names)
        for k, column in enumerate(chosen)
        if heavy[k]
    ]
    if heavy[-1]:
        parts.append(sympy.Float(float(c[-1]), 17))
    return TermSum(transform.inverse(sympy.Add(*parts), sign), error, len(parts))
