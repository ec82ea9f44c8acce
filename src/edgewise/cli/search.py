"""``edgewise search``: the settings that validate best, then one honest test of them."""

from pathlib import Path
from typing import Annotated, Any

from cyclopts import App, Parameter
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

from edgewise.cli.compare import train_and_report
from edgewise.cli.configuration import Folder, read_values
from edgewise.cli.run_flags import Run, RunFlags
from edgewise.core import keep_freed_memory, require, write_json
from edgewise.drawing import save_png
from edgewise.studies import make_study
from edgewise.studies.running.progress import StudyProgress
from edgewise.studies.search.figure import search_history
from edgewise.studies.search.search import Tried, best, search
from edgewise.studies.search.space import make_space

app = App(name="search")

SHOWN = 10
"""Rows of the table."""


@app.default
def search_and_test(
    config: Annotated[
        Path,
        Parameter(
            help="A JSON file of a study; a list, or an object with low, high and log, is searched."
        ),
    ],
    *,
    out: Folder = Path("runs/search"),
    trials: Annotated[int, Parameter(help="How many settings to try in all.")] = 40,
    seed: Annotated[int, Parameter(help="Of the proposals and of what they are tried with.")] = 0,
    run: Run = RunFlags(),  # noqa: B008 - frozen
) -> int:
    """Searches the settings of a study on the validation split, then tests the best."""
    require("optuna", "search")
    values: dict[str, Any] = read_values(config, {})
    space = make_space(values, str(config))
    run.make_engine()
    keep_freed_memory()
    with StudyProgress(Console(stderr=True)) as bars:
        tried = search(space, out, trials, seed=seed, on_event=bars)
    chosen = best(tried)
    study = make_study(chosen.point)
    write_json(out / "best.json", chosen.point)
    score = "validation accuracy" if "accuracy" in _select(study) else "- validation loss"
    title = f"{' or '.join(space.subjects.values)} on {study.dataset}"
    save_png(search_history(tried, score, title), out / "search.png")
    console = Console()
    console.print(_table(tried, score))
    line = f"The best settings: {out / 'best.json'}; now {study.seeds} seeds of them are tested."
    console.print(line, markup=False, highlight=False, soft_wrap=True)
    return train_and_report(study, out / "best", study.variants(), run)


def _select(study: Any) -> str:
    """By what an epoch, and so a trial, is chosen."""
    return study.settings(study.task(study.load())).select


def _table(tried: list[Tried], score: str) -> Table:
    """The best, with what moved."""
    table = Table(box=SIMPLE_HEAD, padding=(0, 1))
    ranked = sorted((one for one in tried if one.state == "complete"), key=lambda one: -one.score)
    names = list(dict.fromkeys(name for one in ranked for name in one.values))
    for name in ("trial", score, *names):
        table.add_column(name, justify="right")
    for one in ranked[:SHOWN]:
        cells = [_cell(one.values.get(name, "–")) for name in names]
        table.add_row(str(one.number + 1), f"{one.score:.4f}", *cells)
    return table


def _cell(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)
