"""``edgewise compare``: encoders or models × seeds, then analysis and report."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from cyclopts import App
from rich.console import Console

from edgewise.cli.configuration import ConfigFile, Folder, read_values, study_flags
from edgewise.cli.report import show_report
from edgewise.cli.run_flags import Run, RunFlags
from edgewise.core import keep_freed_memory
from edgewise.studies import AbstractStudy, Variant, make_study, run_study
from edgewise.studies.running.progress import StudyProgress

app = App(name="compare")


@app.default
@study_flags
def compare(
    config: ConfigFile = None,
    *,
    out: Folder = Path("runs/compare"),
    run: Run = RunFlags(),  # noqa: B008 - frozen
    **values: Any,
) -> int:
    """Compares encoders or models over seeds, and writes the report."""
    study = make_study(read_values(config, values), str(config or "the command line"))
    return train_and_report(study, out, study.variants(), run)


def train_and_report(
    study: AbstractStudy, out: Path, variants: Sequence[Variant], run: RunFlags
) -> int:
    """Runs the study with progress bars, then reports; 1 if no trial succeeded."""
    engine, loggers = run.make_engine(), run.logger_names()
    keep_freed_memory()
    with StudyProgress(Console(stderr=True)) as bars:
        run_study(study, out, variants=variants, engine=engine, loggers=loggers, on_event=bars)
    return show_report(out, study.analyses)
