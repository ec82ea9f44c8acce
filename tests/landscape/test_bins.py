import math

import pytest
import torch

from edgewise.core import generator
from edgewise.curvature import spectral_density
from edgewise.landscape.bins import density_bins


@pytest.mark.parametrize("exact", [0, 2048])
def test_counts_sum_to_the_number_of_eigenvalues(exact):
    values = torch.cat([torch.tensor([-3.0, 50.0, 80.0]), torch.rand(297)]).double()
    density = spectral_density(
        lambda v: values * v, 300, 15, 6, outliers=3, exact=exact, generator=generator(0)
    )
    bins = density_bins(density)
    assert math.isclose(bins.mean.sum(), 300, rel_tol=1e-12)
    assert bins.edges[0] < -3 < 80 < bins.edges[-1]
    assert (bins.edges[1:] > bins.edges[:-1]).all()
    above = bins.mean[bins.edges[:-1] > 2].sum()
    assert math.isclose(above, 2, rel_tol=1e-9)
    assert bool(bins.error.any()) == (exact == 0)


def test_equal_eigenvalues_have_a_bin():
    density = spectral_density(lambda v: 2 * v, 4)
    assert density_bins(density).mean.max() == 4
