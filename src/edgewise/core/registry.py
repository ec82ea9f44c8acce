"""A shelf of things by name; what a user wrote himself is found by ``module:name``."""

import difflib
import importlib
import sys
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any, Generic, TypeVar

from edgewise.core.errors import InputError
from edgewise.core.extras import is_within

T = TypeVar("T", bound=Callable[..., Any])


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """A remedy for a misspelt word: the nearest known one, and the list of all.

    Example:
        >>> did_you_mean("kmot", ["kmote", "lete"])
        "did you mean 'kmote'? (known: kmote, lete)"

    """
    known = list(known)
    near = difflib.get_close_matches(str(word).lower(), known, n=1)
    listing = f"known: {', '.join(known)}"
    return f"did you mean {near[0]!r}? ({listing})" if near else listing


class Registry(Generic[T]):
    """Classes or functions of one kind, by name.

    Args:
        kind: What is on the shelf, as error messages call it.

    Example:
        >>> colours = Registry("colour")
        >>> @colours.register("red")
        ... def red(): return "#f00"
        >>> colours.resolve("red")()
        '#f00'
        >>> colours.resolve("math:sqrt")(4.0)
        2.0
        >>> colours.resolve("rad")
        Traceback (most recent call last):
        edgewise.core.errors.InputError: unknown colour 'rad': did you mean 'red'? (known: red)

    """

    def __init__(self, kind: str) -> None:
        self.kind = kind
        self._entries: dict[str, T] = {}

    def register(self, name: str) -> Callable[[T], T]:
        """Puts the decorated thing on the shelf under ``name``."""

        def put(thing: T) -> T:
            self._entries[name] = thing
            return thing

        return put

    def resolve(self, name: str) -> T:
        """The thing called ``name``, or the one that ``module:name`` points to.

        Raises:
            InputError: If there is none, with the nearest name.

        """
        if not isinstance(name, str):
            raise InputError(f"a {self.kind} is asked for by name, got {name!r}")
        if name in self._entries:
            return self._entries[name]
        if ":" in name:
            return self._import(name)
        raise InputError(f"unknown {self.kind} {name!r}: {did_you_mean(name, self._entries)}")

    def _import(self, name: str) -> T:
        module, _, attribute = name.partition(":")
        if not (module and attribute) or module.startswith("."):
            raise InputError(f"the {self.kind} {name!r} must read 'module:name'")
        # As `python -m` does: a file beside the user is importable.
        here = str(Path.cwd())
        if here not in sys.path:
            sys.path.insert(0, here)
        try:
            imported = importlib.import_module(module)
        except ModuleNotFoundError as error:
            if not is_within(module, error.name):
                raise
            raise InputError(
                f"the {self.kind} {name!r} names the module {module!r}, which can't be imported; "
                f"run from its folder or install it"
            ) from error
        # Apart from the import, whose own AttributeError is a fault of that module.
        if not hasattr(imported, attribute):
            raise InputError(
                f"the {self.kind} {name!r} is not in the module {module!r}: it has no {attribute!r}"
            )
        return getattr(imported, attribute)

    def __iter__(self) -> Iterator[str]:
        return iter(self._entries)

    def __contains__(self, name: object) -> bool:
        return name in self._entries

    def __len__(self) -> int:
        return len(self._entries)
