"""How the eigenvalues of an operator are spread."""

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from edgewise.core import InputError, check_count
from edgewise.curvature.eigenpairs import extreme_eigenpairs
from edgewise.curvature.estimate import Estimate, mean_of
from edgewise.curvature.gauge import Gauge
from edgewise.curvature.krylov import Krylov, random_like
from edgewise.curvature.trace import like


@dataclass(frozen=True, eq=False)
class Density:
    r"""A spectrum: eigenvalues that are known one by one, and the bulk as weighted points.

    .. math::
        p(λ) = \frac1n \Big[ \sum_j δ(λ - λ_j) + \frac{n - k}{P}
               \sum_{p=1}^P \sum_{i=1}^m τ_{pi}^2\, δ(λ - θ_{pi}) \Big]

    It integrates to one.

    Attributes:
        size: The number of eigenvalues, n.
        outliers: Those known one by one, λ_j (k,), descending.
        nodes: Of each probe, θ (P, m).
        weights: Of each probe, τ² (P, m); a probe's sum to one.
        products: Products with the operator.
        dtype: What the products were computed in.

    """

    size: int
    outliers: Tensor
    nodes: Tensor
    weights: Tensor
    products: int
    dtype: torch.dtype

    @property
    def bulk(self) -> int:
        """How many eigenvalues the weighted points stand for, n - k."""
        return self.size - len(self.outliers)

    def mean_of(self, function: Callable[[Tensor], Tensor]) -> Estimate:
        """The mean of a function over all eigenvalues, tr f(A) / n, with its error over probes."""
        known = float(function(self.outliers).sum()) / self.size if len(self.outliers) else 0.0
        if not self.bulk:
            return Estimate(known, abs(known) * 1e-12, 0, self.products)
        means = (self.weights * function(self.nodes)).sum(1) * (self.bulk / self.size)
        return mean_of([known + float(mean) for mean in means], self.products)

    def moment(self, order: int) -> Estimate:
        """The mean of λ^order over all eigenvalues."""
        return self.mean_of(lambda values: values**order)

    def ends(self) -> tuple[float, float]:
        """The smallest and the largest value seen."""
        both = torch.cat([self.outliers, self.nodes.reshape(-1)])
        return float(both.min()), float(both.max())

    def bandwidth(self) -> float:
        """A kernel's width that joins neighbouring points: the bulk's range over its points."""
        if not self.bulk:
            return (self.ends()[1] - self.ends()[0]) / max(1, self.size)
        return float(self.nodes.max() - self.nodes.min()) / self.nodes.shape[1]

    def curve(self, grid: Tensor, width: float | None = None) -> tuple[Tensor, Tensor]:
        """The density on a grid, with a Gaussian kernel in place of each δ, and its standard error.

        Args:
            grid: Values of λ, (g,).
            width: The kernel's standard deviation; None is :meth:`bandwidth`.

        """
        width = width or self.bandwidth() or 1.0
        kernel = lambda at: (  # noqa: E731
            torch.exp(-0.5 * ((grid.double().unsqueeze(-1) - at) / width) ** 2)
            / (width * math.sqrt(2 * math.pi))
        )
        known = kernel(self.outliers).sum(-1) / self.size
        if not self.bulk:
            return known, torch.zeros_like(known)
        share = self.bulk / self.size
        probes = torch.stack(
            [share * (kernel(t) * w).sum(-1) for t, w in zip(self.nodes, self.weights, strict=True)]
        )
        return known + probes.mean(0), probes.std(0) / math.sqrt(len(probes))

    def cumulative(self, grid: Tensor) -> Tensor:
        """The share of eigenvalues up to each grid value."""
        at = grid.double().unsqueeze(-1)
        known = (self.outliers <= at).double().sum(-1)
        if not self.bulk:
            return known / self.size
        below = (self.nodes.reshape(-1) <= at) * self.weights.reshape(-1)
        return (known + self.bulk * below.sum(-1) / len(self.nodes)) / self.size


