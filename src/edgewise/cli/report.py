"""``edgewise report``: analysis, figures and report again, without training."""

from pathlib import Path
from typing import Annotated

from cyclopts import App, Parameter
from rich.console import Console

from edgewise.core import InputError, read_json
from edgewise.studies.report.report import summary_table, write_report

app = App(name="report")


@app.default
def report(folder: Annotated[Path, Parameter(help="The folder of a study.")]) -> int:
    """Redoes analysis, figures and report from what a folder holds."""
    if not (folder / "config.json").exists():
        raise InputError(f"{folder} holds no study: it has no config.json")
    return show_report(folder, tuple(read_json(folder / "config.json").get("analyses", ())))


def show_report(folder: Path, analyses: tuple[str, ...]) -> int:
    """Writes the report and prints its table."""
    page = write_report(folder, analyses)
    analysis = read_json(folder / "detailed_analysis.json")
    console = Console()
    console.print(summary_table(analysis))
    console.print(analysis["headline"], markup=False, highlight=False)
    console.print(f"The report: {page}", markup=False, highlight=False, soft_wrap=True)
    return 0
