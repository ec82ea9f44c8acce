r"""All functions on all curves at once.

A curve is given on an even grid u of [-1, 1]. For each function a list of pairs (a, b) is tried;
how well :math:`c\,f(a u + b) + d` can follow the curve, with the best c and d, is a correlation, so
one matrix product answers for every curve, function and pair. The best few are then refined by
Gauss-Newton steps on a and b with c and d eliminated (Golub & Pereyra 1973; Kaufman 1975).
"""

import functools
import math
from collections.abc import Sequence
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from edgewise.symbolic.functions import Function

POINTS = 97
"""Where curves are compared."""

_SLOWEST = 0.02
_STARTS = 3
_STEPS = 16


class CurveFits(NamedTuple):
    """Each curve read as each function: c f(a x + b) + d, and what it leaves of the variance."""

    functions: list[Function]
    a: Float[Tensor, "E F"]
    b: Float[Tensor, "E F"]
    c: Float[Tensor, "E F"]
    d: Float[Tensor, "E F"]
    unexplained: Float[Tensor, "E F"]


def grid(points: int = POINTS) -> Float[Tensor, " P"]:
    """The points u."""
    return torch.linspace(-1, 1, points, dtype=torch.float64)


@torch.no_grad()
def fit_curves(
    low: Float[Tensor, " E"],
    high: Float[Tensor, " E"],
    values: Float[Tensor, "E P"],
    functions: Sequence[Function],
) -> CurveFits:
    """Fits every function to every curve, safely within its domain over the whole range.

    Args:
        low: Where each curve begins.
        high: Where it ends.
        values: The curve on an even grid from ``low`` to ``high``.
        functions: What to compare with.

    Example:
        >>> from edgewise.symbolic.functions import choose_functions
        >>> x = torch.linspace(0, 2, 97, dtype=torch.float64)
        >>> fits = fit_curves(x[:1], x[-1:], torch.exp(3 * x)[None], choose_functions(["x", "exp"]))
        >>> round(float(fits.a[0, 1]), 6), bool(fits.unexplained[0, 1] < 1e-12)
        (3.0, True)

    """
    values = values.to("cpu", torch.float64)
    low, high = low.to("cpu", torch.float64), high.to("cpu", torch.float64)
    functions = list(functions)
    u = grid(values.shape[1])
    v = values - values.mean(1, keepdim=True)
    spread = v.norm(dim=1).clamp(min=1e-300)
    v = v / spread.unsqueeze(1)
    a, b, left = _refined(u, v, functions, *_best_trials(v, functions, len(u)))
    middle, half = (low + high) / 2, ((high - low) / 2).clamp(min=1e-300)
    a = a / half.unsqueeze(1)
    b = b - a * middle.unsqueeze(1)
    return _in_plain_form(low, high, values, functions, a, b, left)


def _trials(function: Function) -> tuple[Tensor, Tensor]:
    """The pairs (a, b) that are tried."""
    one = torch.ones(1, dtype=torch.float64)
    low, high = function.domain
    if function.free == "":
        return one, 0 * one
    if function.free == "a":
        rates = _geometric(0.02, 30, 40)
        a = torch.cat([rates, -rates])
        return a, 0 * a
    if function.free == "b" and math.isinf(low):
        shifts = _geometric(0.02, 10, 32)
        b = torch.cat([0 * one, shifts, -shifts])
        return torch.ones_like(b), b
    if math.isfinite(low) != math.isfinite(high):
        # The distance of the branch point or pole from the nearer end of the curve.
        distance = torch.cat([0 * one, _geometric(1e-4, 30, 32)])
        b = 1 + distance
        sides = (1.0, -1.0)
        return torch.cat([s * torch.ones_like(b) for s in sides]), torch.cat([low + b, low + b])
    if math.isfinite(low):
        return _images(low, high)
    return _positions(function)


def _images(low: float, high: float) -> tuple[Tensor, Tensor]:
    """The curve's range laid into a bounded domain in many ways."""
    inside = torch.sin(torch.linspace(-0.5, 0.5, 17, dtype=torch.float64) * math.pi) * 0.9999
    ends = (low + high) / 2 + inside * (high - low) / 2
    p, q = torch.meshgrid(ends, ends, indexing="ij")
    keep = (p - q).abs() > 1e-3
    p, q = p[keep], q[keep]
    return (q - p) / 2, (p + q) / 2