def spectral_density(
    matvec: Callable[[Tensor], Tensor],
    n: int,
    steps: int = 60,
    probes: int = 10,
    *,
    outliers: int = 10,
    exact: int = 2048,
    gauge: Gauge | None = None,
    generator: torch.Generator | None = None,
    dtype: torch.dtype | None = None,
    device: torch.device | str | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Density:
    r"""The density of eigenvalues by stochastic Lanczos quadrature (Ubaru, Chen & Saad 2017).

    A probe v, uniform on the sphere, gives by m Lanczos steps the nodes θ_i and weights
    :math:`τ_i^2 = (e_1^\top s_i)^2` of a Gauss quadrature: exact for :math:`v^\top A^j v` up to
    j = 2 m - 1. The ``outliers`` of largest :math:`|λ|` are first computed one by one and
    projected out of the probes; else they would dominate the error, as probes see them by chance.

    Args:
        matvec: v ↦ A v, A symmetric; of an :class:`Operator` dtype and device are known.
        n: The size of A.
        steps: Lanczos steps for each probe, m.
        probes: How many probes, P, at least 2; the error is their spread.
        outliers: How many eigenvalues are computed one by one, k.
        exact: Up to this many parameters, and where it takes no more products than the probes
            would, all eigenvalues are computed from the matrix itself.
        gauge: Directions that are left out: the density is that of the other n - count eigenvalues.
        generator: Where random vectors come from; None is torch's default generator.
        dtype: None is that of the operator, else float64.
        device: None is that of the operator, else the CPU.
        progress: Called with (probes done, probes).

    Raises:
        InputError: If there are too few steps or probes.

    Example:
        >>> A = torch.diag(torch.arange(5.0, dtype=torch.float64))
        >>> density = spectral_density(lambda v: A @ v, 5)
        >>> [round(density.moment(k).value, 6) for k in (0, 1, 2)]
        [1.0, 2.0, 6.0]

    """
    check_count("steps", steps)
    if isinstance(probes, bool) or not isinstance(probes, int) or probes < 2:
        raise InputError(f"probes must be a whole number of at least 2, got {probes!r}")
    if isinstance(outliers, bool) or not isinstance(outliers, int) or outliers < 0:
        raise InputError(f"outliers must be a whole number of at least 0, got {outliers!r}")
    blank = like(matvec, n, dtype, device)
    counted = _Counted(matvec, gauge)
    left = n - (gauge.count if gauge else 0)
    if n <= max(exact, probes * steps):
        return _exact(counted, blank, n - left)
    k = min(outliers, left - steps)
    values, V = _known(counted, blank, k, generator)
    runs = []
    for p in range(probes):
        runs.append(_probe(counted, blank, V, steps, generator))
        if progress is not None:
            progress(p + 1, probes)
    nodes, weights = (torch.stack(part) for part in zip(*runs, strict=True))
    return Density(left, values, nodes, weights, counted.count, blank.dtype)


class _Counted:
    """P A P for the projector P beside the gauge directions, which counts products."""

    def __init__(self, matvec: Callable[[Tensor], Tensor], gauge: Gauge | None) -> None:
        self.matvec, self.count = matvec, 0
        self.project = gauge.project if gauge else lambda v: v

    def __call__(self, v: Tensor) -> Tensor:
        self.count += 1
        return self.project(self.matvec(self.project(v)))


def _exact(matvec: _Counted, blank: Tensor, removed: int) -> Density:
    eye = torch.eye(len(blank), dtype=blank.dtype, device=blank.device)
    A = torch.stack([matvec(e) for e in eye]).double()
    values = torch.linalg.eigvalsh((A + A.T) / 2).cpu()
    # The projected directions have the eigenvalue 0, up to rounding.
    values = values[values.abs().argsort(descending=True)[: len(values) - removed]]
    values = values.sort(descending=True).values
    none = torch.empty(0, 1, dtype=torch.float64)
    return Density(len(values), values, none, none, matvec.count, blank.dtype)


def _known(
    matvec: _Counted, blank: Tensor, k: int, generator: torch.Generator | None
) -> tuple[Tensor, Tensor]:
    """The k eigenpairs of largest |λ|."""
    if k < 1:
        return torch.empty(0, dtype=torch.float64), blank.new_empty(len(blank), 0)
    tol = 1e-8 if blank.dtype == torch.float64 else 1e-5
    start = matvec.project(random_like(blank, generator))
    found = extreme_eigenpairs(
        matvec, len(blank), k, "magnitude", tol=tol, start=start, generator=generator
    )
    return found.values.sort(descending=True).values, found.vectors


def _probe(
    matvec: _Counted, blank: Tensor, V: Tensor, steps: int, generator: torch.Generator | None
) -> tuple[Tensor, Tensor]:
    """Nodes and weights of one probe beside the known eigenvectors; a short run is filled up."""
    beside = lambda v: v - V @ (V.T @ v)  # noqa: E731
    start = beside(matvec.project(random_like(blank, generator)))
    krylov = Krylov(lambda v: beside(matvec(v)), start, steps, generator)
    while krylov.size < krylov.limit:
        krylov.extend()
        if not krylov.beta:
            break
    theta, S, _ = krylov.ritz()
    nodes, weights = torch.zeros(2, steps, dtype=torch.float64)
    nodes[: len(theta)], weights[: len(theta)] = theta, S[0] ** 2
    nodes[len(theta) :] = theta[-1]
    return nodes, weights
