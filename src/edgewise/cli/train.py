"""``edgewise train``: one network on images."""

from contextlib import ExitStack
from pathlib import Path
from typing import Annotated, Any

from cyclopts import App, Parameter
from rich.console import Console

from edgewise.cli.devices import check_devices, end_with_parent, train_on
from edgewise.cli.flags import flags_of
from edgewise.cli.run_flags import names_in
from edgewise.core import InputError, keep_freed_memory, read_json
from edgewise.jobs.images.job import ImageJob, make_image_job
from edgewise.jobs.images.run import train_images
from edgewise.train import ProgressBar, Step, check_loggers, is_first, joined, make_loggers

app = App(name="train")


@app.default
@flags_of(ImageJob)
def train(
    *,
    config: Annotated[
        Path | None, Parameter(help="A JSON file of the options; flags overrule it.")
    ] = None,
    devices: Annotated[
        int,
        Parameter(help="GPUs, or processes on the CPU, that share every batch; as torchrun does."),
    ] = 1,
    loggers: Annotated[
        str, Parameter(help="Who follows the training beside its history: tensorboard, mlflow.")
    ] = "",
    **values: Any,
) -> int:
    """Trains one KAN, or a baseline, on images; a killed run goes on with the same command."""
    job = make_image_job(_read(config) | values, str(config or "the command line"))
    check_loggers(names_in(loggers))
    check_devices(devices, job)
    if devices > 1:
        return train_on(devices, job, loggers)
    end_with_parent()
    with joined():
        return _train(job, names_in(loggers) if is_first() else [])


def _train(job: ImageJob, loggers: list[str]) -> int:
    """Trains here; where several processes do, the first one speaks."""
    keep_freed_memory()
    console = Console(quiet=not is_first())
    bar = ProgressBar(job.settings().epochs, Console(stderr=True, quiet=not is_first()))
    path = Path(job.save_path)

    def say(line: str) -> None:
        console.print(line, markup=False, highlight=False, soft_wrap=True)

    with (
        ExitStack() as open_bars,
        make_loggers(loggers, path.with_name(f"{path.stem}_logs"), path.stem) as follow,
    ):

        def batch(step: Step) -> None:
            # Not before: a request that is refused leaves one line and no bar.
            if bar.task is None:
                open_bars.enter_context(bar)
            bar.batch(step)

        result = train_images(job, say, on_epoch=follow, on_batch=[batch])
    say("written: " + ", ".join(map(str, result.files)))
    return 0


def _read(config: Path | None) -> dict[str, Any]:
    """The options of a file; a history is one, with the job it came from."""
    if config is None:
        return {}
    values = read_json(config)
    if not isinstance(values, dict):
        raise InputError(f"{config} must hold one JSON object, got {type(values).__name__}")
    return values.get("job", values)
