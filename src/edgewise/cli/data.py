"""``edgewise data``: what data there is, and verified downloads."""

from pathlib import Path
from typing import Annotated

from cyclopts import App, Parameter
from rich.console import Console
from rich.table import Table

from edgewise.data import FUNCTIONS, SOURCES, TABLES, fetch, is_present
from edgewise.data import data_dir as folder_of

DataDir = Annotated[
    Path | None,
    Parameter(help="Where data sets lie; by default $EDGEWISE_DATA, else the user's cache."),
]


app = App(name="data")


@app.command(name="list")
def show(*, data_dir: DataDir = None) -> int:
    """Lists the data sets and whether they are here."""
    table = Table("name", "as", "here", "what", title=f"Data sets in {folder_of(data_dir)}")
    for name, source in SOURCES.items():
        here = "yes" if is_present(name, data_dir) else "no"
        table.add_row(name, source.kind, here, source.title)
    for name in TABLES:
        table.add_row(name, "table", "yes", "a table that comes with scikit-learn")
    pmlb = sorted((folder_of(data_dir) / "tabular").glob("*.tsv.gz"))
    for path in pmlb:
        table.add_row(path.name.removesuffix(".tsv.gz"), "table", "yes", "a table of PMLB")
    for name in FUNCTIONS:
        table.add_row(name, "function", "yes", FUNCTIONS.resolve(name)().about)
    Console().print(table)
    return 0


@app.command(name="fetch")
def bring(
    name: Annotated[str, Parameter(help="The data set.")], *, data_dir: DataDir = None
) -> int:
    """Downloads a data set and verifies it."""
    Console().print(f"{name} is in {fetch(name, data_dir)}", markup=False, soft_wrap=True)
    return 0
