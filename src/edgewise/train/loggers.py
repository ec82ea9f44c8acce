"""Loggers that follow a run elsewhere: TensorBoard and MLflow behind one small interface."""

import math
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, Protocol

from torch import nn

from edgewise.core import InputError, Registry, require
from edgewise.train.history import Row


class Logger(Protocol):
    """What follows a run: an ``on_epoch`` callable of `edgewise.train.fit` that can be closed."""

    def __call__(self, row: Row, model: nn.Module | None = None) -> None:
        """Takes an epoch's row."""
        ...

    def close(self) -> None:
        """Called once, when the run is over or given up."""
        ...


LOGGERS: Registry[Callable[[Path, str], Logger]] = Registry("logger")
"""Functions ``(folder, run)`` to a logger: where its files may go, and what the run is called."""


def numbers(row: Row) -> dict[str, float]:
    """The finite numbers of a row by name; those within lists and dictionaries as ``a/b``.

    Example:
        >>> numbers({"epoch": 2, "train_loss": 0.5, "note": "x", "usage": {"selected": [0.25, 1]}})
        {'train_loss': 0.5, 'usage/selected/0': 0.25, 'usage/selected/1': 1.0}

    """
    rest = {key: value for key, value in row.items() if key != "epoch"}
    return {name: v for key, value in rest.items() for name, v in _flat(key, value)}


def _flat(name: str, value: Any) -> Iterator[tuple[str, float]]:
    if isinstance(value, dict):
        value = list(value.items())
    elif isinstance(value, (list, tuple)):
        value = list(enumerate(value))
    else:
        if isinstance(value, (int, float)) and math.isfinite(value):
            yield name, float(value)
        return
    for key, inner in value:
        yield from _flat(f"{name}/{key}", inner)


@LOGGERS.register("tensorboard")
class TensorBoardLog:
    """Scalars for TensorBoard (extra ``loggers``) in ``<folder>/tensorboard/<run>``.

    Show them with ``tensorboard --logdir <folder>/tensorboard``. An epoch that a killed run repeats
    hides what was written for it before.

    Args:
        folder: Where logs go.
        run: What the run is called.

    """

    def __init__(self, folder: Path, run: str) -> None:
        require("tensorboard", "loggers")
        self.path = Path(folder) / "tensorboard" / run
        self._writer: Any = None

    def __call__(self, row: Row, model: nn.Module | None = None) -> None:
        """Writes the row's numbers."""
        if self._writer is None:
            from torch.utils.tensorboard import SummaryWriter  # seconds to import

            self._writer = SummaryWriter(str(self.path), purge_step=row["epoch"])
        for name, value in numbers(row).items():
            self._writer.add_scalar(name, value, row["epoch"])
        self._writer.flush()

    def close(self) -> None:
        """Ends the file."""
        if self._writer is not None:
            self._writer.close()


@LOGGERS.register("mlflow")
class MLflowLog:
    """Metrics for MLflow (extra ``loggers``), one MLflow run a run of ours.

    They go to the server that MLFLOW_TRACKING_URI names. The experiment is called after the folder
    that ``folder`` lies in; a run that was killed is taken up again by its name.

    Args:
        folder: Where logs go.
        run: What the run is called.

    Raises:
        InputError: If MLFLOW_TRACKING_URI is not set: MLflow keeps no plain files any more.

    """

    def __init__(self, folder: Path, run: str) -> None:
        require("mlflow", "loggers")
        if not os.environ.get("MLFLOW_TRACKING_URI"):
            raise InputError(
                "the logger 'mlflow' needs to know its server: set MLFLOW_TRACKING_URI, for "
                "instance to http://127.0.0.1:5000"
            )
        self.experiment, self.run = Path(folder).absolute().parent.name or "edgewise", run
        self._client: Any = None
        self._id = ""

    def __call__(self, row: Row, model: nn.Module | None = None) -> None:
        """Sends the row's numbers."""
        if self._client is None:
            self._connect()
        for name, value in numbers(row).items():
            self._client.log_metric(self._id, name, value, step=row["epoch"])

    def close(self) -> None:
        """Marks the run as finished."""
        if self._client is not None:
            self._client.set_terminated(self._id)

    def _connect(self) -> None:
        from mlflow.tracking import MlflowClient  # seconds to import

        self._client = MlflowClient()
        found = self._client.get_experiment_by_name(self.experiment)
        experiment = (
            found.experiment_id if found else self._client.create_experiment(self.experiment)
        )
        words = f"attributes.run_name = '{self.run}'"
        runs = self._client.search_runs([experiment], words, max_results=1)
        run = runs[0] if runs else self._client.create_run(experiment, run_name=self.run)
        self._id = run.info.run_id


def check_loggers(names: Sequence[str]) -> None:
    """Refuses, before work starts, a logger that there is not or whose package is absent.

    Raises:
        InputError: If there is no such logger.
        MissingExtraError: If its extra is not installed.

    Example:
        >>> check_loggers(["tensorbord"])
        Traceback (most recent call last):
        edgewise.core.errors.InputError: unknown logger 'tensorbord': did you mean 'tensorboard'? (known: tensorboard, mlflow)

    """  # noqa: E501
    if isinstance(names, str):
        raise InputError(f"loggers must be a list of names, got {names!r}")
    for name in names:
        # Nothing is written or imported before a row comes, but the extra is asked for.
        LOGGERS.resolve(name)(Path(), "check").close()


@contextmanager
def make_loggers(names: Sequence[str], folder: Path, run: str) -> Iterator[list[Logger]]:
    """Loggers by name, closed at the end.

    Args:
        names: Of `LOGGERS`, or ``module:name``.
        folder: Where their files may go.
        run: What the run is called.

    Example:
        >>> with make_loggers([], Path("."), "run") as loggers:
        ...     loggers
        []

    """
    with ExitStack() as stack:
        made = [LOGGERS.resolve(name)(folder, run) for name in names]
        for logger in made:
            stack.callback(logger.close)
        yield made
