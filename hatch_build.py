"""Builds the native kernel where there is a C++ compiler; Edgewise installs without one, too.

The library is plain C to its callers: it knows neither Python nor torch, so one build serves them
all. Its OpenMP is left open when it is linked, and found in torch when it is loaded. For x86 there
are two, for processors with AVX2 and with AVX-512.
"""

import os
import platform
import shlex
import shutil
import subprocess
import sysconfig
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

SOURCE = Path("src/edgewise/kernels/native_library.cpp")
LIBRARY = SOURCE.with_name("native_library.so")
WIDE_LIBRARY = SOURCE.with_name("native_library_avx512.so")
FLAGS = "-std=c++17 -O3 -ffp-contract=fast -fno-math-errno -fno-trapping-math -fPIC -fopenmp -w"


class NativeKernel(BuildHookInterface):
    """Compiles before a wheel is made, an editable one included, and puts the library in it."""

    PLUGIN_NAME = "custom"

    def initialize(self, version, build_data):
        if self.target_name != "wheel":
            return
        made = compile_kernel(Path(self.root), self.app.display_warning)
        if not made:
            return
        build_data["artifacts"] += [f"/{library.as_posix()}" for library in made]
        build_data["pure_python"] = False
        tag = sysconfig.get_platform().replace("-", "_").replace(".", "_")
        build_data["tag"] = f"py3-none-{tag}"


def compile_kernel(root: Path, warn=print) -> list[Path]:
    """Compiles and links, and says with a word why what could not be built was not."""
    compiler = os.environ.get("CXX") or next(filter(shutil.which, ("c++", "g++", "clang++")), None)
    if compiler is None or platform.system() != "Linux":
        warn("edgewise: no C++ compiler for the native kernel; layers run on plain PyTorch")
        return []
    machines = {LIBRARY: []}
    if platform.machine() in ("x86_64", "AMD64"):
        wide = ["-march=x86-64-v4", "-mtune=icelake-server"]
        machines = {LIBRARY: ["-march=x86-64-v3"], WIDE_LIBRARY: wide}

    def compiled(library: Path) -> str:
        return compile_library(shlex.split(compiler), machines[library], root / library, root)

    with ThreadPoolExecutor() as both:
        said = dict(zip(machines, both.map(compiled, machines), strict=True))
    if said[LIBRARY]:
        warn(
            "edgewise: the native kernel could not be built; layers run on plain PyTorch: "
            + said[LIBRARY]
        )
        (root / WIDE_LIBRARY).unlink(missing_ok=True)
        return []
    if said.get(WIDE_LIBRARY):
        warn(f"edgewise: the native kernel was built without AVX-512: {said[WIDE_LIBRARY]}")
    return [library for library in machines if not said[library]]


def compile_library(compiler: list[str], machine: list[str], library: Path, root: Path) -> str:
    """Compiles and links one library; what went wrong, or nothing."""
    made = library.with_suffix(".o")
    open_ended = ["-nodefaultlibs", "-lstdc++", "-lm", "-lc"]  # and no OpenMP of its own
    steps = [
        [*compiler, *FLAGS.split(), *machine, "-c", str(root / SOURCE), "-o", str(made)],
        [*compiler, "-shared", str(made), "-o", str(library), *open_ended],
    ]
    try:
        for step in steps:
            subprocess.run(step, check=True, capture_output=True, text=True)
    except (OSError, subprocess.CalledProcessError) as error:
        library.unlink(missing_ok=True)
        return getattr(error, "stderr", None) or str(error)
    finally:
        made.unlink(missing_ok=True)
    return ""


if __name__ == "__main__":
    compile_kernel(Path())
