"""Flags that say who runs a study and who follows it; they are no part of the study."""

from dataclasses import dataclass
from typing import Annotated

from cyclopts import Parameter

from edgewise.studies.running.engine import ENGINES, Engine, make_engine


@dataclass(frozen=True)
class RunFlags:
    """How a study is run; None leaves a choice to the engine."""

    engine: Annotated[
        str, Parameter(help=f"Who runs the trials: {', '.join(ENGINES)} (extra ray).")
    ] = "local"
    address: Annotated[
        str | None, Parameter(help="The Ray cluster: auto, host:port or ray://host:port.")
    ] = None
    cpus: Annotated[
        float | None, Parameter(help="Cores of a trial on Ray, and its threads; 1 by default.")
    ] = None
    gpus: Annotated[
        float | None, Parameter(help="GPUs of a trial on Ray, or a part of one; 0 by default.")
    ] = None
    memory: Annotated[float | None, Parameter(help="GiB that a trial on Ray needs.")] = None
    threads: Annotated[
        int | None,
        Parameter(help="Threads of a local worker: 1 by default; 0 divides the machine's cores."),
    ] = None
    retries: Annotated[
        int | None,
        Parameter(help="How often a trial lost with its worker is tried again at once."),
    ] = None
    loggers: Annotated[
        str,
        Parameter(help="Who follows the trials beside the CSV files: tensorboard, mlflow."),
    ] = ""

    def make_engine(self) -> Engine:
        """The engine that is asked for."""
        names = ("address", "cpus", "gpus", "memory", "threads", "retries")
        return make_engine(self.engine, **{name: getattr(self, name) for name in names})

    def logger_names(self) -> list[str]:
        """The loggers that are asked for."""
        return names_in(self.loggers)


def names_in(text: str) -> list[str]:
    """The names in a list with commas.

    Example:
        >>> names_in("tensorboard, mlflow")
        ['tensorboard', 'mlflow']

    """
    return [word.strip() for word in text.split(",") if word.strip()]


Run = Annotated[RunFlags, Parameter(name="*")]
