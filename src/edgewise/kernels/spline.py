"""B-splines: what a kernel needs to know of them, the truth, and closed forms on equal cells."""

from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F


class Spline(NamedTuple):
    """B-splines of degree D on G cells, K = G + D of them, straight lines outside.

    Attributes:
        degree: D.
        cells: G.
        low: Where the first of equal cells begins.
        per_unit: How many equal cells there are to a unit of x, 1 / h.
        knots: None for equal cells; else float64 ``(1, G + 1 + 2 D)``, or a row for each input.

    """

    degree: int
    cells: int
    low: float
    per_unit: float
    knots: Float[Tensor, "R n"] | None = None

    @property
    def size(self) -> int:
        """The number of functions, K."""
        return self.cells + self.degree


def derivative(
    spline: Spline, x: Float[Tensor, "*batch"], order: int = 0
) -> Float[Tensor, "*batch K"]:
    r"""The functions at x, or their derivatives of order 1 or 2: the truth beside the fast paths.

    In the cell that holds x only D + 1 functions are not zero. They follow the recursion of Cox and
    de Boor (de Boor 1978, ch. X), which spreads each function of degree d - 1 over two of degree d:
    with l and r the ends of its support,

    .. math::
        w^d_j \mathrel{+}= \frac{r - x}{r - l}\, w^{d-1}_j, \qquad
        w^d_{j+1} \mathrel{+}= \frac{x - l}{r - l}\, w^{d-1}_j ;

    a derivative takes -d / (r - l) and d / (r - l) for the last steps. Differentiable by autograd.

    Args:
        spline: Which functions.
        x: Any shape; with knots of their own for each input, the inputs last.
        order: 0, 1 or 2.

    """
    if spline.knots is None:
        place, unit = (x - spline.low) * spline.per_unit, spline.per_unit
        inside = place.clamp(0, spline.cells)
        cell = inside.detach().nan_to_num().floor().clamp(max=spline.cells - 1)
        supports = _equal_supports(spline, cell)
        cell = cell.long()
    else:
        place, unit = x, 1.0
        breaks = spline.knots[:, spline.degree : spline.degree + spline.cells + 1].to(x)
        breaks = breaks.squeeze(0)
        inside = place.clamp(breaks[..., 0], breaks[..., -1])
        # torch.searchsorted knows no torch.func; the functions take as much room as this.
        cell = (inside.detach().unsqueeze(-1) >= breaks[..., 1:-1]).sum(-1)
        supports = _own_supports(spline, cell, x)
    weights = _weights(spline.degree, inside, supports, order)
    if order == 0:
        slope = _weights(spline.degree, inside, supports, 1)
        weights = weights + (place - inside).unsqueeze(-1) * slope
    elif order == 2:
        weights = weights * (place == inside).unsqueeze(-1)
    index = cell.unsqueeze(-1) + torch.arange(spline.degree + 1, device=x.device)
    zeros = weights.new_zeros(*x.shape, spline.size)
    return zeros.scatter(-1, index, weights) * unit**order


Supports = list[list[tuple[Tensor, Tensor]]]
"""For each degree d = 1 … D the ends (l, r) of the d functions of degree d - 1 that reach x."""


def _equal_supports(spline: Spline, cell: Tensor) -> Supports:
    degrees = range(1, spline.degree + 1)
    return [[(cell + (1 + j - d), cell + (1 + j)) for j in range(d)] for d in degrees]


def _own_supports(spline: Spline, cell: Tensor, x: Tensor) -> Supports:
    D, rows = spline.degree, len(spline.knots)
    around = cell.unsqueeze(-1) + torch.arange(1, 2 * D + 1, device=x.device)
    if rows > 1:
        width = spline.knots.shape[1]
        around = around + width * torch.arange(rows, device=x.device).unsqueeze(-1)
    knots = spline.knots.to(x).flatten()[around].unbind(-1)
    return [[(knots[D + j - d], knots[D + j]) for j in range(d)] for d in range(1, D + 1)]


def _weights(degree: int, x: Tensor, supports: Supports, order: int) -> Tensor:
    if order > degree:
        return x.new_zeros(*x.shape, degree + 1)
    w = [torch.ones_like(x)]
    for d, ends in enumerate(supports, start=1):
        spread = [torch.zeros_like(x) for _ in range(d + 1)]
        for j, (low, high) in enumerate(ends):
            part = w[j] / (high - low)
            if d > degree - order:
                left, right = -d * part, d * part
            else:
                left, right = (high - x) * part, (x - low) * part
            spread[j] = spread[j] + left
            spread[j + 1] = spread[j + 1] + right
        w = spread
    return torch.stack(w, dim=-1)


