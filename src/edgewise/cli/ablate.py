"""``edgewise ablate``: lists in a configuration become a grid."""

from pathlib import Path
from typing import Annotated, Any

from cyclopts import App, Parameter

from edgewise.cli.compare import train_and_report
from edgewise.cli.configuration import Folder, read_values
from edgewise.cli.run_flags import Run, RunFlags
from edgewise.studies import grid

app = App(name="ablate")


@app.default
def ablate(
    config: Annotated[Path, Parameter(help="A JSON file of a study; lists in it are axes.")],
    *,
    out: Folder = Path("runs/ablate"),
    run: Run = RunFlags(),  # noqa: B008 - frozen
) -> int:
    """Trains every combination of the lists in a configuration; same report."""
    values: dict[str, Any] = read_values(config, {})
    study, variants = grid(values, str(config))
    return train_and_report(study, out, variants, run)
