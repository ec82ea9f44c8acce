"""``edgewise bench``: timing tables."""

import os
import platform
from typing import Annotated

import torch
from cyclopts import App, Parameter
from rich.console import Console
from rich.table import Column, Table

from edgewise.cli.run_flags import names_in
from edgewise.core import InputError, keep_freed_memory
from edgewise.studies.costs.encoder_costs import encoder_costs
from edgewise.studies.costs.layer_costs import layer_costs, path_of

app = App(name="bench")

KeepMemory = Annotated[
    bool,
    Parameter(
        help="Keep freed memory, as the commands that train do (Linux); without it, as a script.",
        negative=(),
    ),
]


@app.command
def encoders(
    *,
    batch: Annotated[int, Parameter(help="Streams in a batch.")] = 256,
    mean_length: Annotated[int, Parameter(help="Events in a stream.")] = 68,
    rounds: Annotated[int, Parameter(help="How often each step is timed.")] = 9,
    threads: Annotated[int, Parameter(help="Threads of torch.")] = 1,
    keep_memory: KeepMemory = False,
) -> int:
    """Times a training step of an LSTM classifier with each time encoder, in turns."""
    torch.set_num_threads(threads)
    kept = _kept(keep_memory)
    costs = encoder_costs(batch=batch, mean_length=mean_length, rounds=rounds)
    table = Table(
        "encoder",
        *(("parameters", "step, ms", "encoding alone, ms", "step / learned table")),
        title=f"Training step, batch {batch}, mean length {mean_length}, LSTM 128, "
        f"median of {rounds}\n{machine()}, "
        f"torch {torch.__version__}, {threads} thread(s){kept}",
    )
    for c in costs:
        row = (f"{c.parameters:,}", f"{1e3 * c.step:.0f}", f"{1e3 * c.encode:.1f}")
        table.add_row(c.encoder, *row, f"{c.ratio:.2f}")
    _console().print(table)
    return 0


@app.command
def layers(
    *,
    widths: Annotated[str, Parameter(help="Units of each layer, with commas.")] = "784,64,10",
    batch: Annotated[int, Parameter(help="Rows of a batch.")] = 256,
    grid_size: Annotated[int, Parameter(help="Cells of the B-splines.")] = 5,
    input_gradient: Annotated[bool, Parameter(help="The first layer's inputs want one.")] = False,
    rounds: Annotated[int, Parameter(help="How often each step is timed.")] = 15,
    only: Annotated[str, Parameter(help="Networks beside ours, with commas; empty is all.")] = "",
    threads: Annotated[int, Parameter(help="Threads of torch.")] = 1,
    keep_memory: KeepMemory = False,
) -> int:
    """Times training steps of KAN layers, ours and of peers that can be imported, in turns."""
    torch.set_num_threads(threads)
    kept = _kept(keep_memory)
    try:
        sizes = [int(part) for part in widths.split(",")]
    except ValueError as error:
        raise InputError(
            f"widths is {widths!r}: give whole numbers with commas, as 784,64,10"
        ) from error
    costs = layer_costs(
        sizes,
        batch=batch,
        grid_size=grid_size,
        input_gradient=input_gradient,
        rounds=rounds,
        only=names_in(only),
    )
    table = Table(
        Column("network", no_wrap=True),
        *("parameters", "forward, ms", "step, ms", "/ ours", "with Adam, ms", "/ ours"),
        *("peak, MB", "saved, MB", "share of roofline"),
        title=f"{sizes}, batch {batch}, G = {grid_size}, float32, median of {rounds}\n"
        f"{machine()}, torch {torch.__version__}, {threads} thread(s){kept}\n"
        f"first layer: {path_of(sizes, batch, grid_size)}",
    )
    for c in costs:
        times = (f"{1e3 * c.forward:.1f}", f"{1e3 * c.step:.1f}", f"{c.ratio:.2f}")
        times += (f"{1e3 * c.train:.1f}", f"{c.train_ratio:.2f}")
        memory = (f"{c.peak / 1e6:.1f}", f"{c.saved / 1e6:.2f}")
        table.add_row(c.name, f"{c.parameters:,}", *times, *memory, f"{c.roofline:.2f}")
    _console().print(table)
    return 0


def _kept(keep_memory: bool) -> str:
    """Keeps freed memory where that is asked for, and what the table's title says of it."""
    return ", freed memory kept" if keep_memory and keep_freed_memory() else ""


def machine() -> str:
    """The processor, its widest vectors and how many cores there are, in words."""
    name = platform.processor() or platform.machine()
    return f"{name}, {torch.backends.cpu.get_cpu_capability()}, {os.cpu_count()} cores"


def _console() -> Console:
    console = Console()
    # Tables that go to a file are not cut to a terminal that is not there.
    return console if console.is_terminal else Console(width=130)