def closed_form(spline: Spline) -> bool:
    """Whether :func:`values` and :func:`slopes`, fast but not differentiable, know these."""
    return spline.knots is None and spline.degree in _PIECES


def values(spline: Spline, x: Float[Tensor, "n I"]) -> Float[Tensor, "n K I"]:
    r"""All functions of equal cells at x, by their distance z from the middle of each.

    A B-spline is a sum of truncated powers of z, which needs neither an index nor a scatter:

    .. math::
        D = 2: \tfrac12 (\tfrac32 - z)_+^2 - \tfrac32 (\tfrac12 - z)_+^2 \qquad
        D = 3: \tfrac16 (2 - z)_+^3 - \tfrac46 (1 - z)_+^3

    (Schoenberg's symmetric form; de Boor 1978, ch. IX). Outside, the functions go on as lines.

    Example:
        >>> spline = Spline(degree=3, cells=1, low=0.0, per_unit=1.0)
        >>> (values(spline, torch.tensor([[0.0], [2.0]])).squeeze(-1) * 6).round()
        tensor([[ 1.,  4.,  1.,  0.],
                [ 0., -2.,  4.,  4.]])

    """
    u = _from_centre(spline, x)
    inside = u.clamp(-spline.cells / 2, spline.cells / 2)
    outer = _PIECES[spline.degree][1]
    found = _powers(spline.degree, outer, spline.degree, _from_middle(spline, inside).abs_())
    beyond = (u - inside).unsqueeze(1)
    for k, slope in enumerate(_END_SLOPES[spline.degree]):
        if slope:
            found[:, k : k + 1].add_(beyond.clamp(max=0), alpha=slope)
            last = spline.size - 1 - k
            found[:, last : last + 1].sub_(beyond.clamp(min=0), alpha=slope)
    return found


def slopes(spline: Spline, x: Float[Tensor, "n I"]) -> Float[Tensor, "n K I"]:
    """The derivatives of :func:`values` in x.

    Example:
        >>> spline = Spline(degree=3, cells=1, low=0.0, per_unit=1.0)
        >>> slopes(spline, torch.tensor([[0.0], [2.0]])).squeeze(-1).abs()
        tensor([[0.5000, 0.0000, 0.5000, 0.0000],
                [0.0000, 0.5000, 0.0000, 0.5000]])

    """
    inside = _from_centre(spline, x).clamp(-spline.cells / 2, spline.cells / 2)
    outer = _PIECES[spline.degree][1] * spline.degree * spline.per_unit
    away = _from_middle(spline, inside)
    return _powers(spline.degree, outer, spline.degree - 1, away.abs()).mul_(away.sign_().neg_())


def _powers(degree: int, outer: float, power: int, z: Tensor) -> Tensor:
    """Of distances z, in whose place it works: outer times the two truncated powers."""
    half, _, inner = _PIECES[degree]
    # Each operation goes once through all functions: factors stand within the power, and
    # softshrink subtracts and cuts off at once.
    scale = outer ** (1 / power)
    rest = torch.sub(z.new_tensor(scale * half), z, alpha=scale, out=z).relu_()
    found = rest.pow(power)
    return found.add_(F.softshrink(rest, scale).pow_(power), alpha=inner)


class ClosedForm:
    """Features of a spline that :func:`closed_form` holds for, (n, I) to (n, K, I)."""

    def __init__(self, spline: Spline) -> None:
        self.spline = spline

    def __call__(self, x: Float[Tensor, "n I"], order: int) -> Float[Tensor, "n K I"]:
        if torch.is_grad_enabled():
            # A graph is wanted, and the closed forms work in place.
            return derivative(self.spline, x, order).transpose(1, 2)
        return (values, slopes)[order](self.spline, x)


# Degree to the half width of a function, the weight of its outer truncated power, and that of the
# inner one for each of it; and to the derivatives of its first functions where the cells begin.
# Degree 1 has a kink there.
_PIECES = {2: (1.5, 1 / 2, -3.0), 3: (2.0, 1 / 6, -4.0)}
_END_SLOPES = {2: (-1.0, 1.0), 3: (-0.5, 0.0, 0.5)}


def _from_centre(spline: Spline, x: Tensor) -> Tensor:
    """How many cells from the grid's centre: half as far as from its end, half the rounding."""
    return (x - (spline.low + spline.cells / spline.per_unit / 2)) * spline.per_unit


def _from_middle(spline: Spline, u: Tensor) -> Tensor:
    middle = torch.arange(spline.size, dtype=u.dtype, device=u.device)
    middle -= (spline.degree - 1 + spline.cells) / 2
    return u.unsqueeze(1) - middle.view(1, -1, 1)
