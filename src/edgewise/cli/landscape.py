"""``edgewise landscape``: the loss around a saved model."""

from pathlib import Path
from types import TracebackType
from typing import Annotated, Any

from cyclopts import App, Parameter
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn
from rich.progress import TimeRemainingColumn as TimeLeft

from edgewise.cli.flags import flags_of
from edgewise.core import keep_freed_memory, read_json
from edgewise.jobs.landscape.job import LandscapeJob
from edgewise.jobs.landscape.report import headline
from edgewise.jobs.landscape.run import run_landscape

app = App(name="landscape")


@app.default
@flags_of(LandscapeJob)
def landscape(
    model: Annotated[Path, Parameter(help="A file that edgewise train or edgewise.save wrote.")],
    *,
    out: Annotated[Path, Parameter(help="The results' folder; run again, the command goes on.")],
    start: Annotated[
        Path | None,
        Parameter(
            name="--from",
            help="Another state of the same model, where the path begins; by default a fresh one.",
        ),
    ] = None,
    **values: Any,
) -> int:
    """Curvature, spectrum and path of the loss around a saved model, with a report."""
    keep_freed_memory()
    with _Bars(Console(stderr=True)) as bars:
        report = run_landscape(model, out, LandscapeJob(**values), start, bars)
    console = Console()
    for line in (headline(read_json(out / "landscape.json")), f"written: {report}"):
        console.print(line, markup=False, highlight=False, soft_wrap=True)
    return 0


class _Bars:
    """A bar for each part, from when it begins."""

    def __init__(self, console: Console) -> None:
        self.bars = Progress(
            TextColumn("{task.description:12}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeLeft(),
            console=console,
            disable=not console.is_terminal,
        )
        self.tasks: dict[str, TaskID] = {}

    def __enter__(self) -> "_Bars":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.bars.stop()

    def __call__(self, part: str, done: int, total: int) -> None:
        if part not in self.tasks:
            # Not before: a request that is refused leaves one line and no bar.
            self.bars.start()
            self.tasks[part] = self.bars.add_task(part, total=total)
        self.bars.update(self.tasks[part], completed=done)
