"""How a module was made, so that a file can say how to make it again."""

import copy
import functools
import importlib
import inspect
from collections.abc import Iterable
from typing import Any, TypeVar

from edgewise.core.errors import InputError
from edgewise.core.extras import is_within

T = TypeVar("T", bound=type)


def remembers(cls: T) -> T:
    """Class decorator: instances remember the arguments they were made with.

    Raises:
        InputError: If the class takes arguments that can't be given by name.

    Example:
        >>> @remembers
        ... class Box:
        ...     def __init__(self, width, height=1): ...
        >>> recipe_of(Box(3))["arguments"]
        {'width': 3, 'height': 1}

    """
    init = cls.__init__
    signature = inspect.signature(init)
    for parameter in signature.parameters.values():
        if parameter.kind in (parameter.VAR_POSITIONAL, parameter.POSITIONAL_ONLY):
            raise InputError(
                f"{cls.__name__} can't remember its argument {parameter.name!r}, which has no name "
                f"for its callers"
            )

    @functools.wraps(init)
    def remembering(self: Any, *args: Any, **kwargs: Any) -> None:
        # A subclass with an __init__ of its own calls this one with other arguments than its own.
        if type(self).__init__ is remembering:
            # Past nn.Module.__setattr__, which needs its own __init__ first.
            self.__dict__["_arguments"] = _bound(signature, self, args, kwargs)
        init(self, *args, **kwargs)

    remembering._remembers = True
    cls.__init__ = remembering
    return cls


def _bound(signature: inspect.Signature, self: Any, args: tuple, kwargs: dict) -> dict[str, Any]:
    """The arguments by name, defaults included; lists are copied, as the caller may change his."""
    bound = signature.bind(self, *args, **kwargs)
    bound.apply_defaults()
    found: dict[str, Any] = {}
    for name, value in list(bound.arguments.items())[1:]:
        if signature.parameters[name].kind is inspect.Parameter.VAR_KEYWORD:
            found.update(value)
        else:
            found[name] = copy.copy(value) if isinstance(value, (list, dict)) else value
    return found


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
    # What may change after a thing was made, such as a basis that was refined, it tells itself.
    now = thing.arguments_now() if hasattr(cls, "arguments_now") else {}
    arguments = {name: _pack(v) for name, v in {**vars(thing)["_arguments"], **now}.items()}
    return {"class": f"{cls.__module__}:{cls.__qualname__}", "arguments": arguments}


def build(recipe: dict[str, Any], trust: Iterable[str] = ()) -> Any:
    """Makes a thing from its recipe.

    A recipe may come from a file of unknown origin. So nothing is imported but from trusted
    packages, also where an argument is a ``module:name``, and nothing is called but classes of
    theirs that are decorated with :func:`remembers`.

    Args:
        recipe: What :func:`recipe_of` gave.
        trust: Packages, beside edgewise, whose classes may be imported for it.

    Raises:
        InputError: If the recipe is malformed, names a class of another package or one that is
            not there, or gives it arguments it does not take.

    """
    try:
        where, arguments = recipe["class"], dict(recipe["arguments"])
        module, _, name = where.partition(":")
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise InputError("the recipe must have a 'class' and its 'arguments'") from error
    trust = (trust,) if isinstance(trust, str) else tuple(trust)
    _check_package(where, trust)
    cls = _class(where, module, name)
    arguments = {key: _unpack(value, trust) for key, value in arguments.items()}
    try:
        inspect.signature(cls).bind(**arguments)
    except TypeError as error:
        raise InputError(
            f"the recipe's arguments do not fit {where!r}: {error}; it may be of another version"
        ) from error
    return cls(**arguments)


def _check_package(name: str, trust: tuple[str, ...]) -> None:
    """Refuses a ``module:name`` of a package that is not trusted."""
    package = name.partition(":")[0].partition(".")[0]
    if package not in {"edgewise", *trust}:
        raise InputError(
            f"the recipe asks for {name!r}, and importing runs that package's code; "
            f"if you trust it, pass trust=({package!r},)"
        )


def _class(where: str, module: str, name: str) -> Any:
    """The class that remembers; not, say, one of the standard library that the module imports."""
    try:
        cls: Any = importlib.import_module(module)
    except ModuleNotFoundError as error:
        if not is_within(module, error.name):
            raise
        cls = None
    for part in name.split("."):
        cls = getattr(cls, part, None)
    if not inspect.isclass(cls) or not hasattr(cls.__init__, "_remembers"):
        raise InputError(
            f"the recipe asks for {where!r}, which is no class that remembers; "
            f"it may be of another version"
        )
    return cls


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


def _unpack(value: Any, trust: tuple[str, ...]) -> Any:
    if isinstance(value, dict):
        if set(value) == {"recipe"}:
            return build(value["recipe"], trust)
        return {k: _unpack(v, trust) for k, v in value.items()}
    if isinstance(value, str) and ":" in value:
        # Registries import what such a word points to.
        _check_package(value, trust)
    return [_unpack(v, trust) for v in value] if isinstance(value, list) else value