def _positions(function: Function) -> tuple[Tensor, Tensor]:
    """Waves of four phases; anything else at many places and widths."""
    if function.name in ("sin", "cos"):
        a = torch.cat([_geometric(0.05, 1, 12), torch.arange(1.2, 32, 0.25, dtype=torch.float64)])
        phases = torch.arange(4, dtype=torch.float64) * (math.pi / 4)
        return a.repeat(4), phases.repeat_interleave(len(a))
    widths, places = _geometric(0.1, 20, 16), torch.linspace(-2, 2, 25, dtype=torch.float64)
    a, p = torch.meshgrid(widths, places, indexing="ij")
    centred = torch.arange(0.2, 32, 0.2, dtype=torch.float64)
    a = torch.cat([a.reshape(-1), -a.reshape(-1), centred])
    b = torch.cat(
        [(-widths[:, None] * p).reshape(-1), (widths[:, None] * p).reshape(-1), 0 * centred]
    )
    return a, b


def _geometric(low: float, high: float, count: int) -> Tensor:
    return torch.logspace(math.log10(low), math.log10(high), count, dtype=torch.float64)


@functools.lru_cache(maxsize=256)
def _features(function: Function, points: int) -> tuple[Tensor, Tensor, Tensor]:
    """The trials of a function that are finite, with their standardised values (T, P)."""
    a, b = _trials(function)
    t = torch.outer(a, grid(points)) + b.unsqueeze(1)
    f = function.value(t)
    f = f - f.mean(1, keepdim=True)
    size = f.norm(dim=1, keepdim=True)
    keep = torch.isfinite(f).all(1) & (size.squeeze(1) > 1e-9)
    return a[keep], b[keep], f[keep] / size[keep]


def _best_trials(
    v: Tensor, functions: list[Function], points: int
) -> tuple[Tensor, Tensor, Tensor]:
    """The best starts (E, F, _STARTS) and what they leave unexplained."""
    E, F = len(v), len(functions)
    a, b = v.new_ones(E, F, _STARTS), v.new_zeros(E, F, _STARTS)
    left = v.new_ones(E, F, _STARTS)
    for k, function in enumerate(functions):
        trial_a, trial_b, f = _features(function, points)
        if not len(f):
            continue
        r2 = (v @ f.T).square()
        best = r2.topk(min(_STARTS, r2.shape[1]), dim=1)
        n = best.indices.shape[1]
        a[:, k, :n], b[:, k, :n] = trial_a[best.indices], trial_b[best.indices]
        left[:, k, :n] = 1 - best.values
        if n < _STARTS:
            a[:, k, n:], b[:, k, n:], left[:, k, n:] = a[:, k, :1], b[:, k, :1], left[:, k, :1]
    return a, b, left


