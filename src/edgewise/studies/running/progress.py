"""What a study is at, for people who look: one bar for all trials, one for each running trial."""

from types import TracebackType
from typing import Any

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)


class StudyProgress:
    """Progress bars for :func:`edgewise.studies.run_study`; pass it as ``on_event``.

    Where the console is no terminal, a line is written for each finished trial instead.

    Args:
        console: Where to draw.

    Example:
        >>> import io
        >>> out = io.StringIO()
        >>> with StudyProgress(Console(file=out, width=100)) as bars:
        ...     bars({"kind": "plan", "trials": 1, "finished": 0})
        ...     bars({"kind": "start", "trial": "lete seed 0", "epochs": 2})
        ...     bars({"kind": "done", "trial": "lete seed 0"})
        >>> "lete seed 0 done" in out.getvalue()
        True

    """

    def __init__(self, console: Console | None = None) -> None:
        self.console = Console() if console is None else console
        self._bars = Progress(
            TextColumn("{task.description}"),
            BarColumn(bar_width=30),
            MofNCompleteColumn(),
            TextColumn("{task.fields[said]}"),
            TimeElapsedColumn(),
            TimeRemainingColumn(),
            console=self.console,
            transient=True,
            disable=not self.console.is_terminal,
        )
        self._all: TaskID | None = None
        self._running: dict[str, TaskID] = {}
        self._done, self._total = 0, 0

    def __enter__(self) -> "StudyProgress":
        self._bars.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._bars.stop()

    def __call__(self, event: dict[str, Any]) -> None:
        """Shows one event."""
        {
            "plan": self._plan,
            "start": self._start,
            "epoch": self._epoch,
            "lost": self._lost,
            "done": lambda event: self._end(event, "done"),
            "failed": lambda event: self._end(event, f"failed: {event['message']}"),
        }[event["kind"]](event)

    def _plan(self, event: dict[str, Any]) -> None:
        self._total, self._done = event["trials"], event["finished"]
        self._all = self._bars.add_task(
            "all trials", total=self._total, completed=self._done, said=""
        )
        if self._done:
            self.console.print(f"{self._done} of {self._total} trials are finished already")

    def _start(self, event: dict[str, Any]) -> None:
        name = event["trial"]
        self._running[name] = self._bars.add_task(name, total=event["epochs"], said="starting")

    def _epoch(self, event: dict[str, Any]) -> None:
        accuracy = event.get("validation_accuracy")
        said = "" if accuracy is None else f"validation {100 * accuracy:.1f} %"
        self._bars.update(self._running[event["trial"]], completed=event["epoch"], said=said)

    def _lost(self, event: dict[str, Any]) -> None:
        """The trial is tried again: its bar starts anew."""
        name = event["trial"]
        self._bars.update(self._running[name], completed=0, said="again")
        self.console.print(f"{name} lost ({event['message']}); it is tried again", markup=False)

    def _end(self, event: dict[str, Any], said: str) -> None:
        self._bars.remove_task(self._running.pop(event["trial"]))
        self._done += 1
        self._bars.update(self._all, completed=self._done)
        self.console.print(f"[{self._done}/{self._total}] {event['trial']} {said}", markup=False)
