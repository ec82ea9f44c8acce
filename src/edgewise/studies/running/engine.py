"""Who runs the trials of a study: an engine, chosen by name."""

from collections.abc import Sequence
from contextlib import AbstractContextManager
from typing import Any, Protocol

from edgewise.core import InputError, RunError, did_you_mean
from edgewise.studies.kinds.study import AbstractStudy
from edgewise.studies.running.attempt import Event, OnEvent, Work
from edgewise.studies.running.processes import LocalEngine
from edgewise.studies.running.ray_engine import RayEngine
from edgewise.studies.running.trial import Trial

ENGINES = {"local": LocalEngine, "ray": RayEngine}
"""Engines by name."""


class Engine(Protocol):
    """Runs trials; each through `attempt`, so that all engines leave the same records."""

    name: str

    def ready(self, study: AbstractStudy) -> AbstractContextManager[None]:
        """Refuses what it can't do, before anything is written; inside, trials can be run."""
        ...

    def run(self, trials: Sequence[Trial], work: Work, on_event: OnEvent) -> None:
        """Runs the trials; ``on_event`` is called in this process."""
        ...


def make_engine(name: str = "local", **options: Any) -> Engine:
    """An engine by name; options that are None are left out.

    Args:
        name: ``"local"`` or ``"ray"`` (extra ``ray``).
        options: See `LocalEngine` and `RayEngine`.

    Raises:
        InputError: If there is no such engine, or an option is of another engine.

    Example:
        >>> make_engine("local", retries=1)
        LocalEngine(threads=None, retries=1)
        >>> make_engine("local", address="auto")
        Traceback (most recent call last):
        edgewise.core.errors.InputError: --address goes with --engine ray only: leave it out

    """
    if name not in ENGINES:
        raise InputError(f"unknown engine {name!r}: {did_you_mean(name, ENGINES)}")
    options = {key: value for key, value in options.items() if value is not None}
    for key in options:
        if key not in ENGINES[name].__dataclass_fields__:
            others = [n for n, kind in ENGINES.items() if key in kind.__dataclass_fields__]
            flag = key.replace("_", "-")
            raise InputError(
                f"--{flag} goes with --engine {' or '.join(others)} only: leave it out"
                if others
                else f"no engine has the option {key!r}"
            )
    return ENGINES[name](**options)


def halting(on_event: OnEvent) -> OnEvent:
    """``on_event`` that ends the run when no other trial could succeed either.

    Raises:
        RunError: On an event ``halted``, with its message.

    """

    def tell(event: Event) -> None:
        if event["kind"] == "halted":
            raise RunError(event["message"])
        on_event(event)

    return tell
