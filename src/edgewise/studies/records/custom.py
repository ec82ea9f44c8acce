"""Analyses of the user's own: a function of the records becomes a section of the report."""

import traceback
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from matplotlib.figure import Figure

from edgewise.core import InputError, Registry
from edgewise.studies.records.records import StudyRecords

RESULT_KEYS = ("title", "text", "table", "figure")


@dataclass(frozen=True)
class Section:
    """What a user's analysis found, or how it failed."""

    title: str
    text: str = ""
    table: Sequence[Mapping[str, Any]] = ()
    figure: Figure | None = None
    error: str = ""


def resolve_analyses(names: Sequence[str]) -> dict[str, Callable[[StudyRecords], Any]]:
    """Finds all functions before any work starts.

    Args:
        names: As ``module:function``.

    Raises:
        InputError: If a name is not of that form, or leads nowhere.

    Example:
        >>> list(resolve_analyses(["math:sqrt"]))
        ['math:sqrt']
        >>> resolve_analyses(["sqrt"])
        Traceback (most recent call last):
        edgewise.core.errors.InputError: the analysis 'sqrt' must be given as module:function
    """
    shelf: Registry[Callable[[StudyRecords], Any]] = Registry("analysis")
    for name in names:
        if ":" not in name:
            raise InputError(f"the analysis {name!r} must be given as module:function")
    return {name: shelf.resolve(name) for name in names}


def run_analysis(
    name: str, function: Callable[[StudyRecords], Any], records: StudyRecords
) -> Section:
    """Calls a user's analysis; one that raises becomes a section that says so.

    Args:
        name: As ``module:function``.
        function: Takes the records, returns a dictionary with a ``title`` and any of ``text``,
            ``table`` (a list of dictionaries) and ``figure`` (of matplotlib).
        records: The study.
    """
    try:
        return _section(function(records))
    except Exception as error:  # A broken analysis must not cost the report.
        where = traceback.extract_tb(error.__traceback__)[-1]
        return Section(
            title=name,
            error=f"{type(error).__name__}: {error} ({where.name}, line {where.lineno})",
        )


def _section(result: Any) -> Section:
    if not isinstance(result, dict) or not isinstance(result.get("title"), str):
        raise TypeError("an analysis returns a dictionary with a title")
    unknown = [key for key in result if key not in RESULT_KEYS]
    if unknown:
        raise TypeError(
            f"an analysis returns {', '.join(RESULT_KEYS)}, and nothing called {unknown[0]!r}"
        )
    if not isinstance(result.get("figure"), Figure | None):
        raise TypeError("the figure of an analysis is a matplotlib Figure")
    table = result.get("table") or ()
    if not all(isinstance(row, Mapping) for row in table):
        raise TypeError("the table of an analysis is a list of dictionaries")
    return Section(result["title"], str(result.get("text") or ""), table, result.get("figure"))
