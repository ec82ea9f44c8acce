"""The builds of the native kernel."""

import pytest
import torch

from edgewise.kernels import native


@pytest.fixture(params=[native.LIBRARY, native.WIDE_LIBRARY], ids=["short", "wide"])
def each_library(request, monkeypatch):
    """The test runs with the build for AVX2 (or any other machine), and with that for AVX-512."""
    wide = request.param == native.WIDE_LIBRARY
    if wide and torch.backends.cpu.get_cpu_capability() != "AVX512":
        pytest.skip("no processor with AVX-512")
    if wide and not request.param.is_file():
        pytest.skip("no build for AVX-512")
    if not isinstance(native._LIBRARY, str):
        library = native.open_library(request.param)
        assert not isinstance(library, str), library
        monkeypatch.setattr(native, "_LIBRARY", library)
