"""B-splines on a uniform grid."""

import torch
from jaxtyping import Float
from torch import Tensor

from edgewise.bases.base import BASES, AbstractBasis, check_call, check_domain, check_positive
from edgewise.core import InputError, remembers


@BASES.register("bspline")
@remembers
class BSpline(AbstractBasis):
    r"""B-splines of degree k on G equal cells of ``[low, high]``: K = G + k functions.

    In the cell that holds x, with local coordinate t in [0, 1), only k + 1 functions are not zero.
    Their values follow the Cox–de Boor recursion (de Boor 1978, ch. X), which on equal cells is

    .. math::
        w^d_j = \frac{t + d - j}{d}\, w^{d-1}_{j-1} + \frac{1 - t + j}{d}\, w^{d-1}_j,
        \qquad \frac{d w^d_j}{dt} = w^{d-1}_{j-1} - w^{d-1}_j .

    Outside the domain each function goes on as the straight line that touches it at the end, so
    curves neither drop to zero nor grow like x\ :sup:`k`, and the functions still sum to one. With
    ``outside="zero"`` the grid goes on instead, so that they decay to zero within k cells.

    Args:
        grid_size: The number of cells, G.
        degree: The degree, k; 0 gives one-hot bins.
        domain: The ends of the grid.
        outside: ``"linear"`` or ``"zero"``.

    Example:
        >>> BSpline(grid_size=2, degree=1)(torch.tensor([-0.5, 1.5]))
        tensor([[ 0.5000,  0.5000,  0.0000],
                [ 0.0000, -0.5000,  1.5000]])

    """

    def __init__(
        self,
        grid_size: int = 5,
        degree: int = 3,
        domain: tuple[float, float] = (-1.0, 1.0),
        outside: str = "linear",
    ) -> None:
        super().__init__()
        if isinstance(degree, bool) or not isinstance(degree, int) or degree < 0:
            raise InputError(f"degree must be a whole number of at least 0, got {degree!r}")
        if outside not in ("linear", "zero"):
            raise InputError(f"outside must be 'linear' or 'zero', got {outside!r}")
        self.grid_size = check_positive("grid_size", grid_size)
        self.outside = outside
        self.sums_to_one = outside == "linear"
        self.degree = degree
        self.domain = check_domain(domain)
        self.size = grid_size + degree
        self.exact_degree = degree

    @property
    def step(self) -> float:
        """The width of a cell, h."""
        return (self.domain[1] - self.domain[0]) / self.grid_size

    def derivative(self, x: Float[Tensor, "*batch"], order: int = 1) -> Float[Tensor, "*batch K"]:
        check_call(x, order)
        u = (x - self.domain[0]) / self.step
        # With decay outside, k more cells on either side hold a part of some function.
        margin = self.degree + 1 if self.outside == "zero" else 0
        inside = u.clamp(-margin, self.grid_size + margin)
        last = self.grid_size + margin - 1
        cell = inside.detach().nan_to_num().floor().clamp(max=last)
        weights = self._local(inside - cell, order)
        if self.outside == "linear":
            weights = self._extend(weights, u, inside, inside - cell, order)
        first = cell.long().unsqueeze(-1) + margin
        index = first + torch.arange(self.degree + 1, device=x.device)
        values = weights.new_zeros(*x.shape, self.size + 2 * margin).scatter(-1, index, weights)
        return values[..., margin : margin + self.size] / self.step**order

    def _extend(self, weights: Tensor, u: Tensor, inside: Tensor, t: Tensor, order: int) -> Tensor:
        """The straight line that touches the function where the domain ends."""
        if order == 0:
            return weights + (u - inside).unsqueeze(-1) * self._local(t, 1)
        if order == 2:
            return weights * (u == inside).unsqueeze(-1)
        return weights

    def _local(self, t: Tensor, order: int) -> Tensor:
        """The k + 1 weights at local coordinate t, or their derivatives with respect to t."""
        if order > self.degree:
            return t.new_zeros(*t.shape, self.degree + 1)
        w = [torch.ones_like(t)]
        for d in range(1, self.degree - order + 1):
            w = [
                (t + (d - j)) / d * (w[j - 1] if j else 0)
                + (1 - t + j) / d * (w[j] if j < d else 0)
                for j in range(d + 1)
            ]
        for d in range(self.degree - order + 1, self.degree + 1):
            w = [
                (w[j - 1] if j else 0) - (w[j] if j < d else torch.zeros_like(t))
                for j in range(d + 1)
            ]
        return torch.stack(w, dim=-1)

    def extra_repr(self) -> str:
        grid = f"grid_size={self.grid_size}, degree={self.degree}, domain={self.domain}"
        return f"{grid}, outside={self.outside!r}"