def _refined(
    u: Tensor, v: Tensor, functions: list[Function], a: Tensor, b: Tensor, left: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """Gauss-Newton on (a, b) for all starts at once; the best start of each (E, F)."""
    E, F, S = a.shape
    # One row for each start, those of one function next to each other.
    a, b = (z.transpose(0, 1).reshape(-1) for z in (a, b))
    rows = v.repeat_interleave(S, 0).repeat(F, 1)
    free_a = _flags(functions, "a", E * S)
    free_b = _flags(functions, "b", E * S)
    problem = _Rows(u, rows, functions, E * S, free_a, free_b)
    state = problem.look(a, b)
    mu = torch.full_like(a, 1e-3)
    for _ in range(_STEPS):
        delta_a, delta_b = problem.step(state, mu)
        trial = problem.look(state.a + delta_a, state.b + delta_b)
        better = trial.left < state.left
        mu = torch.where(better, mu * 0.2, mu * 8).clamp(1e-10, 1e8)
        state = _State(
            *(
                torch.where(better if z.ndim == 1 else better.unsqueeze(1), z, old)
                for z, old in zip(trial, state, strict=True)
            )
        )
    a, b, left = (z.view(F, E, S).transpose(0, 1) for z in (state.a, state.b, state.left))
    best = left.argmin(-1, keepdim=True)
    return tuple(z.gather(-1, best).squeeze(-1) for z in (a, b, left))


def _flags(functions: list[Function], letter: str, count: int) -> Tensor:
    flags = [float(letter in f.free) for f in functions]
    return torch.tensor(flags, dtype=torch.float64).repeat_interleave(count)


class _State(NamedTuple):
    a: Tensor  # (M,)
    b: Tensor  # (M,)
    f: Tensor  # (M, P), centred, of unit norm
    slope: Tensor  # (M, P), f' in the same unit
    c: Tensor  # (M,)
    left: Tensor  # (M,), 1 - R²


class _Rows(NamedTuple):
    """Many curves, each with a function of its own."""

    u: Tensor
    v: Tensor
    functions: list[Function]
    count: int
    free_a: Tensor
    free_b: Tensor

    def look(self, a: Tensor, b: Tensor) -> _State:
        t = torch.outer(a, self.u) + b.unsqueeze(1)
        f, slope = torch.empty_like(t), torch.empty_like(t)
        for k, function in enumerate(self.functions):
            where = slice(k * self.count, (k + 1) * self.count)
            f[where], slope[where] = function.value(t[where]), function.slope(t[where])
            low, high = function.domain
            outside = (t[where] < low) | (t[where] > high)
            f[where] = f[where].masked_fill(outside, math.nan)
        f = f - f.mean(1, keepdim=True)
        size = f.norm(dim=1, keepdim=True)
        f, slope = f / size, slope / size
        c = (f * self.v).sum(1)
        left = (self.v - c.unsqueeze(1) * f).square().sum(1)
        good = torch.isfinite(left) & torch.isfinite(a) & (size[:, 0] > 1e-12)
        # Below, any smooth function is a line or a parabola.
        good &= (a.abs() > _SLOWEST) | (self.free_a == 0)
        left = torch.where(good, left, math.inf)
        return _State(a, b, f, slope, c, left)

    def step(self, state: _State, mu: Tensor) -> tuple[Tensor, Tensor]:
        """The damped Gauss-Newton step of each row; where a or b is not free it is 0."""
        by_b = state.slope * state.c.unsqueeze(1)
        J_a = self._projected(by_b * self.u, state.f) * self.free_a.unsqueeze(1)
        J_b = self._projected(by_b, state.f) * self.free_b.unsqueeze(1)
        r = self.v - state.c.unsqueeze(1) * state.f
        aa, bb, ab = ((p * q).sum(1) for p, q in ((J_a, J_a), (J_b, J_b), (J_a, J_b)))
        ga, gb = (J_a * r).sum(1), (J_b * r).sum(1)
        aa = aa * (1 + mu) + 1e-30 + (1 - self.free_a)
        bb = bb * (1 + mu) + 1e-30 + (1 - self.free_b)
        det = aa * bb - ab * ab
        det = torch.where(det > 0, det, math.inf)
        delta = (bb * ga - ab * gb) / det, (aa * gb - ab * ga) / det
        return tuple(z.nan_to_num(0.0, 0.0, 0.0) for z in delta)

    @staticmethod
    def _projected(J: Tensor, f: Tensor) -> Tensor:
        """What c and d can't take up."""
        J = (J - J.mean(1, keepdim=True)).nan_to_num(0.0, 0.0, 0.0)
        f = f.nan_to_num(0.0, 0.0, 0.0)
        return J - (J * f).sum(1, keepdim=True) * f


def _in_plain_form(
    low: Tensor,
    high: Tensor,
    values: Tensor,
    functions: list[Function],
    a: Tensor,
    b: Tensor,
    left: Tensor,
) -> CurveFits:
    """A = ±1 or b = 0 where they are not free, then the best c and d."""
    for k, function in enumerate(functions):
        if "a" not in function.free:
            size = a[:, k].abs().clamp(min=1e-300)
            # Only powers and logarithms have a domain with an end, and it is at 0.
            a[:, k], b[:, k] = a[:, k] / size, b[:, k] / size
        if "b" not in function.free:
            b[:, k] = 0
    x = low.unsqueeze(1) + torch.outer(high - low, (grid(values.shape[1]) + 1) / 2)
    c, d = torch.zeros_like(a), torch.zeros_like(a)
    mean = values.mean(1)
    for k, function in enumerate(functions):
        f = function.value(a[:, k, None] * x + b[:, k, None])
        centre = f.mean(1)
        f = f - centre.unsqueeze(1)
        c[:, k] = (f * (values - mean.unsqueeze(1))).sum(1) / f.square().sum(1)
        d[:, k] = mean - c[:, k] * centre
        left[:, k] = left[:, k].masked_fill(~torch.isfinite(c[:, k] + d[:, k]), math.inf)
    return CurveFits(functions, a, b, c, d, left)
