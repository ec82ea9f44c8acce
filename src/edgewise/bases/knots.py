"""Where the cells of a spline meet: following data, halving, and what a new knot does."""

import torch
from jaxtyping import Float
from torch import Tensor

from edgewise.core import InputError

UNIFORM_SHARE = 0.02
"""How much of a knot's place is that of evenly spread ones."""


def breaks_at_quantiles(x: Float[Tensor, "n I"], cells: int) -> Float[Tensor, "I G1"]:
    """For each input the ends of cells that hold about equally many numbers.

    Raises:
        InputError: If there are no numbers, or some are not finite.

    """
    if x.ndim != 2 or not x.numel():
        raise InputError(f"knots follow a sample (n, I), got one of shape {tuple(x.shape)}")
    if not x.isfinite().all():
        raise InputError("knots can't follow a sample with numbers that are not finite")
    low, high = x.amin(0), x.amax(0)
    # An input that does not vary keeps a grid of width one around it.
    flat = high - low <= 1e-9 * (1 + low.abs())
    low, high = torch.where(flat, low - 0.5, low), torch.where(flat, high + 0.5, high)
    share = torch.linspace(0, 1, cells + 1, dtype=x.dtype, device=x.device)
    even = torch.lerp(low.unsqueeze(-1), high.unsqueeze(-1), share)
    order = (share * (len(x) - 1)).round().long()
    quantiles = x.sort(dim=0).values[order].T.clamp(low.unsqueeze(-1), high.unsqueeze(-1))
    quantiles[:, 0], quantiles[:, -1] = low, high
    return torch.where(flat.unsqueeze(-1), even, torch.lerp(quantiles, even, UNIFORM_SHARE))


def extend(breaks: Float[Tensor, "R G1"], degree: int) -> Float[Tensor, "R n"]:
    """The knots: beyond the ends they go on at the distance of the outer cells."""
    steps = torch.arange(1, degree + 1, dtype=breaks.dtype, device=breaks.device)
    first, last = breaks[:, 1:2] - breaks[:, :1], breaks[:, -1:] - breaks[:, -2:-1]
    below, above = breaks[:, :1] - steps.flip(0) * first, breaks[:, -1:] + steps * last
    return torch.cat([below, breaks, above], dim=1)


def bisect(breaks: Float[Tensor, "*I G1"], cells: int) -> Float[Tensor, "*I G2"]:
    """The same ends and more between them: the widest cell is halved until there are enough."""
    rows = []
    for row in breaks.reshape(-1, breaks.shape[-1]).tolist():
        while len(row) <= cells:
            widths = [b - a for a, b in zip(row, row[1:], strict=False)]
            # The first of those that are widest but for rounding.
            widest = next(i for i, w in enumerate(widths) if w >= max(widths) * (1 - 1e-9))
            row.insert(widest + 1, (row[widest] + row[widest + 1]) / 2)
        rows.append(row)
    found = torch.tensor(rows, dtype=breaks.dtype, device=breaks.device)
    return found.view(*breaks.shape[:-1], cells + 1)


def insertion(
    old: Float[Tensor, " G1"], new: Float[Tensor, " G2"], degree: int
) -> Float[Tensor, "K2 K"]:
    r"""The matrix T with which c' = T c is the same spline on finer cells.

    One new knot at ξ in [t_j, t_{j+1}) makes, for i = j - k + 1 … j (Boehm 1980),

    .. math::  c'_i = α_i c_i + (1 - α_i) c_{i-1}, \qquad α_i = \frac{ξ - t_i}{t_{i+k} - t_i},

    copies those before, and moves up those after. Outer knots of the finer grid lie closer to the
    ends than those of the old one, so they are inserted as well and what lies beyond is dropped.
    """
    k = degree
    target = extend(new.view(1, -1), k)[0].tolist()
    knots = extend(old.view(1, -1), k)[0].tolist()
    T = torch.eye(len(knots) - k - 1, dtype=torch.float64)
    tolerance = 1e-9 * (knots[-1] - knots[0])
    for xi in target:
        if min(abs(xi - t) for t in knots) > tolerance:
            T, knots = _insert(T, knots, xi, k)
    first = min(range(len(knots)), key=lambda i: abs(knots[i] - target[0]))
    return T[first : first + len(target) - k - 1].to(old.device)


def _insert(T: Tensor, knots: list[float], xi: float, k: int) -> tuple[Tensor, list[float]]:
    j = max(i for i, t in enumerate(knots) if t <= xi)
    rows = []
    for i in range(len(T) + 1):
        if i <= j - k:
            rows.append(T[i])
        elif i > j:
            rows.append(T[i - 1])
        else:
            alpha = (xi - knots[i]) / (knots[i + k] - knots[i])
            here = T[i] if i < len(T) else torch.zeros_like(T[0])
            rows.append(alpha * here + (1 - alpha) * T[i - 1])
    return torch.stack(rows), [*knots[: j + 1], xi, *knots[j + 1 :]]
