"""B-splines in MLX: in closed form on equal cells, by recursion on others."""

import math

import mlx.core as mx
import mlx.nn as nn
import torch

from edgewise import bases
from edgewise.mlx.fixed import Fixed
from edgewise.mlx.transfer import to_array
from edgewise.mlx.twins import twin_of


@twin_of(bases.BSpline)
def bspline(basis: bases.BSpline) -> nn.Module:
    """The twin for equal cells, or for such as follow data."""
    return EvenBSpline(basis) if basis.breaks is None else UnevenBSpline(basis)


class EvenBSpline(nn.Module):
    r"""B-splines on equal cells, in closed form.

    All are shifts of one function of v = u - i + k, where u counts cells from the domain's start.
    It is even about the middle of [0, k + 1], so with r the distance to the nearer end

    .. math::
        M_k(v) = \frac{1}{k!} \sum_{j=0}^{⌊k/2⌋} (-1)^j \binom{k+1}{j} \max(r - j, 0)^k .
    """

    def __init__(self, basis: bases.BSpline) -> None:
        super().__init__()
        self.degree, self.cells, self.outside = basis.degree, basis.grid_size, basis.outside
        self.domain = basis.domain
        ends = torch.tensor(basis.domain, dtype=torch.float64)
        self._slopes = [mx.array(row.tolist()) for row in basis.derivative(ends, 1)]

    def __call__(self, x: mx.array) -> mx.array:
        low, high = self.domain
        if self.outside == "zero":
            return self._values(x)
        held = mx.clip(x, low, high)
        # By the nearer end: at the end itself, where nothing is beyond, the gradient is this slope.
        slopes = mx.where((x < (low + high) / 2)[..., None], *self._slopes)
        return self._values(held) + (x - held)[..., None] * slopes

    def _values(self, x: mx.array) -> mx.array:
        low, high = self.domain
        k, G = self.degree, self.cells
        u = (x - low)[..., None] * (G / (high - low))
        shifts = mx.arange(G + k)
        if k == 0:
            cell = mx.floor(u)
            # The last cell has its right end too.
            cell = mx.minimum(cell, G - 1) if self.outside == "linear" else cell
            return (cell == shifts).astype(x.dtype)
        v = u - shifts + k
        r = mx.minimum(v, k + 1 - v)
        terms = (
            (-1) ** j * math.comb(k + 1, j) / math.factorial(k) * mx.maximum(r - j, 0) ** k
            for j in range(k // 2 + 1)
        )
        return sum(terms)


class UnevenBSpline(Fixed):
    r"""B-splines on cells of any width, for all inputs (G + 1 breaks) or for each (I, G + 1).

    .. math::
        B_{i,d}(x) = \frac{x - t_i}{t_{i+d} - t_i} B_{i,d-1}(x)
            + \frac{t_{i+d+1} - x}{t_{i+d+1} - t_{i+1}} B_{i+1,d-1}(x)

    (de Boor 1978, ch. X), where the knots t go on beyond the breaks at the distance of the outer
    cells. Outside, x is held at the end e, and (x - e) B'(e) is added.
    """

    def __init__(self, basis: bases.BSpline) -> None:
        super().__init__()
        self.degree = basis.degree
        self.fix(breaks=to_array(basis.breaks))

    def __call__(self, x: mx.array) -> mx.array:
        low, high = self.breaks[..., 0], self.breaks[..., -1]
        held = mx.minimum(mx.maximum(x, low), high)
        knots = self._knots()
        slopes = [self._slopes(end[..., None], knots) for end in (low, high)]
        # By the nearer end: at the end itself, where nothing is beyond, the gradient is this slope.
        slopes = mx.where((x < (low + high) / 2)[..., None], *slopes)
        values = self._values(held[..., None], knots, self.degree)
        return values + (x - held)[..., None] * slopes

    def _knots(self) -> mx.array:
        """(..., G + 1 + 2 k)."""
        t = self.breaks
        steps = mx.arange(1, self.degree + 1)
        before = t[..., :1] - (t[..., 1:2] - t[..., :1]) * steps[::-1]
        after = t[..., -1:] + (t[..., -1:] - t[..., -2:-1]) * steps
        return mx.concatenate([before, t, after], axis=-1)

    def _values(self, x: mx.array, t: mx.array, degree: int) -> mx.array:
        """The functions of a degree up to k on these knots, (..., G + 2 k - degree)."""
        k, last = self.degree, t.shape[-1] - 2 - self.degree
        left, right = t[..., :-1], t[..., 1:]
        cells = mx.arange(t.shape[-1] - 1)
        # The last cell within the breaks has its right end too, and no other cell holds that.
        inside = (x >= left) & ((x < right) | (cells == last)) & (cells >= k) & (cells <= last)
        B = inside.astype(x.dtype)
        for d in range(1, degree + 1):
            rising = (x - t[..., : -d - 1]) / (t[..., d:-1] - t[..., : -d - 1])
            falling = (t[..., d + 1 :] - x) / (t[..., d + 1 :] - t[..., 1:-d])
            B = rising * B[..., :-1] + falling * B[..., 1:]
        return B

    def _slopes(self, x: mx.array, t: mx.array) -> mx.array:
        """B'(x), from the functions of one degree less."""
        k = self.degree
        if k == 0:
            return mx.zeros((*x.shape[:-1], t.shape[-1] - 1))
        B = self._values(x, t, k - 1) / (t[..., k:] - t[..., :-k])
        return k * (B[..., :-1] - B[..., 1:])
