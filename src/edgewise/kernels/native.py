"""The native CPU path: a C library, of B-splines first of all."""

import ctypes
import itertools
import platform
from pathlib import Path

import torch
from jaxtyping import Float
from torch import Tensor

from edgewise.core import InputError
from edgewise.kernels.polynomials import Polynomials
from edgewise.kernels.spline import Spline

DTYPES = {torch.float32: "float", torch.float64: "double"}
DEGREES = range(1, 6)
BASES = (None, "silu", "tanh", "identity")
"""The base activations that the kernel knows, by their number in it."""

LIBRARY = Path(__file__).with_name("native_library.so")
WIDE_LIBRARY = LIBRARY.with_name("native_library_avx512.so")
"""The same for processors with AVX-512, where the compiler could make it."""


def _choose() -> ctypes.CDLL | str:
    """The library for this processor, or why there is none."""
    capability = torch.backends.cpu.get_cpu_capability()
    if platform.machine() in ("x86_64", "AMD64") and capability == "DEFAULT":
        return "the native kernel needs a processor with AVX2"
    wide = capability == "AVX512" and WIDE_LIBRARY.is_file()
    return open_library(WIDE_LIBRARY if wide else LIBRARY)


def open_library(path: Path) -> ctypes.CDLL | str:
    """The library in a file, or why it can't be used."""
    if not path.is_file():
        return "the native kernel was not built: no C++ compiler when Edgewise was installed"
    try:
        # Its OpenMP is the one that torch has loaded: two of them would fight for the cores.
        library = ctypes.CDLL(str(path))
    except OSError as error:
        return f"the native kernel can't be loaded: {error}"
    try:
        for (way, arguments), word in itertools.product(_CALLS.items(), DTYPES.values()):
            call = getattr(library, f"edgewise_{way}_{word}")
            call.argtypes = arguments
            call.restype = ctypes.c_int
    except AttributeError:
        return "the native kernel was built from older sources; install Edgewise again"
    return library


_GRID = [ctypes.c_int64, ctypes.c_int, ctypes.c_double, ctypes.c_double]
_LAYER = [*[ctypes.c_int64] * 3, *_GRID, ctypes.c_void_p, ctypes.c_int64, ctypes.c_int]
_WALK = [ctypes.c_int64] * 7
_POLYNOMIALS = [ctypes.c_int, ctypes.c_int, ctypes.c_double, ctypes.c_double]
_CALLS = {
    "spline_forward": [ctypes.c_void_p] * 4 + _LAYER + [ctypes.c_int],
    "spline_backward": [ctypes.c_void_p] * 7 + _LAYER + [ctypes.c_int],
    "spline_maps": [ctypes.c_void_p] * 2 + _WALK + _GRID + [ctypes.c_int],
    "spline_maps_back": [ctypes.c_void_p] * 3 + _WALK + _GRID + [ctypes.c_int],
    "polynomial_maps": [ctypes.c_void_p] * 2 + _WALK + _POLYNOMIALS + [ctypes.c_int],
    "polynomial_maps_back": [ctypes.c_void_p] * 3 + _WALK + _POLYNOMIALS + [ctypes.c_int],
    "scan": [ctypes.c_void_p] * 8 + [ctypes.c_int64] * 5 + [ctypes.c_int],
    "scan_back": [ctypes.c_void_p] * 14 + [ctypes.c_int64] * 5 + [ctypes.c_int],
    "causal_convolution": [ctypes.c_void_p] * 4 + [ctypes.c_int64] * 4 + [ctypes.c_int],
    "causal_convolution_back": [ctypes.c_void_p] * 7 + [ctypes.c_int64] * 4 + [ctypes.c_int],
}


_LIBRARY = _choose()
"""Found when the file is imported, so that torch.compile can look at it."""


def why_not(x: Tensor, C: Tensor, functions: Spline | Polynomials) -> str | None:
    """Why the native path can't serve this call; None where it can."""
    if x.device.type != "cpu":
        return f"the native kernel is for the CPU, x is on {x.device}"
    if x.dtype not in DTYPES or C.dtype != x.dtype:
        return f"the native kernel is for float32 and float64, got {x.dtype} and {C.dtype}"
    if isinstance(functions, Spline) and functions.degree not in DEGREES:
        return f"the native kernel knows degrees 1 to 5, got {functions.degree}"
    return why_no_library()


def why_no_library() -> str | None:
    """Why there is no library here; None where there is one."""
    return _LIBRARY if isinstance(_LIBRARY, str) else None


