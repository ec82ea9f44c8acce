"""Whether what a folder holds is what was asked for."""

from pathlib import Path
from typing import Any

from edgewise.core import InputError


def refuse_another(kept: dict[str, Any], wanted: dict[str, Any], root: Path) -> None:
    """Raises an :class:`InputError` where what ``root`` holds is not what is asked for.

    Example:
        >>> refuse_another({"epochs": 3}, {"epochs": 4}, Path("runs/mine"))
        Traceback (most recent call last):
        edgewise.core.errors.InputError: runs/mine holds another study: there epochs is 3, here it is 4; choose another folder for --out
    """  # noqa: E501
    # Through JSON, so that tuples and lists compare equal.
    found = _difference(kept, _through_json(wanted))
    if found:
        name, old, new = found
        raise InputError(
            f"{root} holds another study: there {name} is {old!r}, here it is {new!r}; "
            f"choose another folder for --out"
        )


def _through_json(value: Any) -> Any:
    """The value as it comes back from a JSON file: tuples are lists, keys are text."""
    if isinstance(value, dict):
        return {str(k): _through_json(v) for k, v in value.items()}
    return [_through_json(v) for v in value] if isinstance(value, (list, tuple)) else value


def _difference(old: Any, new: Any, name: str = "") -> tuple[str, Any, Any] | None:
    """The first place where two JSON values differ: its name and both values."""
    if isinstance(old, dict) and isinstance(new, dict):
        for key in dict.fromkeys([*new, *old]):
            found = _difference(old.get(key), new.get(key), key)
            if found:
                return found
        return None
    return None if old == new else (name, old, new)
