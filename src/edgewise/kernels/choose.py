"""One chooser, one switch: which path a layer's arithmetic takes."""

import contextlib
import os
from collections.abc import Iterator

import torch
from jaxtyping import Float
from torch import Tensor
from torch.autograd import forward_ad

from edgewise.core import InputError, did_you_mean
from edgewise.kernels import native, native_sequences, spline_triton
from edgewise.kernels.activation import ACTIVATIONS
from edgewise.kernels.expanded import Features, expanded, recomputed
from edgewise.kernels.native_features import NativeFeatures
from edgewise.kernels.operator import spline_linear, unwatched
from edgewise.kernels.polynomials import Polynomials
from edgewise.kernels.spline import ClosedForm, Spline, closed_form
from edgewise.kernels.way import Natively, Tensors, Way

PATHS = ("auto", "native", "triton", "plain")
SWITCH = "EDGEWISE_KERNELS"
"""The environment variable that names a path for a whole process."""


def _why_not_triton(x: Tensor, C: Tensor, functions: Spline | Polynomials) -> str | None:
    if isinstance(functions, Polynomials):
        return "the Triton kernel is for B-splines"
    return spline_triton.why_not(x, C, functions.degree, functions.knots is None)


_FAST = {"native": native.why_not, "triton": _why_not_triton}
_forced = os.environ.get(SWITCH, "auto")


@contextlib.contextmanager
def use(path: str) -> Iterator[None]:
    """Within it, layers take this path: ``"auto"``, ``"native"``, ``"triton"`` or ``"plain"``.

    Example:
        >>> layer, x = ew.layers.KANLinear(3, 2), torch.rand(5, 3)
        >>> with use("plain"):
        ...     y = layer(x)
        >>> torch.allclose(layer(x), y, atol=1e-6)
        True

    """
    global _forced
    if path not in PATHS:
        raise InputError(f"unknown path {path!r}: {did_you_mean(path, PATHS)}")
    before, _forced = _forced, path
    try:
        yield
    finally:
        _forced = before


def chosen(x: Tensor, C: Tensor, functions: Spline | Polynomials | None) -> tuple[str, str]:
    """The path for these inputs and coefficients, and why it is that one.

    Raises:
        InputError: If a path was asked for that can't serve them.

    """
    if _switch() == "plain":
        return "plain", "it was asked for"
    reasons = []
    for name, why_not in _FAST.items():
        if _forced not in (name, "auto"):
            continue
        why = "only B-splines and Chebyshev polynomials of tanh have a faster one"
        if functions is not None:
            why = why_not(x, C, functions)
        if why is None:
            return name, "it serves these inputs"
        reasons.append(why)
    if _forced != "auto":
        raise InputError(f"{_forced!r} can't be used: {reasons[0]}; use 'auto'")
    return "plain", "; ".join(dict.fromkeys(reasons))


def basis_linear(
    x: Float[Tensor, "N I"],
    C: Float[Tensor, "K I O"],
    features: Features,
    *,
    functions: Spline | Polynomials | None = None,
    W: Float[Tensor, "I O"] | None = None,
    base: str | None = None,
) -> Float[Tensor, "N O"]:
    r""":math:`y_{no} = \sum_i \bigl( a(x_{ni})\, W_{io} + \sum_k B_k(x_{ni})\, C_{kio} \bigr)`.

    The fastest way there is here; it keeps x and the weights for the way back.

    Args:
        x: The inputs.
        C: The coefficients.
        features: ``features(x, order)``: B (order 0) or its derivative (1), (n, I) to (n, I, K);
            where it is a module, its parameters get their gradients too.
        functions: Which B are, where they are known here.
        W: The weights of the base term, or None where there is none.
        base: The name of the activation a.

    """
    transformed = _is_transformed()
    if x.device.type == "cpu":
        x = _widened(x)
    path = "plain" if transformed else chosen(x, C, functions)[0]
    if path == "native" and isinstance(functions, Spline):
        return spline_linear(x, C, functions, W, base)
    if path == "plain":
        x = _widened(x)
    if path == "triton":
        y = spline_linear(x, C, functions)
    elif transformed or torch.compiler.is_compiling():
        # The compiler fuses the functions into the product, and keeps what it finds best.
        y = expanded(features, x, C, functions_first=False)
    else:
        _check_finite(x)
        if isinstance(functions, Spline) and closed_form(functions):
            y = recomputed(ClosedForm(functions), x, C, functions_first=True)
        elif path == "native":
            y = recomputed(NativeFeatures(features, functions), x, C, functions_first=False)
        else:
            y = recomputed(features, x, C, functions_first=False)
    if W is None:
        return y
    # A basis of one function.
    activation = _Activation(base, W.dtype)
    way = expanded if transformed or torch.compiler.is_compiling() else recomputed
    return y + way(activation, x, W.unsqueeze(0), functions_first=False)


def apply(way: Way, *tensors: Tensor) -> Tensors:
    """The values of an operation on sequences, by the way that serves these tensors here.

    Raises:
        InputError: If the native path was asked for and can't serve them.

    """
    if _switch() not in ("auto", "native") or _is_transformed() or not unwatched(*tensors):
        return way.plain(*tensors)
    why = native_sequences.why_not(*tensors)
    if why is None:
        return Natively.apply(way, *tensors)
    if _forced == "native":
        raise InputError(f"'native' can't be used: {why}; use 'auto'")
    return way.plain(*tensors)


def _switch() -> str:
    if _forced not in PATHS:
        raise InputError(
            f"{SWITCH} names an unknown path {_forced!r}: {did_you_mean(_forced, PATHS)}"
        )
    return _forced


class _Activation:
    def __init__(self, base: str, dtype: torch.dtype) -> None:
        self.call, self.dtype = ACTIVATIONS[base], dtype

    def __call__(self, x: Tensor, order: int) -> Tensor:
        return self.call(x.to(self.dtype), order).unsqueeze(-1)


def _widened(x: Tensor) -> Tensor:
    """Half precision as float32: the place of x on a grid has more digits than x."""
    return x if x.dtype in native.DTYPES else x.float()


def _check_finite(x: Tensor) -> None:
    """On a CPU; on a GPU looking would make it wait."""
    # The sum may overflow where no number is infinite, so it only tells that a look is worth it.
    if x.device.type == "cpu" and not x.detach().sum().isfinite() and not x.isfinite().all():
        raise InputError(native.not_finite(x))


def _is_transformed() -> bool:
    """Within torch.func or forward-mode differentiation, which see through plain torch only."""
    if torch.compiler.is_compiling():
        return torch.compiler.is_exporting()
    # No public name tells of the former.
    return torch._C._are_functorch_transforms_active() or forward_ad._current_level >= 0
