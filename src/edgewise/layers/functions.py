"""The functions of one number that an edge or a neuron can bend its input with."""

import math
from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from edgewise.core import InputError, Registry

Function = Callable[[Tensor], Tensor]

FUNCTIONS: Registry[Callable[[Tensor, int], list[Tensor]]] = Registry("function")
"""Name to f(z, order): the function's values and its derivatives up to that order, at most 2."""


@FUNCTIONS.register("tanh")
def _tanh(z: Tensor, order: int) -> list[Tensor]:
    t = z.tanh()
    slope = [1 - t * t] if order else []
    return [t, *slope, *(-2 * t * slope[0] for _ in range(order - 1))]


@FUNCTIONS.register("sigmoid")
def _sigmoid(z: Tensor, order: int) -> list[Tensor]:
    s = z.sigmoid()
    slope = [s * (1 - s)] if order else []
    return [s, *slope, *((1 - 2 * s) * slope[0] for _ in range(order - 1))]


@FUNCTIONS.register("relu")
def _relu(z: Tensor, order: int) -> list[Tensor]:
    return [F.relu(z), (z > 0).to(z), torch.zeros_like(z)][: order + 1]


@FUNCTIONS.register("gaussian")
def _gaussian(z: Tensor, order: int) -> list[Tensor]:
    bump = (-z * z).exp()
    slope = [-2 * z * bump] if order else []
    return [bump, *slope, *((4 * z * z - 2) * bump for _ in range(order - 1))]


@FUNCTIONS.register("sin")
def _sin(z: Tensor, order: int) -> list[Tensor]:
    s = z.sin()
    slope = [z.cos()] if order else []
    return [s, *slope, *(-s for _ in range(order - 1))]


@FUNCTIONS.register("silu")
def _silu(z: Tensor, order: int) -> list[Tensor]:
    s = z.sigmoid()
    slope = [s * (1 + z * (1 - s))] if order else []
    return [z * s, *slope, *(s * (1 - s) * (2 + z * (1 - 2 * s)) for _ in range(order - 1))]


def built_in(function: object) -> bool:
    """Whether ``function`` is the name of one whose derivatives are known."""
    return isinstance(function, str) and function in FUNCTIONS


def find_function(function: str | Function) -> Function:
    """The function f itself: by name, by ``module:name``, or as it is given.

    Args:
        function: A name in :data:`FUNCTIONS`, ``"module:name"``, or a callable that gives one
            number for each number, whatever the shape.

    Raises:
        InputError: If the name is unknown, or the function gives something else.

    Example:
        >>> find_function("sin")(torch.tensor(0.0)), find_function("torch:cos")(torch.tensor(0.0))
        (tensor(0.), tensor(1.))

    """
    if built_in(function):
        # Not a lambda, which could not be pickled to another process.
        return partial(_value, FUNCTIONS.resolve(function))
    f = function if callable(function) else FUNCTIONS.resolve(function)
    _check_pointwise(function, f)
    return f


def derivative(function: str | None, f: Function, z: Tensor, order: int) -> Tensor:
    """f(z), f'(z) or f''(z): in closed form where it is known, by differentiation elsewhere."""
    if built_in(function):
        return FUNCTIONS.resolve(function)(z, order)[order]
    if order == 0:
        return f(z)
    keep = torch.is_grad_enabled()
    with torch.enable_grad():
        # A view, so that gradients still reach what z was made of.
        z = z.view_as(z) if z.requires_grad else z.detach().requires_grad_()
        y = f(z)
        for step in range(order):
            if not y.requires_grad:
                return torch.zeros_like(z)
            more = keep or step < order - 1
            (y,) = torch.autograd.grad(y.sum(), z, create_graph=more, materialize_grads=True)
    return y


def mean_square(f: Function, slope: float = 1.0, shift: float = 0.0) -> float:
    """E[f(w x + d)²] over independent normal x, w and d of deviations 1, ``slope``, ``shift``.

    Example:
        >>> round(mean_square(lambda z: z), 2), round(mean_square(torch.ones_like), 2)
        (0.96, 1.0)

    """
    # The mid-points of 64 equally likely parts.
    middles = (torch.arange(64, dtype=torch.float64, device=_device(f)) + 0.5) / 64
    q = torch.special.ndtri(middles)
    # Given x, w x + d is one normal number.
    deviation = (slope**2 * q.square() + shift**2).sqrt()
    with torch.no_grad():
        return float(f((deviation.unsqueeze(-1) * q).to(torch.get_default_dtype())).square().mean())


def unit_gain(f: Function, slope: float, shift: float) -> float:
    """What f must be multiplied with to have a mean square of one.

    Raises:
        InputError: If f is zero or not finite where standard normal numbers lie.

    """
    power = mean_square(f, slope, shift)
    if not (math.isfinite(power) and power > 0):
        raise InputError(
            f"the function {_say(f)} has a mean square of {power} where normal numbers lie: it "
            f"must be finite and not zero there"
        )
    return power**-0.5


def _value(formula: Callable[[Tensor, int], list[Tensor]], z: Tensor) -> Tensor:
    return formula(z, 0)[0]


def _check_pointwise(function: object, f: Function) -> None:
    z = torch.linspace(-1, 1, 6, device=_device(f)).reshape(2, 3)
    try:
        y = f(z)
    except Exception as error:
        raise InputError(f"the function {_say(function)} fails on numbers: {error}") from error
    if not isinstance(y, Tensor) or y.shape != z.shape or not y.is_floating_point():
        got = f"shape {tuple(y.shape)}" if isinstance(y, Tensor) else type(y).__name__
        raise InputError(
            f"the function {_say(function)} must give one number for each number: it gave {got} "
            f"for shape (2, 3)"
        )
    if not torch.allclose(f(z[1, 2:]), y[1, 2:], atol=1e-5, equal_nan=True):
        raise InputError(
            f"the function {_say(function)} must treat each number by itself: its value at one "
            f"depends on the others"
        )


def _device(f: Function) -> torch.device:
    """Where f can be asked: where its parameters are, not where a ``with torch.device`` says."""
    parameters = f.parameters() if isinstance(f, nn.Module) else ()
    return next((p.device for p in parameters), torch.device("cpu"))


def _say(function: object) -> str:
    if isinstance(function, (str, nn.Module)):
        return repr(function)
    return repr(getattr(function, "__name__", function))
