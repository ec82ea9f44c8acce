"""Builds the native kernel where there is a C++ compiler; Edgewise installs without one, too.

The library is plain C to its callers: it knows neither Python nor torch, so one build serves them
all. Its OpenMP is left open when it is linked, and found in torch when it is loaded.
"""

import os
import platform
import shlex
import shutil
import subprocess
import sysconfig
from pathlib import Path

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

SOURCE = Path("src/edgewise/kernels/spline.cpp")
LIBRARY = SOURCE.with_name("spline_native.so")
FLAGS = "-std=c++17 -O3 -ffp-contract=fast -fno-math-errno -fno-trapping-math -fPIC -fopenmp -w"


class NativeKernel(BuildHookInterface):
    """Compiles before a wheel is made, an editable one included, and puts the library in it."""

    PLUGIN_NAME = "custom"

    def initialize(self, version, build_data):
        root = Path(self.root)
        if self.target_name != "wheel" or not compile_kernel(
            root / SOURCE, root / LIBRARY, self.app.display_warning
        ):
            return
        build_data["artifacts"].append(f"/{LIBRARY.as_posix()}")
        build_data["pure_python"] = False
        tag = sysconfig.get_platform().replace("-", "_").replace(".", "_")
        build_data["tag"] = f"py3-none-{tag}"


def compile_kernel(source: Path, library: Path, warn=print) -> bool:
    """Compiles and links; False, with a word why, where that can't be done."""
    compiler = os.environ.get("CXX") or next(filter(shutil.which, ("c++", "g++", "clang++")), None)
    if compiler is None or platform.system() != "Linux":
        warn("edgewise: no C++ compiler for the native kernel; layers run on plain PyTorch")
        return False
    machine = ["-march=x86-64-v3"] if platform.machine() in ("x86_64", "AMD64") else []
    made = library.with_suffix(".o")
    open_ended = ["-nodefaultlibs", "-lstdc++", "-lm", "-lc"]  # and no OpenMP of its own
    steps = [
        [*shlex.split(compiler), *FLAGS.split(), *machine, "-c", str(source), "-o", str(made)],
        [*shlex.split(compiler), "-shared", str(made), "-o", str(library), *open_ended],
    ]
    try:
        for step in steps:
            subprocess.run(step, check=True, capture_output=True, text=True)
    except (OSError, subprocess.CalledProcessError) as error:
        said = getattr(error, "stderr", None) or str(error)
        warn(f"edgewise: the native kernel could not be built; layers run on plain PyTorch: {said}")
        library.unlink(missing_ok=True)
        return False
    finally:
        made.unlink(missing_ok=True)
    return True


if __name__ == "__main__":
    compile_kernel(SOURCE, LIBRARY)
