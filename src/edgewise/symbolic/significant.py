r"""Sums of terms from noisy data: all products of a dictionary at once, then the telling ones only.

Rows of T(y) are weighted by 1/|T'(y)|, so that noise in y counts alike everywhere. From the least
squares of all products the least significant are dropped, again and again; of all the sums on the
way the one with the least Bayesian information criterion is taken.
"""

import math
from typing import NamedTuple

import sympy
import torch
from jaxtyping import Float
from torch import Tensor

from edgewise.symbolic.atoms import COS, EXP, LINE, LOG, ONE, SIN, Atom, power
from edgewise.symbolic.deadline import Deadline
from edgewise.symbolic.relations import columns_of
from edgewise.symbolic.terms import TermSum
from edgewise.symbolic.transforms import Transform, transformed

_POOLS: tuple[tuple[Atom, ...], ...] = (
    (ONE, LINE),
    (ONE, LINE, power("2"), power("-1")),
    (ONE, LINE, SIN, COS),
    (ONE, LINE, power("1/2"), SIN, COS),
    (ONE, LINE, power("2"), power("-1"), power("-2")),
    (ONE, LINE, power("-1"), EXP, LOG),
)
_ROWS = 4000
_MOST = 200
_WIDEST = 8
"""Sums of more terms are no formula."""


def significant_terms(
    x: Float[Tensor, "N I"],
    y: Float[Tensor, " N"],
    names: list[sympy.Symbol],
    deadline: Deadline,
    exact: float = 1e-21,
) -> list[TermSum]:
    """For each dictionary and transform of y the sum with the least criterion; the best first.

    Args:
        x: Inputs.
        y: Targets.
        names: Symbols of the inputs.
        deadline: When to stop.
        exact: The relative mean squared error at which the search ends.

    """
    rows = torch.linspace(0, len(x) - 1, min(_ROWS, len(x))).long()
    found: list[TermSum] = []
    kinds = [(k, t[rows], s) for k, t, s in transformed(y) if k.name != "sin y"]
    for pool in _POOLS:
        columns = columns_of(x, pool, min(_MOST, len(rows) // 10))
        values = torch.stack([c.value(x[rows]) for c in columns], dim=1)
        for transform, t, sign in kinds:
            if deadline.passed or any(f.error < exact for f in found):
                return _best(found)
            chosen = _chosen(values, t, _weights(transform, y[rows]))
            if chosen is None:
                continue
            parts = [
                sympy.Float(c, 17) * columns[k].expression(names)
                for k, c in zip(chosen.where, chosen.numbers, strict=True)
            ]
            text = transform.inverse(sympy.Add(*parts), sign)
            found.append(TermSum(text, chosen.error, len(parts)))
    return _best(found)


def _best(found: list[TermSum]) -> list[TermSum]:
    """Those worth a closer look: of each number of terms the one with the least error."""
    least: dict[int, TermSum] = {}
    for one in found:
        if one.terms not in least or one.error < least[one.terms].error:
            least[one.terms] = one
    return sorted(least.values(), key=lambda f: f.error)


def _weights(transform: Transform, y: Tensor) -> Tensor:
    """1/|T'(y)|, of mean square 1."""
    h = 1e-6 * y.abs().clamp(min=1e-12)
    slope = (transform.forward(y + h) - transform.forward(y - h)) / (2 * h)
    weight = (1 / slope.abs()).nan_to_num(0.0, 0.0, 0.0)
    return weight / weight.square().mean().sqrt().clamp(min=1e-300)


class _Chosen(NamedTuple):
    where: list[int]
    numbers: list[float]
    error: float


def _chosen(values: Tensor, t: Tensor, weight: Tensor) -> _Chosen | None:
    """The sum with the least criterion on the way down."""
    size = values.norm(dim=0)
    A = values / size * weight.unsqueeze(1)
    if not torch.isfinite(A).all():
        return None
    target = t * weight
    Q, R = torch.linalg.qr(A)
    q = Q.T @ target
    rest = float((target - Q @ q).square().sum())
    spread = float(((t - t.mean()) * weight).square().sum())
    where = torch.arange(A.shape[1])
    best: tuple[float, _Chosen] | None = None
    N = len(t)
    while len(where):
        Q, U = torch.linalg.qr(R[:, where])
        # Columns that are others' sums for all that rounding leaves of them go at once.
        sound = U.diagonal().abs() > 1e-12 * U.diagonal().abs().max()
        if not sound.all():
            where = where[sound]
            continue
        U = torch.linalg.inv(U)
        c = Q.T @ q
        numbers = U @ c
        left = max(rest + float((q - Q @ c).square().sum()), 1e-300)
        if len(where) <= _WIDEST and left < 0.3 * spread:
            length = N * math.log(left) + 4 * len(where) * math.log(N)
            if best is None or length < best[0]:
                found = (numbers / size[where]).tolist()
                best = (length, _Chosen(where.tolist(), found, left / spread))
        sure = numbers.abs() / U.norm(dim=1)
        # One by one once it matters: what goes may have stood in for what stays.
        gone = 1 if len(where) <= 80 else len(where) // 8
        where = where[sure.argsort()[gone:].sort().values]
    return None if best is None else best[1]
