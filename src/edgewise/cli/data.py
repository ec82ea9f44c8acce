"""``edgewise data``: what data there is, and verified downloads."""

from pathlib import Path
from typing import Annotated

from cyclopts import App, Parameter
from rich.console import Console
from rich.table import Table

from edgewise.data import SOURCES, fetch, is_present
from edgewise.data import data_dir as folder_of

DataDir = Annotated[
    Path | None,
    Parameter(help="Where data sets lie; by default $EDGEWISE_DATA, else the user's cache."),
]


def add_to(app: App) -> None:
    """Adds the verb with its two halves."""
    verbs = App(name="data", help="Lists data sets, and fetches them.")
    verbs.command(show, name="list")
    verbs.command(bring, name="fetch")
    app.command(verbs)


def show(*, data_dir: DataDir = None) -> int:
    """Lists the data sets and whether they are here.

    Example: edgewise data list
    """
    table = Table("name", "here", "what", title=f"Data sets in {folder_of(data_dir)}")
    for name, source in SOURCES.items():
        table.add_row(name, "yes" if is_present(name, data_dir) else "no", source.title)
    Console().print(table)
    return 0


def bring(
    name: Annotated[str, Parameter(help="The data set.")], *, data_dir: DataDir = None
) -> int:
    """Downloads a data set and verifies it.

    Example: edgewise data fetch mnist
    """
    Console().print(f"{name} is in {fetch(name, data_dir)}", markup=False, soft_wrap=True)
    return 0
