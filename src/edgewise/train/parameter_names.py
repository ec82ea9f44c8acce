"""Parameters by name, by pattern, or all those that shape functions."""

from collections.abc import Mapping
from fnmatch import fnmatchcase
from typing import TypeVar

from torch import nn

from edgewise.bases import AbstractBasis
from edgewise.core import InputError, did_you_mean
from edgewise.layers.conv import AbstractKANConv
from edgewise.layers.group_rational import GroupRational
from edgewise.layers.kaf import KAF
from edgewise.layers.kernel_activation import KernelActivation
from edgewise.layers.linear import KANLinear

ACTIVATIONS = "activations"
"""The word for all parameters that shape functions."""

T = TypeVar("T")

_OWN: dict[type[nn.Module], tuple[str, ...]] = {
    KANLinear: ("coefficients",),
    AbstractKANConv: ("coefficients",),
    KernelActivation: ("w", "b", "d"),
    KAF: ("alpha", "u"),
    GroupRational: ("a",),
}


def matching(model: nn.Module, values: Mapping[str, T], where: str) -> dict[str, T]:
    """For each parameter that an entry fits, the value of the last entry that fits it.

    Args:
        model: Whose parameters.
        values: By a parameter's name, a pattern with ``*`` in it, or ``"activations"`` for all that
            shapes functions (:func:`activation_parameters`).
        where: What the entries are part of, for the message.

    Raises:
        InputError: If an entry fits no parameter.

    Example:
        >>> matching(ew.models.KAN([2, 1]), {"*": 1.0, "activations": 0.1}, "the rates")
        {'layers.0.coefficients': 0.1, 'layers.0.base_weight': 1.0, 'layers.0.bias': 1.0}

    """
    names = [name for name, _ in model.named_parameters()]
    found: dict[str, T] = {}
    for pattern, value in values.items():
        fitting = [name for name in names if fnmatchcase(name, pattern)]
        if pattern == ACTIVATIONS:
            fitting = activation_parameters(model)
        if not fitting and pattern == ACTIVATIONS:
            raise InputError(
                f"no parameter fits {pattern!r} in {where}: the model learns no functions; give "
                f"names or patterns of {', '.join(names[:3])}{', …' if len(names) > 3 else ''}"
            )
        if not fitting:
            known = did_you_mean(pattern, [ACTIVATIONS, *names])
            raise InputError(f"no parameter fits {pattern!r} in {where}: {known}")
        found |= dict.fromkeys(fitting, value)
    return found


def activation_parameters(model: nn.Module) -> list[str]:
    """The names of the parameters that shape functions, in the model's order.

    They are the coefficients of KAN layers, all that a basis learns, the slopes and shifts of a
    `KernelActivation`, and what a `KAF` or a `GroupRational` learns. Heights, base weights and
    biases are not among them: those are what an ordinary layer has, too.

    Example:
        >>> activation_parameters(ew.models.KAN([2, 1], ew.bases.Rational()))
        ['layers.0.coefficients', 'layers.0.basis.b']

    """
    found = set()
    for path, module in model.named_modules():
        prefix = f"{path}." if path else ""
        for kind, names in _OWN.items():
            if isinstance(module, kind):
                found |= {f"{prefix}{name}" for name in names}
        if isinstance(module, AbstractBasis):
            found |= {f"{prefix}{name}" for name, _ in module.named_parameters()}
    return [name for name, _ in model.named_parameters() if name in found]
