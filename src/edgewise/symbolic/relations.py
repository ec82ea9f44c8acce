r"""Quotients of sums: :math:`T(y) = \sum_k p_k φ_k(x) / \sum_k q_k φ_k(x)`, each φ a product.

Multiplied out, :math:`\sum_k p_k φ_k - T(y) \sum_k q_k φ_k = 0` is linear in p and q: the columns
φ and T(y) φ depend on each other. Taken in the order of their length, the first column that is a
combination of those before it gives the shortest relation, as the leading terms of a Gröbner basis
do; multiples of the relation by further factors come later.
"""

import heapq
from collections.abc import Iterator
from typing import NamedTuple

import sympy
import torch
from jaxtyping import Float
from torch import Tensor

from edgewise.symbolic.atoms import COS, EXP, FALL, LINE, LOG, ONE, SIN, Atom, power
from edgewise.symbolic.deadline import Deadline
from edgewise.symbolic.terms import TermSum
from edgewise.symbolic.transforms import transformed

_WHOLE = (ONE, LINE, *map(power, ("2", "3", "4")))
_COS2 = Atom(lambda x: x.cos() ** 2, lambda e: sympy.cos(e) ** 2, 4.0)
_POOLS: tuple[tuple[Atom, ...], ...] = (
    _WHOLE,
    (*_WHOLE[:3], SIN, COS, _COS2),
    (*_WHOLE[:3], power("1/2"), power("3/2")),
    (*_WHOLE[:3], EXP, FALL, LOG),
)
_KINDS = ("y", "y^2", "log y", "sin y", "exp y")
"""A quotient turned over is a quotient, so 1/y and the like are not needed."""


class Column(NamedTuple):
    """A product of one atom for each input, and how long it is."""

    atoms: tuple[Atom, ...]
    cost: float

    def value(self, x: Tensor) -> Tensor:
        """The product on rows."""
        found = torch.ones_like(x[:, 0])
        for z, atom in zip(x.T, self.atoms, strict=True):
            if atom is not ONE:
                found = found * atom.value(z)
        return found

    def expression(self, names: list[sympy.Symbol]) -> sympy.Expr:
        """The product as SymPy writes it."""
        return sympy.Mul(*[a.expression(s) for s, a in zip(names, self.atoms, strict=True)])


def columns_of(x: Tensor, pool: tuple[Atom, ...], most: int) -> list[Column]:
    """The shortest products of one atom for each input."""
    pools = [sorted((a for a in pool if a.allowed(z)), key=lambda a: a.cost) for z in x.T]
    start = (0,) * len(pools)
    queue, seen, found = [(0.0, start)], {start}, []
    while queue and len(found) < most:
        cost, which = heapq.heappop(queue)
        found.append(Column(tuple(p[k] for p, k in zip(pools, which, strict=True)), cost))
        for i, k in enumerate(which):
            after = (*which[:i], k + 1, *which[i + 1 :])
            if k + 1 < len(pools[i]) and after not in seen:
                seen.add(after)
                more = pools[i][k + 1].cost - pools[i][k].cost
                heapq.heappush(queue, (cost + more, after))
    return found


def search_relations(
    x: Float[Tensor, "N I"],
    y: Float[Tensor, " N"],
    names: list[sympy.Symbol],
    deadline: Deadline,
    exact: float = 1e-21,
    most: int = 120,
    transforms: int = len(_KINDS),
) -> Iterator[TermSum]:
    """Quotients of sums that give y exactly, under several transforms of y.

    Args:
        x: Inputs.
        y: Targets.
        names: Symbols of the inputs.
        deadline: When to stop.
        exact: The relative mean squared error that counts as exact.
        most: How many products numerator and denominator choose from.
        transforms: How many transforms of y are tried.

    """
    kinds = [k for k in transformed(y) if k[0].name in _KINDS[:transforms]]
    rows = torch.linspace(0, len(x) - 1, min(len(x), 3 * most)).long()
    for pool in _POOLS:
        columns = columns_of(x, pool, min(most, len(rows) // 3))
        if pool is not _POOLS[0] and not any(set(pool[3:]) & set(c.atoms) for c in columns):
            continue
        values = torch.stack([c.value(x) for c in columns], dim=1)
        for transform, t, sign in kinds:
            if deadline.passed:
                return
            found = _relation(values, t, rows)
            if found is None:
                continue
            top, bottom = (
                sympy.Add(
                    *[
                        sympy.Float(float(c), 17) * columns[k].expression(names)
                        for k, c in enumerate(part.tolist())
                        if c
                    ]
                )
                for part in found
            )
            error = _error(values, found, t)
            if error < exact:
                count = sum(int((part != 0).sum()) for part in found)
                yield TermSum(transform.inverse(top / bottom, sign), error, count)


def _relation(values: Tensor, t: Tensor, rows: Tensor) -> tuple[Tensor, Tensor] | None:
    """What multiplies each column above and below the line, or None if nothing fits."""
    A = torch.stack([values, values * t.unsqueeze(1)], dim=2).flatten(1)
    good = torch.isfinite(A).all(0)
    size = A.norm(dim=0)
    A = A / torch.where(good, size, 1.0)
    A[:, ~good] = 0.0
    few = A[rows] / A[rows].norm(dim=0).clamp(min=1e-300)
    R = torch.linalg.qr(few, mode="r").R
    left = R.diagonal().abs()
    for k in ((left < 1e-9) & good).nonzero()[:8, 0].tolist():
        chosen = _sparse(A, k)
        if chosen is None:
            continue
        where, numbers = chosen
        full = torch.zeros(A.shape[1], dtype=A.dtype)
        full[where], full[k] = numbers / size[where], -1 / size[k]
        top, bottom = full[0::2], -full[1::2]
        if bottom.any():
            scale = bottom[bottom.nonzero()[0, 0]]
            return top / scale, bottom / scale
    return None


def _sparse(A: Tensor, k: int) -> tuple[Tensor, Tensor] | None:
    """The few columns before the k-th that it is a combination of, with their multiples."""
    where = torch.arange(k)
    where = where[A[:, where].norm(dim=0) > 0]
    for _ in range(30):
        if not len(where):
            return None
        numbers = torch.linalg.lstsq(A[:, where], A[:, k : k + 1], driver="gelsd").solution[:, 0]
        missed = (A[:, where] @ numbers - A[:, k]).norm()
        # To rounding: on a narrow range sums of twenty terms follow anything to nine digits.
        if float(missed) > 1e-13 * (1 + float(numbers.norm())):
            return None
        keep = numbers.abs() > max(1e-7, 1e-3 * float(numbers.abs().median())) * numbers.abs().max()
        if keep.all():
            return (where, numbers) if len(where) <= 16 else None
        where = where[keep]
    return None


def _error(values: Tensor, found: tuple[Tensor, Tensor], t: Tensor) -> float:
    top, bottom = (values[:, p != 0] @ p[p != 0] for p in found)
    return float((top / bottom - t).square().mean() / t.var())
