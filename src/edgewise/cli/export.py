"""``edgewise export``: a saved model in another format."""

from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Literal

from cyclopts import App, Parameter
from rich.console import Console
from torch import nn

from edgewise.core import InputError
from edgewise.export import load, mlx, onnx, program, read_notes, save_pretrained

app = App(name="export")


@app.default
def export(
    model: Annotated[Path, Parameter(help="A file that edgewise train or edgewise.save wrote.")],
    *,
    format: Annotated[
        Literal["onnx", "program", "mlx", "hub-folder"],
        Parameter(
            help="onnx; program, the .pt2 of torch.export; mlx, weights as MLX wants them; or "
            "hub-folder, weights and a model card as the Hugging Face hub wants them."
        ),
    ],
    out: Annotated[Path, Parameter(help="The file to write; with hub-folder, the folder.")],
    opset: Annotated[int | None, Parameter(help="ONNX: the operator set, 18 to 23 [20].")] = None,
    licence: Annotated[
        str | None, Parameter(help="hub-folder: for the card, such as apache-2.0.")
    ] = None,
    dataset: Annotated[
        str | None, Parameter(help="hub-folder: for the card; else what the notes say.")
    ] = None,
    trust: Annotated[
        str, Parameter(help="Packages, with commas, whose classes the file may name.")
    ] = "",
) -> int:
    """Writes a saved model in another format; onnx and program are compared with it first."""
    _check(format, out, {"opset": opset}, {"licence": licence, "dataset": dataset})
    loaded = load(model, tuple(word for word in trust.split(",") if word))
    if format == "hub-folder":
        said = {"licence": licence, "dataset": dataset}
        written = save_pretrained(loaded, out, read_notes(model), **said)
    else:
        written = _with_progress(format, loaded, out, opset)
    line = f"written: {written}"
    Console().print(line, markup=False, highlight=False, soft_wrap=True)
    return 0


def _check(format: str, out: Path, for_onnx: dict, for_folder: dict) -> None:
    """Refuses flags that the format has no use for, and a place that is of another kind."""
    for fits, flags in ((("onnx",), for_onnx), (("hub-folder",), for_folder)):
        for name, value in flags.items():
            if value is not None and format not in fits:
                raise InputError(f"--{name} goes with --format {fits[0]}, not with {format}")
    if format == "hub-folder" and out.exists() and not out.is_dir():
        raise InputError(f"--out {out} is a file; hub-folder writes a folder")
    if format != "hub-folder" and out.is_dir():
        raise InputError(f"--out {out} is a folder; name a file")


def _with_progress(format: str, model: nn.Module, out: Path, opset: int | None) -> Path:
    """Writes one file; what is being done shows beside a spinner, where there is a terminal."""
    with Console(stderr=True).status("starting") as status:

        def say(step: str) -> None:
            status.update(f"{type(model).__name__}: {step} …")

        write: dict[str, Callable[[], object]] = {
            "onnx": lambda: onnx(model, out, opset=20 if opset is None else opset, on_step=say),
            "program": lambda: program(model, path=out, on_step=say),
            "mlx": lambda: mlx(model, out),
        }
        write[format]()
    return out
