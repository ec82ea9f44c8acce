"""A progress bar for a run, in a terminal or a notebook."""

import time
from types import TracebackType
from typing import Self

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TaskID,
    TextColumn,
    TimeRemainingColumn,
)
from torch import nn

from edgewise.train.history import Row
from edgewise.train.step import Step


class ProgressBar:
    """Epoch, batches, loss, accuracy and the time left, on one line.

    ``bar.batch`` is an ``on_batch`` callable and ``bar.epoch`` an ``on_epoch`` one. Where the
    console is no terminal (a file, a pipe) only the last state is written.

    Args:
        epochs: Epochs of the run.
        console: Where to draw; None is rich's own choice.

    Example:
        >>> import io
        >>> out = io.StringIO()
        >>> with ProgressBar(epochs=1, console=Console(file=out, width=100)) as bar:
        ...     bar.batch(Step(1, 4, 4, 8, 0.5, 0.0, 6, 1e-3, 1.0))
        >>> "epoch 1/1" in out.getvalue() and "loss 0.5000" in out.getvalue()
        True

    """

    def __init__(self, epochs: int, console: Console | None = None) -> None:
        self.epochs = epochs
        console = Console() if console is None else console
        self.notebook = _Notebook() if console.is_jupyter else None
        self.progress = Progress(
            TextColumn("epoch {task.fields[epoch]}/{task.fields[epochs]}"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.description} {task.fields[validation]}"),
            TimeRemainingColumn(),
            console=console,
        )
        self.task: TaskID | None = None

    def __enter__(self) -> Self:
        # In a notebook rich's live display needs ipywidgets; IPython's own display does not.
        if not self.notebook:
            self.progress.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if not self.notebook:
            self.progress.stop()
        elif self.task is not None:
            self.notebook.show(self.progress, force=True)

    def batch(self, step: Step) -> None:
        """Moves the bar by one optimiser step."""
        done = (step.epoch - 1) * step.batches + step.batch
        text = _say(step.loss, step.accuracy)
        if self.task is None:
            # A resumed run starts where it is; counting from 0 would spoil the time left.
            self.task = self.progress.add_task(
                text,
                total=self.epochs * step.batches,
                completed=done,
                epoch=step.epoch,
                epochs=self.epochs,
                validation="",
            )
        self.progress.update(self.task, completed=done, description=text, epoch=step.epoch)
        if self.notebook:
            self.notebook.show(self.progress)

    def epoch(self, row: Row, model: nn.Module) -> None:
        """Shows the validation of the epoch that is done."""
        if self.task is not None:
            text = _say(row["validation_loss"], row["validation_accuracy"])
            self.progress.update(self.task, validation=f"(validation: {text})")


class _Notebook:
    """Redraws one output of a notebook cell, a few times a second."""

    def __init__(self, interval: float = 0.25) -> None:
        self.interval = interval
        self.handle = None
        self.last = 0.0

    def show(self, progress: Progress, force: bool = False) -> None:
        if not force and time.monotonic() - self.last < self.interval:
            return
        self.last = time.monotonic()
        picture = progress.make_tasks_table(progress.tasks)
        if self.handle is None:
            # IPython is there whenever this runs, and only then.
            from IPython.display import display

            self.handle = display(picture, display_id=True)
        else:
            self.handle.update(picture)


def _say(loss: float, accuracy: float | None) -> str:
    return f"loss {loss:.4f}" + ("" if accuracy is None else f" accuracy {accuracy:.4f}")
