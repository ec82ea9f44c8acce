"""``edgewise formula``: a table in, formulas out."""

from pathlib import Path
from typing import Annotated

from cyclopts import App, Parameter
from rich.console import Console
from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

from edgewise.jobs.formula.job import FormulaJob, Formulas, find_formulas
from edgewise.jobs.formula.report import check_folder, write_formulas
from edgewise.jobs.formula.text import as_text, tables

app = App(name="formula")


@app.default
def formula(
    data: Annotated[Path, Parameter(help="A table: .csv, .tsv, .csv.gz, .tsv.gz or .parquet.")],
    /,
    *,
    target: Annotated[
        list[str], Parameter(help="The column to find a formula for; several: a,b.", negative=())
    ],
    features: Annotated[
        str | None, Parameter(help="The columns it may depend on, a,b; by default all others.")
    ] = None,
    functions: Annotated[
        str | None,
        Parameter(help="What edges may become, x,sin; by default those that mislead least."),
    ] = None,
    budget: Annotated[float, Parameter(help="CPU-seconds for each target.")] = 60.0,
    seed: Annotated[int, Parameter(help="Of the held-out rows and of the search.")] = 0,
    test_fraction: Annotated[float, Parameter(help="The share of rows that only judge.")] = 0.2,
    workers: Annotated[int, Parameter(help="How many processes search at a time.")] = 1,
    out: Annotated[
        Path | None, Parameter(help="Where report.html and the formulas as files go.")
    ] = None,
) -> int:
    """Finds formulas for columns of a table."""
    targets = tuple(name for text in target for name in _words(text))
    job = FormulaJob(
        str(data),
        targets,
        None if features is None else _words(features),
        None if functions is None else _words(functions),
        budget,
        seed,
        test_fraction,
        workers,
    )
    if out is not None:
        check_folder(out, job)
    formulas = _search(job)
    console = Console()
    for found in formulas.found:
        line = f"{found.symbol} = {as_text(found.expression)}"
        console.print(line, markup=False, highlight=False, soft_wrap=True)
    for table in tables(formulas):
        console.print(table)
    if out is not None:
        written = write_formulas(formulas, out)
        line = "written: " + ", ".join(map(str, written))
        console.print(line, markup=False, highlight=False, soft_wrap=True)
    return 0


def _search(job: FormulaJob) -> Formulas:
    """The search, with the target and the seconds on a terminal's stderr."""
    console = Console(stderr=True)
    columns = (SpinnerColumn(), TextColumn("{task.description}"), TimeElapsedColumn())
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as p:

        def on_target(target: str) -> None:
            for task in p.task_ids:
                p.remove_task(task)
            p.add_task(f"looking for {target} (at most {job.budget:g} CPU-seconds)", total=None)

        return find_formulas(job, on_target)


def _words(text: str) -> tuple[str, ...]:
    return tuple(filter(None, (word.strip() for word in text.split(","))))
