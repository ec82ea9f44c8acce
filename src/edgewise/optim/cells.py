r"""Cubic B-splines on equal cells by the four of them that are not zero at x.

With t the place in the cell and s = 1 - t, the functions of a cell are, from first to last,

.. math::
    \tfrac16 s^3, \quad \tfrac23 - t^2 + \tfrac12 t^3, \quad \tfrac23 - s^2 + \tfrac12 s^3, \quad
    \tfrac16 t^3

(de Boor 1978, ch. IX): two forms, each of t and of s, so that all four take two passes. What is of
a sample stands in one row, as a scatter into rows is several times faster than any other.
"""

import torch
from jaxtyping import Float
from torch import Tensor

from edgewise.kernels.spline import Spline

ORDER = (3, 0, 1, 2)
"""Which functions of the cell our four are: the ends of t and of s, then the middles."""


class Cells:
    """Where x lies on a spline's cells, and the four functions there.

    Args:
        spline: Cubic, on equal cells.
        x: The places.

    Example:
        >>> x = torch.zeros(1, 1, dtype=torch.float64)
        >>> cells = Cells(Spline(degree=3, cells=1, low=0.0, per_unit=1.0), x)
        >>> (6 * cells.put(cells.weights(0), x.new_zeros(1, 4))).round().tolist()
        [[1.0, 4.0, 1.0, 0.0]]

    """

    def __init__(self, spline: Spline, x: Float[Tensor, "N I"]) -> None:
        self.spline = spline
        place = (x - spline.low).mul_(spline.per_unit)
        inside = place.clamp(0, spline.cells)
        # NaN has no cell; it stays in t.
        cell = inside.nan_to_num().floor_().clamp_(max=spline.cells - 1)
        t = inside - cell
        # In units of x, as the slopes are.
        self._beyond = place.sub_(inside).div_(spline.per_unit)
        self._t = torch.cat([t, 1 - t], dim=1)
        self._square = self._t.square()
        # Function k of input i stands in column k I + i.
        I = x.shape[1]
        columns = torch.arange(4 * I, device=x.device).view(4, I)[list(ORDER)].view(-1)
        self._columns = cell.long().mul_(I).repeat(1, 4).add_(columns)
        self._slopes: Tensor | None = None

    @staticmethod
    def serve(spline: Spline) -> bool:
        """Whether these are splines of the kind."""
        return spline.degree == 3 and spline.knots is None

    def weights(self, order: int) -> Float[Tensor, "N I4"]:
        """The four functions, or their derivatives of order 1 or 2."""
        if order != 1:
            return self._values() if order == 0 else self._bends()
        if self._slopes is None:
            ends, middles = self._square * 0.5, (self._square * 1.5).sub_(self._t, alpha=2)
            # Seen from the other end a function falls where it rises.
            for part in (ends, middles):
                part[:, part.shape[1] // 2 :].neg_()
            self._slopes = torch.cat([ends, middles], dim=1).mul_(self.spline.per_unit)
        return self._slopes

    def put(self, weights: Float[Tensor, "N I4"], into: Float[Tensor, "N F"]) -> Tensor:
        """Writes the four where they belong among all, the first columns of ``into``."""
        return into.scatter_(1, self._columns, weights.to(into.dtype))

    def dot(self, weights: Float[Tensor, "N I4"], v: Float[Tensor, "N F"]) -> Float[Tensor, "N I"]:
        """Each function's weight times its v, summed over the functions of each input."""
        a, b, c, d = v.gather(1, self._columns).mul_(weights).chunk(4, dim=1)
        return (a + b).add_(c).add_(d)

    def _values(self) -> Tensor:
        cube = self._square * self._t
        middles = (2 / 3 - self._square).add_(cube, alpha=0.5)
        found = torch.cat([cube.mul_(1 / 6), middles], dim=1)
        # Beyond the ends they go on as lines.
        return found.addcmul_(self._beyond.repeat(1, 4), self.weights(1))

    def _bends(self) -> Tensor:
        found = torch.cat([self._t, 3 * self._t - 2], dim=1).mul_(self.spline.per_unit**2)
        return found.mul_((self._beyond == 0).repeat(1, 4))
