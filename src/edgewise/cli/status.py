"""``edgewise status``: how far a study is."""

import json
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

from cyclopts import App, Parameter
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

from edgewise.studies.running.status import STATES, StudyStatus, read_status

app = App(name="status")

MOST_VARIANTS = 40
"""Rows of the table; of more variants those are shown that are not done."""

MOST_FAILURES = 5


@app.default
def status(
    folder: Annotated[Path, Parameter(help="The folder of a study.")],
    *,
    as_json: Annotated[
        bool, Parameter(name="--json", negative=(), help="As JSON, for programs.")
    ] = False,
) -> int:
    """Says what is done, running, waiting and failed, and when the rest will be done."""
    found = read_status(folder)
    if as_json:
        counts = {state: found.count(state) for state in STATES}
        values = asdict(found) | {"folder": str(found.folder), "counts": counts}
        print(json.dumps(values, indent=2))
        return 0
    console = Console()

    def say(line: str) -> None:
        console.print(line, markup=False, highlight=False, soft_wrap=True)

    say(found.headline)
    console.print(_table(found))
    for trial in [t for t in found.trials if t.state == "running"]:
        say(f"{trial.name}: epoch {trial.epoch} of {trial.epochs}, for {clock(trial.seconds)}")
    failed = [t for t in found.trials if t.state == "failed"]
    for trial in failed[:MOST_FAILURES]:
        say(f"{trial.name} failed: {trial.message}")
    if len(failed) > MOST_FAILURES:
        say(f"… and {len(failed) - MOST_FAILURES} more failures")
    if found.driven:
        left = "not known yet" if found.remaining is None else f"about {clock(found.remaining)}"
        say(f"time left: {left}")
    say(f"disk: {size(found.bytes)} used, {size(found.free)} free")
    if found.last:
        say(f"last line of the log: {found.last}")
    return 0


def _table(found: StudyStatus) -> Table:
    table = Table(box=SIMPLE_HEAD, padding=(0, 1))
    table.add_column("variant", no_wrap=True)
    for heading in (*STATES, "s/trial"):
        table.add_column(heading, justify="right", no_wrap=True)
    names = list(dict.fromkeys(trial.variant for trial in found.trials))
    shown = names
    if len(names) > MOST_VARIANTS:
        open_ones = {trial.variant for trial in found.trials if trial.state != "done"}
        shown = [name for name in names if name in open_ones][:MOST_VARIANTS]
    for name in shown:
        times = [
            t.seconds for t in found.trials if t.variant == name and t.state == "done" and t.seconds
        ]
        seconds = f"{sum(times) / len(times):.1f}" if times else "–"
        table.add_row(name, *(str(found.count(state, name)) for state in STATES), seconds)
    hidden = len(names) - len(shown)
    total = "all" if not hidden else f"all, with {hidden} more variants"
    table.add_section()
    table.add_row(total, *(str(found.count(state)) for state in STATES), "")
    return table


def clock(seconds: float | None) -> str:
    """Seconds for people.

    Example:
        >>> clock(42), clock(200), clock(9000)
        ('42 s', '3 min 20 s', '2 h 30 min')

    """
    whole = round(seconds or 0)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    return f"{whole // 3600} h {whole % 3600 // 60} min"


def size(count: float) -> str:
    """Bytes for people.

    Example:
        >>> size(512), size(3 << 20)
        ('512 B', '3.0 MiB')

    """
    units = ["B", "KiB", "MiB", "GiB", "TiB"]
    while count >= 1024 and len(units) > 1:
        count, units = count / 1024, units[1:]
    return f"{count:.0f} {units[0]}" if units[0] == "B" else f"{count:.1f} {units[0]}"
