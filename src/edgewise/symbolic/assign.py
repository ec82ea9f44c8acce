"""Which function each edge gets: the simplest ones that follow their curves well enough."""

from collections.abc import Iterator

import torch
from jaxtyping import Float
from torch import Tensor

from edgewise.symbolic.curves import CurveFits

TOLERANCES = (1e-2, 1e-3, 1e-4, 1e-5, 1e-6, 1e-8, 1e-10)


def assignments(
    fits: CurveFits, most: int = 24, tolerances: tuple[float, ...] = TOLERANCES
) -> Iterator[tuple[int, ...]]:
    """Choices of one function for each edge, as indices, each once, likely ones first.

    For a tolerance, each edge gets the simplest function that misses less of its variance than
    this, or the best one if none does. Then come the choices that differ from these in one edge.
    """
    unexplained = torch.nan_to_num(fits.unexplained, nan=float("inf"))
    ranks = torch.tensor([f.complexity for f in fits.functions], dtype=torch.float64)
    seen: set[tuple[int, ...]] = set()
    first = []
    for tolerance in tolerances:
        choice = tuple(_simplest(row, ranks, tolerance) for row in unexplained)
        if choice not in seen:
            seen.add(choice)
            first.append(choice)
            yield choice
            if len(seen) >= most:
                return
    for choice in sorted(_neighbours(first, unexplained, ranks), key=lambda c: c[0]):
        if choice[1] not in seen:
            seen.add(choice[1])
            yield choice[1]
            if len(seen) >= most:
                return


def _simplest(row: Float[Tensor, " F"], ranks: Tensor, tolerance: float) -> int:
    good = row < tolerance
    if not good.any():
        return int(row.argmin())
    # Of equally simple ones the one that follows best.
    lowest = ranks[good].min()
    return int(torch.where(good & (ranks == lowest), row, float("inf")).argmin())


def _neighbours(
    choices: list[tuple[int, ...]], unexplained: Tensor, ranks: Tensor
) -> Iterator[tuple[float, tuple[int, ...]]]:
    """Choices that differ in one edge, with a description length to sort them by."""
    cost = ranks + 1.5 * torch.log10(unexplained.clamp(min=1e-7))
    for choice in choices:
        for edge in range(len(choice)):
            for k in cost[edge].argsort()[:4].tolist():
                if unexplained[edge, k] < 0.05:
                    other = (*choice[:edge], k, *choice[edge + 1 :])
                    yield float(sum(cost[e, f] for e, f in enumerate(other))), other
