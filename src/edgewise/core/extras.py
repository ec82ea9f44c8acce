"""Optional dependencies: imported where they are used, and named when they are absent."""

import importlib
from types import ModuleType

from edgewise.core.errors import MissingExtraError


def is_within(module: str, name: str | None) -> bool:
    """Whether ``name`` is the module or one of the packages it lies in.

    It tells a module that is absent from one that is there and misses another.

    Example:
        >>> is_within("a.b", "a"), is_within("ab", "a")
        (True, False)

    """
    return f"{module}.".startswith(f"{name}.")


def require(module: str, extra: str) -> ModuleType:
    """Imports ``module`` or says which extra of Edgewise brings it.

    Args:
        module: The module's dotted name.
        extra: The extra that installs it.

    Raises:
        MissingExtraError: If the module can't be found.

    Example:
        >>> require("math", extra="all").gcd(6, 4)
        2

    """
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        if not is_within(module, error.name):
            raise
        raise MissingExtraError(
            f"this needs the package {module.split('.')[0]!r}: pip install 'edgewise[{extra}]'"
        ) from error
