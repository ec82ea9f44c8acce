"""A spectrum as counts in bins that are even on a stretched axis."""

import math
from typing import NamedTuple

import numpy as np

from edgewise.curvature import Density


class Bins(NamedTuple):
    """Expected numbers of eigenvalues, (b,), with their standard errors over probes.

    ``edges`` (b + 1,) are those of λ; ``places`` are these on the axis asinh(λ / scale), on which
    they are even: linear around 0, logarithmic far from it.
    """

    edges: np.ndarray
    places: np.ndarray
    mean: np.ndarray
    error: np.ndarray
    scale: float


def density_bins(density: Density, count: int = 60) -> Bins:
    """Counts that sum to the number of eigenvalues.

    Args:
        density: The spectrum.
        count: How many bins.

    Example:
        >>> from edgewise.curvature import spectral_density
        >>> A = torch.diag(torch.arange(5.0, dtype=torch.float64))
        >>> float(density_bins(spectral_density(lambda v: A @ v, 5)).mean.sum())
        5.0

    """
    low, high = density.ends()
    # Points of a quadrature say nothing on what is finer than they are apart.
    finest = density.bandwidth() if density.bulk else 0.0
    scale = max(1e-3 * max(abs(low), abs(high)), finest) or 1.0
    ends = [math.asinh(low / scale), math.asinh(high / scale)]
    margin = 1e-3 * (ends[1] - ends[0]) or 0.5
    places = np.linspace(ends[0] - margin, ends[1] + margin, count + 1)
    known, _ = np.histogram(np.arcsinh(density.outliers.numpy() / scale), places)
    probes = [
        density.bulk * np.histogram(np.arcsinh(t.numpy() / scale), places, weights=w.numpy())[0]
        for t, w in zip(density.nodes, density.weights, strict=True)
    ]
    bulk = np.array(probes) if probes else np.zeros((1, count))
    error = bulk.std(0, ddof=1) / math.sqrt(len(bulk)) if len(bulk) > 1 else np.zeros(count)
    return Bins(scale * np.sinh(places), places, known + bulk.mean(0), error, scale)
