"""Where the cells of a spline meet: following data, halving, and what new knots do."""

import torch
from jaxtyping import Float
from torch import Tensor

from edgewise.core import InputError

UNIFORM_SHARE = 0.02
"""How much of a knot's place is that of evenly spread ones."""


def check_sample(x: Tensor) -> None:
    """Raises an :class:`InputError` unless x is (n, I), has numbers, and all are finite."""
    if x.ndim != 2 or not x.numel():
        raise InputError(f"knots follow a sample (n, I), got one of shape {tuple(x.shape)}")
    if not x.isfinite().all():
        raise InputError("knots can't follow a sample with numbers that are not finite")


def breaks_at_quantiles(x: Float[Tensor, "n I"], cells: int) -> Float[Tensor, "I G1"]:
    """For each input the ends of cells that hold about equally many of its distinct numbers.

    Raises:
        InputError: If there are no numbers, or some are not finite.

    """
    check_sample(x)
    low, high = x.amin(0), x.amax(0)
    # An input that does not vary keeps a grid of width one around it.
    flat = high - low <= 1e-9 * (1 + low.abs())
    low, high = torch.where(flat, low - 0.5, low), torch.where(flat, high + 0.5, high)
    share = torch.linspace(0, 1, cells + 1, dtype=x.dtype, device=x.device)
    even = torch.lerp(low.unsqueeze(-1), high.unsqueeze(-1), share)
    quantiles = _quantiles(x, share).clamp(low.unsqueeze(-1), high.unsqueeze(-1))
    quantiles[:, 0], quantiles[:, -1] = low, high
    return torch.where(flat.unsqueeze(-1), even, torch.lerp(quantiles, even, UNIFORM_SHARE))


def _quantiles(x: Float[Tensor, "n I"], share: Float[Tensor, " m"]) -> Float[Tensor, "I m"]:
    """Of each input's distinct numbers: no knot can part equal ones, such as an image's zeros."""
    rising = x.T.sort(dim=1).values
    rank = torch.cat([torch.zeros_like(rising[:, :1]), rising.diff().sign()], dim=1).cumsum(1)
    wanted = (rank[:, -1:] * share).round()
    return rising.gather(1, torch.searchsorted(rank, wanted))


def extend(breaks: Float[Tensor, "R G1"], degree: int) -> Float[Tensor, "R n"]:
    """The knots: beyond the ends they go on at the distance of the outer cells."""
    steps = torch.arange(1, degree + 1, dtype=breaks.dtype, device=breaks.device)
    first, last = breaks[:, 1:2] - breaks[:, :1], breaks[:, -1:] - breaks[:, -2:-1]
    below, above = breaks[:, :1] - steps.flip(0) * first, breaks[:, -1:] + steps * last
    return torch.cat([below, breaks, above], dim=1)


def bisect(breaks: Float[Tensor, "*I G1"], cells: int) -> Float[Tensor, "*I G2"]:
    """The same ends and more between them: the widest cell is halved until there are enough."""
    rows = breaks.reshape(-1, breaks.shape[-1])
    while rows.shape[1] <= cells:
        widths = rows.diff()
        # The first of those that are widest but for rounding.
        wide = widths >= widths.amax(1, keepdim=True) * (1 - 1e-9)
        at = wide.int().argmax(1, keepdim=True)
        middle = (rows.gather(1, at) + rows.gather(1, at + 1)) / 2
        rows = torch.cat([rows, middle], dim=1).sort(dim=1).values
    return rows.view(*breaks.shape[:-1], cells + 1)


def insertion(
    old: Float[Tensor, "R G1"], new: Float[Tensor, "R G2"], degree: int
) -> Float[Tensor, "R K2 K"]:
    r"""The matrices T with which c' = T c is the same spline on finer cells.

    T_ij = α_j(i) are the discrete B-splines of the Oslo algorithm (Cohen, Lyche & Riesenfeld 1980).
    With τ the old knots and t the new ones, which are more,

    .. math::
        α^0_j(i) = [τ_j \le t_i < τ_{j+1}], \qquad
        α^d_j(i) = \frac{t_{i+d} - τ_j}{τ_{j+d} - τ_j}\, α^{d-1}_j(i)
                 + \frac{τ_{j+d+1} - t_{i+d}}{τ_{j+d+1} - τ_{j+1}}\, α^{d-1}_{j+1}(i) .

    No term is negative, so nothing cancels. The new outer knots lie closer to the ends than the old
    ones; what they see of old functions beyond the first is zero, and dropped.
    """
    t, tau = extend(new, degree), extend(old, 2 * degree)
    size = t.shape[1] - degree - 1
    # In the middle of a cell, where rounding does not move it to the next.
    middle = ((t[:, :size] + t[:, 1 : size + 1]) / 2).unsqueeze(-1)
    tau = tau.unsqueeze(1)
    alpha = ((tau[..., :-1] <= middle) & (middle < tau[..., 1:])).to(t.dtype)
    for d in range(1, degree + 1):
        u = t[:, d : d + size].unsqueeze(-1)
        part = alpha / (tau[..., d:] - tau[..., :-d])
        alpha = (u - tau[..., : -d - 1]) * part[..., :-1] + (tau[..., d + 1 :] - u) * part[..., 1:]
    return alpha[..., degree : degree + old.shape[1] - 1 + degree]
