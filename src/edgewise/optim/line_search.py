"""A step length that lowers the loss enough and flattens its slope enough."""

import math
from collections.abc import Callable
from typing import Any, NamedTuple


class Point(NamedTuple):
    """Where a search looked: length α, loss φ, slope φ' and what else is known there."""

    length: float
    loss: float
    slope: float
    known: Any = None


def strong_wolfe(
    look: Callable[[float], Point],
    start: Point,
    first: float = 1.0,
    *,
    decrease: float = 1e-4,
    curvature: float = 0.9,
    max_looks: int = 25,
) -> Point | None:
    r"""A point that meets the strong Wolfe conditions (Nocedal & Wright 2006, alg. 3.5 and 3.6).

    .. math::
        φ(α) \le φ(0) + c_1 α φ'(0), \qquad |φ'(α)| \le c_2 |φ'(0)|

    Args:
        look: Evaluates φ at a length.
        start: φ at 0, with a negative slope.
        first: The first length.
        decrease: c₁.
        curvature: c₂.
        max_looks: The most evaluations.

    Returns:
        The point; after ``max_looks`` the best one that meets the first condition; None if no
        length did.

    Example:
        >>> parabola = lambda a: Point(a, (a - 3.0) ** 2, 2 * (a - 3.0))
        >>> strong_wolfe(parabola, parabola(0.0), curvature=0.1).length
        3.0

    """
    # The best point so far, and the other end of a bracket once there is one.
    low, high, length = start, None, first
    for _ in range(max_looks):
        point = look(length)
        fell = point.loss <= start.loss + decrease * length * start.slope
        # Written so that NaN counts as too far.
        if not (fell and (low is start or point.loss < low.loss)):
            high = point
        elif abs(point.slope) <= -curvature * start.slope:
            return point
        else:
            ahead = 1.0 if high is None else high.length - low.length
            low, high = point, (low if point.slope * ahead >= 0 else high)
        length = _longer(low, length) if high is None else _between(low, high)
        if high is not None and abs(high.length - low.length) <= 1e-14 * abs(high.length):
            break
    return None if low is start else low


def _longer(low: Point, length: float) -> float:
    return 4 * max(low.length, length)


def _between(low: Point, high: Point) -> float:
    """The least point of the cubic through both ends, kept away from the ends."""
    a, b = sorted((low.length, high.length))
    found = _cubic(low, high)
    margin = 0.1 * (b - a)
    if not a + margin <= found <= b - margin:
        # Toward the better end where the cubic says so, else the middle.
        found = 0.5 * (a + b) if math.isnan(found) else min(max(found, a + margin), b - margin)
    return found


def _cubic(p: Point, q: Point) -> float:
    """Where the cubic with these values and slopes is least (Nocedal & Wright 2006, eq. 3.59)."""
    gap = q.length - p.length
    if not math.isfinite(q.loss + q.slope) or gap == 0:
        return math.nan
    d1 = p.slope + q.slope - 3 * (q.loss - p.loss) / gap
    square = d1 * d1 - p.slope * q.slope
    if square < 0:
        return math.nan
    d2 = math.copysign(math.sqrt(square), gap)
    below = q.slope - p.slope + 2 * d2
    return math.nan if below == 0 else q.length - gap * (q.slope + d2 - d1) / below
