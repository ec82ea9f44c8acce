"""The base activations, by name."""

from edgewise.core import InputError, did_you_mean
from edgewise.kernels.activation import ACTIVATIONS as BASE_ACTIVATIONS


def check_base(base: str | None) -> None:
    """Raises an :class:`InputError` unless the base activation is None or a known one."""
    if base is not None and base not in BASE_ACTIVATIONS:
        raise InputError(
            f"unknown base activation {base!r}: {did_you_mean(base, BASE_ACTIVATIONS)}"
        )
