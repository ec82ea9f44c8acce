"""How a module was made, so that a file can say how to make it again."""

import functools
import importlib
import inspect
from collections.abc import Iterable
from typing import Any, TypeVar

from edgewise.core.errors import InputError

T = TypeVar("T", bound=type)


def remembers(cls: T) -> T:
    """Class decorator: instances remember the arguments they were made with.

    Example:
        >>> @remembers
        ... class Box:
        ...     def __init__(self, width, height=1): ...
        >>> recipe_of(Box(3))["arguments"]
        {'width': 3, 'height': 1}

    """
    init = cls.__init__
    signature = inspect.signature(init)

    @functools.wraps(init)
    def remembering(self: Any, *args: Any, **kwargs: Any) -> None:
        bound = signature.bind(self, *args, **kwargs)
        bound.apply_defaults()
        arguments = dict(list(bound.arguments.items())[1:])
        # Past nn.Module.__setattr__, which needs its own __init__ first.
        self.__dict__["_arguments"] = arguments
        init(self, *args, **kwargs)

    cls.__init__ = remembering
    return cls


def recipe_of(thing: Any) -> dict[str, Any]:
    """The class and arguments of ``thing``, as JSON can hold them; modules within are nested.

    Raises:
        InputError: If the class, or something among its arguments, does not remember.

    """
    cls = type(thing)
    if "_arguments" not in vars(thing):
        raise InputError(
            f"{cls.__name__} does not remember how it was made; decorate the class with "
            f"edgewise.core.remembers"
        )
    arguments = {name: _pack(value) for name, value in vars(thing)["_arguments"].items()}
    return {"class": f"{cls.__module__}:{cls.__qualname__}", "arguments": arguments}


def build(recipe: dict[str, Any], trust: Iterable[str] = ()) -> Any:
    """Makes a thing from its recipe.

    Args:
        recipe: What :func:`recipe_of` gave.
        trust: Packages, beside edgewise, whose classes may be imported for it.

    Raises:
        InputError: If the recipe is malformed or names a class of another package.

    """
    try:
        module, _, name = recipe["class"].partition(":")
        arguments = recipe["arguments"].items()
    except (KeyError, TypeError, AttributeError) as error:
        raise InputError("the recipe must have a 'class' and its 'arguments'") from error
    package = module.partition(".")[0]
    if package not in {"edgewise", *trust}:
        raise InputError(
            f"the recipe asks for {recipe['class']!r}, and importing runs that package's code; "
            f"if you trust it, pass trust=({package!r},)"
        )
    cls: Any = importlib.import_module(module)
    for part in name.split("."):
        cls = getattr(cls, part, None)
    if not inspect.isclass(cls):
        raise InputError(f"the recipe asks for {recipe['class']!r}, which is no class here")
    return cls(**{key: _unpack(value, trust) for key, value in arguments})


def _pack(value: Any) -> Any:
    if "_arguments" in getattr(value, "__dict__", {}):
        return {"recipe": recipe_of(value)}
    if isinstance(value, (list, tuple)):
        return [_pack(v) for v in value]
    if isinstance(value, dict):
        return {str(k): _pack(v) for k, v in value.items()}
    if value is None or isinstance(value, (str, bool, int, float)):
        return value
    raise InputError(
        f"a recipe holds numbers, words and modules that remember, not {type(value).__name__}"
    )


def _unpack(value: Any, trust: Iterable[str]) -> Any:
    if isinstance(value, dict):
        if set(value) == {"recipe"}:
            return build(value["recipe"], trust)
        return {k: _unpack(v, trust) for k, v in value.items()}
    return [_unpack(v, trust) for v in value] if isinstance(value, list) else value
