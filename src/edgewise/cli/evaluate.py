"""``edgewise evaluate``: loss and accuracy of a saved network."""

from pathlib import Path
from typing import Annotated

from cyclopts import App, Parameter
from rich.console import Console

from edgewise.cli.data import DataDir
from edgewise.jobs.images.evaluation import evaluate_images
from edgewise.jobs.images.files import score_line

app = App(name="evaluate")


@app.default
def evaluate(
    model: Annotated[Path, Parameter(help="A file that edgewise train or edgewise.save wrote.")],
    *,
    dataset: Annotated[
        str, Parameter(help="mnist, fashion_mnist, digits, or module:function.")
    ] = "mnist",
    data_dir: DataDir = None,
) -> int:
    """Loss and accuracy of a saved network on the test images of a data set."""
    result = evaluate_images(model, dataset, data_dir)
    line = f"{model} on {dataset}: {score_line(result)}"
    Console().print(line, markup=False, highlight=False, soft_wrap=True)
    return 0
