"""The paths that layers take."""

import pytest

from edgewise.kernels import use


@pytest.fixture(params=["auto", "plain"])
def each_path(request):
    """The test runs with the native library, where there is one, and without."""
    with use(request.param):
        yield
