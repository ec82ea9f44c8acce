"""B-splines on equal cells, or on cells that follow data."""

from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from edgewise.bases.base import BASES, AbstractBasis, check_call, check_domain
from edgewise.bases.knots import bisect, breaks_at_quantiles, extend, insertion
from edgewise.core import InputError, check_count, remembers
from edgewise.kernels.spline import Spline, derivative


@BASES.register("bspline")
@remembers
class BSpline(AbstractBasis):
    r"""B-splines of degree k on G cells of ``[low, high]``: K = G + k functions.

    In the cell that holds x only k + 1 functions are not zero; they follow the Cox–de Boor
    recursion (de Boor 1978, ch. X; :func:`edgewise.kernels.spline.derivative`). The knots go on
    beyond the ends at the distance of the outer cells.

    Outside the domain each function goes on as the straight line that touches it at the end, so
    curves neither drop to zero nor grow like x\ :sup:`k`, and the functions still sum to one. With
    ``outside="zero"`` the grid goes on instead, so that they decay to zero within k cells.

    Cells are equal until :meth:`adapted` lets them follow data: then ``breaks`` holds where they
    meet, for all inputs (G + 1) or for each (I, G + 1).

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
        self.grid_size = check_count("grid_size", grid_size)
        self.outside = outside
        self.sums_to_one = outside == "linear"
        self.degree = degree
        self.domain = check_domain(domain)
        self.size = grid_size + degree
        self.exact_degree = degree
        self.register_buffer("breaks", None)
        self.register_buffer("_knots", None, persistent=False)

    @property
    def step(self) -> float:
        """The width of an equal cell, h."""
        return (self.domain[1] - self.domain[0]) / self.grid_size

    @property
    def spline(self) -> Spline | None:
        """What the kernels need to know; None with decay outside, which they do not have."""
        return self._spline() if self.outside == "linear" else None

    def _spline(self, more: int = 0) -> Spline:
        """These splines, on a grid that goes on for some cells on either side."""
        low = self.domain[0] - more * self.step
        return Spline(self.degree, self.grid_size + 2 * more, low, 1 / self.step, self._knots)

    def derivative(self, x: Float[Tensor, "*batch"], order: int = 1) -> Float[Tensor, "*batch K"]:
        check_call(x, order)
        if self.breaks is not None and self.breaks.ndim == 2:
            self._check_inputs(x)
        if self.outside == "linear":
            return derivative(self._spline(), x, order)
        more = self.degree + 1
        return derivative(self._spline(more), x, order)[..., more : more + self.size]

    def _check_inputs(self, x: Tensor) -> None:
        if x.ndim == 0 or x.shape[-1] != len(self.breaks):
            raise InputError(
                f"these B-splines have knots for each of {len(self.breaks)} inputs, on the last "
                f"axis; got x of shape {tuple(x.shape)}"
            )

    def with_breaks(self, breaks: Float[Tensor, "*I G1"]) -> "BSpline":
        """B-splines of this degree on cells that meet at ``breaks``, rising along the last axis.

        Raises:
            InputError: If the breaks do not rise, or these decay outside.

        """
        if self.outside == "zero":
            raise InputError("cells of their own need outside='linear', these have 'zero'")
        breaks = breaks.detach().double()
        if breaks.shape[-1] < 2 or not bool((breaks.diff() > 0).all() and breaks.isfinite().all()):
            raise InputError("breaks must be at least two finite numbers that rise")
        ends = (float(breaks[..., 0].min()), float(breaks[..., -1].max()))
        other = BSpline(breaks.shape[-1] - 1, self.degree, ends, self.outside)
        other._take(breaks)
        return other.to(breaks.device)

    def _take(self, breaks: Tensor) -> None:
        self.breaks = breaks.clone()
        self._knots = extend(self.breaks.view(-1, breaks.shape[-1]), self.degree)

    def current_breaks(self) -> Float[Tensor, "*I G1"]:
        """Where cells meet, in float64."""
        if self.breaks is not None:
            return self.breaks
        return torch.linspace(*self.domain, self.grid_size + 1, dtype=torch.float64)

    def reach(self) -> Float[Tensor, "*I 2"]:
        return self.current_breaks()[..., [0, -1]]

    def refined(self, grid_size: int) -> tuple["BSpline", Tensor]:
        """B-splines on ``grid_size`` cells; no knot goes, so that every function is kept exactly.

        Equal cells stay equal where the new number is a multiple of the old one; otherwise, and
        where cells are not equal, the widest are halved until there are enough.

        Raises:
            InputError: If ``grid_size`` is smaller than now, or these decay outside the domain: on
                finer cells they would do so sooner.

        """
        if self.outside == "zero":
            raise InputError(
                "B-splines with outside='zero' can't be refined: how far they reach beyond the "
                "domain is a matter of their cells; make them with outside='linear'"
            )
        if check_count("grid_size", grid_size) < self.grid_size:
            raise InputError(
                f"a finer grid has at least the {self.grid_size} cells of now, got {grid_size}"
            )
        if self.breaks is None and grid_size % self.grid_size == 0:
            finer = BSpline(grid_size, self.degree, self.domain)
        else:
            finer = self.with_breaks(bisect(self.current_breaks(), grid_size))
        old, new = self.current_breaks(), finer.current_breaks()
        T = insertion(
            old.reshape(-1, self.grid_size + 1), new.reshape(-1, grid_size + 1), self.degree
        )
        return finer, T[0] if old.ndim == 1 else T

    def adapted(self, x: Float[Tensor, "n I"]) -> "BSpline":
        """B-splines on as many cells, which hold about equally many of the sample, input by input.

        Of two knots of which one lies at a quantile and one evenly spread over the range, each is
        the mean with weights 0.98 and 0.02, so that no cell is empty of width.
        """
        return self.with_breaks(breaks_at_quantiles(x.detach().double(), self.grid_size))

    def _load_from_state_dict(self, state: dict, prefix: str, *rest: Any) -> None:
        # Knots come with the weights: the recipe knows equal cells only.
        breaks = state.get(f"{prefix}breaks")
        if breaks is not None and self.outside == "linear":
            self._take(breaks.double())
            self.grid_size = breaks.shape[-1] - 1
            self.size = self.grid_size + self.degree
            self.domain = (float(breaks[..., 0].min()), float(breaks[..., -1].max()))
        super()._load_from_state_dict(state, prefix, *rest)

    def _apply(self, fn: Any, recurse: bool = True) -> "BSpline":
        # Knots keep their digits where a model goes to another precision.
        before = self.breaks
        super()._apply(fn, recurse)
        if before is not None and self.breaks.dtype != before.dtype:
            self._take(before.to(self.breaks.device))
        return self

    def extra_repr(self) -> str:
        grid = f"grid_size={self.grid_size}, degree={self.degree}, domain={self.domain}"
        own = "" if self.breaks is None else f", breaks={tuple(self.breaks.shape)}"
        return f"{grid}, outside={self.outside!r}{own}"