def run(way: str, *tensors: Tensor | None, sizes: tuple) -> int:
    """What the library calls so, on contiguous tensors of one dtype; its own answer."""
    call = getattr(_LIBRARY, f"edgewise_{way}_{DTYPES[tensors[0].dtype]}")
    pointers = [None if t is None else t.data_ptr() for t in tensors]
    return call(*pointers, *sizes, torch.get_num_threads())


def forward(
    x: Float[Tensor, "N I"],
    C: Float[Tensor, "K I O"],
    W: Float[Tensor, "I O"] | None,
    base: str | None,
    spline: Spline,
) -> Float[Tensor, "N O"]:
    """The outputs, with the base term a(x) W where there is one.

    Raises:
        InputError: If x holds a number that is not finite.

    """
    x, C, W = _contiguous(x, C, W)
    y = x.new_empty(len(x), C.shape[2])
    if not len(x):
        return y
    if run("spline_forward", x, C, W, y, sizes=_shape(x, C, base, spline)) == 1:
        raise InputError(not_finite(x))
    return y


def backward(
    x: Float[Tensor, "N I"],
    C: Float[Tensor, "K I O"],
    W: Float[Tensor, "I O"] | None,
    dy: Float[Tensor, "N O"],
    base: str | None,
    spline: Spline,
    need_x: bool,
    need_weights: bool,
) -> tuple[Tensor | None, Tensor | None, Tensor | None]:
    """The gradients of x, C and W, where they are wanted."""
    x, C, W, dy = _contiguous(x, C, W, dy)
    dx = torch.empty_like(x) if need_x else None
    dC = torch.empty_like(C) if need_weights else None
    dW = torch.empty_like(W) if need_weights and W is not None else None
    if not len(x):
        return dx, *(None if t is None else t.zero_() for t in (dC, dW))
    run("spline_backward", x, C, W, dy, dx, dC, dW, sizes=_shape(x, C, base, spline))
    return dx, dC, dW


def maps(x: Float[Tensor, "N C *S"], functions: Spline | Polynomials) -> Float[Tensor, "N C*K *S"]:
    """All functions, of splines on equal cells, as `edgewise.kernels.maps.map_maker` says."""
    x = x.contiguous()
    sizes = (len(x), x.shape[1] * functions.size, *x.shape[2:])
    out = torch.empty(sizes, dtype=x.dtype, memory_format=layout(x))
    if x.numel():
        run(f"{_kind(functions)}_maps", x, out, sizes=_walk(x, out, functions))
    return out


def maps_back(
    x: Float[Tensor, "N C *S"], dmaps: Float[Tensor, "N C*K *S"], functions: Spline | Polynomials
) -> Float[Tensor, "N C *S"]:
    """The gradient of x from that of the maps."""
    x, dmaps = x.contiguous(), dmaps.contiguous(memory_format=layout(x))
    dx = torch.empty_like(x)
    if x.numel():
        run(f"{_kind(functions)}_maps_back", x, dmaps, dx, sizes=_walk(x, dmaps, functions))
    return dx


def layout(x: Tensor) -> torch.memory_format:
    """How maps of x lie: what convolutions of images on a CPU like best, a tenth of the step."""
    return torch.channels_last if x.ndim == 4 else torch.contiguous_format


def _kind(functions: Spline | Polynomials) -> str:
    return "spline" if isinstance(functions, Spline) else "polynomial"


def _walk(x: Tensor, out: Tensor, functions: Spline | Polynomials) -> tuple:
    """The sizes of x, how far apart things lie in ``out``, which is dense, and which functions."""
    pixels = x[0, 0].numel()
    map_apart, pixel_apart = (1, out.shape[1]) if x.ndim == 4 else (pixels, 1)
    apart = (out[0].numel(), functions.size * map_apart, map_apart, pixel_apart)
    if isinstance(functions, Spline):
        which = (functions.cells, functions.degree, functions.low, functions.per_unit)
    else:
        which = tuple(functions)
    return *x.shape[:2], pixels, *apart, *which


def not_finite(x: Tensor) -> str:
    """Which number of x (N, I) is not finite, in a sentence."""
    row, column = (~x.isfinite()).nonzero()[0].tolist()
    return (
        f"x holds {x[row, column].item()} in row {row}, feature {column}; "
        "a layer takes finite numbers"
    )


def _contiguous(*tensors: Tensor | None) -> list[Tensor | None]:
    return [None if t is None else t.contiguous() for t in tensors]


def _shape(x: Tensor, C: Tensor, base: str | None, spline: Spline) -> tuple:
    sizes = (*x.shape, C.shape[2], spline.cells)
    rows = 0 if spline.knots is None else len(spline.knots)
    knots = None if spline.knots is None else spline.knots.data_ptr()
    grid = (spline.degree, spline.low, spline.per_unit, knots, rows)
    return *sizes, *grid, BASES.index(base)
