"""What every test and doctest gets."""

from collections.abc import Iterator

import pytest
import torch

import edgewise as ew

collect_ignore_glob = []
try:
    import mlx.core  # noqa: F401
except ModuleNotFoundError:
    # These files import MLX, an extra, at their top.
    collect_ignore_glob += ["src/edgewise/mlx/*.py", "src/edgewise/train/mlx_step.py"]


def pytest_configure(config: pytest.Config) -> None:
    torch.set_num_threads(1)
    # Uninitialised memory is filled with NaN, so that reading it shows.
    torch.use_deterministic_algorithms(True)
    torch.utils.deterministic.fill_uninitialized_memory = True


@pytest.fixture(autouse=True)
def _doctest_names(doctest_namespace: dict) -> None:
    doctest_namespace.update(torch=torch, ew=ew)


@pytest.fixture(autouse=True)
def _seed() -> None:
    torch.manual_seed(0)


@pytest.fixture(params=["auto", "plain"])
def each_path(request: pytest.FixtureRequest) -> Iterator[None]:
    """The test runs with the native library, where there is one, and without."""
    with ew.kernels.use(request.param):
        yield
