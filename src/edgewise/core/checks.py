"""Checks of arguments that every room makes."""

from edgewise.core.errors import InputError


def check_count(name: str, value: int) -> int:
    """``value`` if it is a whole number of at least 1, or an :class:`InputError`.

    Example:
        >>> check_count("workers", 0)
        Traceback (most recent call last):
        edgewise.core.errors.InputError: workers must be a whole number of at least 1, got 0

    """
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise InputError(f"{name} must be a whole number of at least 1, got {value!r}")
    return value
