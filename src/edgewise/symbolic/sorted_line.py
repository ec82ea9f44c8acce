r"""Whether the target is a function of one product of powers, or of one weighted sum.

If :math:`y = F(u)`, then in the order of u neighbours have nearly the same y. No derivative is
needed, so F may be as fast as the rows are dense, and noise does not matter
(von Neumann's ratio 1941).
"""

import itertools
from fractions import Fraction
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

_POWERS = tuple(map(Fraction, ("0", "1", "-1", "2", "-2", "1/2", "-1/2")))
_MOST = 3000


class Line(NamedTuple):
    """The powers (or weights) q of the inputs, and von Neumann's ratio along q · z.

    The ratio is 0 for a smooth function and 1 for none.
    """

    q: tuple[Fraction, ...]
    ratio: float


def best_line(
    z: Float[Tensor, "N I"], y: Float[Tensor, " N"], noise: float = 0.0, largest: float = 0.02
) -> Line | None:
    """The line along which y is the most nearly a function of q · z, or None if it is none.

    With fewer rows the neighbours' differences grow where y is a function of q · z, and stay as
    they are where something else is left: noise, or another input.

    Args:
        z: The inputs, or their logarithms for a product of powers.
        y: The target.
        noise: The share of the variance of y that is noise, at most.
        largest: The ratio above which y is no function.

    """
    inputs = z.shape[1]
    sets = (_POWERS, _POWERS[:5], _POWERS[:3])
    powers = next((p for p in sets if len(p) ** inputs < _MOST), None)
    if powers is None:
        return None
    best: Line | None = None
    for q in itertools.product(powers, repeat=inputs):
        # One of q and -q, and no multiples.
        if next((f for f in q if f), None) != 1:
            continue
        ratio = ratio_along(z @ _floats(q), y)
        if best is None or ratio < best.ratio:
            best = Line(q, ratio)
    if best is None or not best.ratio < largest:
        return None
    thinned = ratio_along(z[::4] @ _floats(best.q), y[::4])
    smooth = thinned > 2 * best.ratio or best.ratio < max(1e-9, 1.3 * noise)
    return best if smooth else None


def ratio_along(u: Float[Tensor, " N"], y: Float[Tensor, " N"]) -> float:
    """The mean squared difference of neighbours in u, in units of twice the variance of y."""
    ordered = y[u.argsort()]
    return float(ordered.diff().square().mean() / (2 * y.var()))


def _floats(q: tuple[Fraction, ...]) -> Tensor:
    return torch.tensor([float(f) for f in q], dtype=torch.float64)
