"""``edgewise bench``: timing tables."""

import platform
from typing import Annotated

import torch
from cyclopts import App, Parameter
from rich.console import Console
from rich.table import Table

from edgewise.studies.encoder_costs import encoder_costs

app = App(name="bench")


@app.command
def encoders(
    *,
    batch: Annotated[int, Parameter(help="Streams in a batch.")] = 256,
    mean_length: Annotated[int, Parameter(help="Events in a stream.")] = 68,
    rounds: Annotated[int, Parameter(help="How often each step is timed.")] = 9,
    threads: Annotated[int, Parameter(help="Threads of torch.")] = 1,
) -> int:
    """Times a training step of an LSTM classifier with each time encoder, in turns."""
    torch.set_num_threads(threads)
    costs = encoder_costs(batch=batch, mean_length=mean_length, rounds=rounds)
    table = Table(
        "encoder",
        *(("parameters", "step, ms", "encoding alone, ms", "step / learned table")),
        title=f"Training step, batch {batch}, mean length {mean_length}, LSTM 128, "
        f"median of {rounds}\n{platform.processor() or platform.machine()}, "
        f"torch {torch.__version__}, {threads} thread(s)",
    )
    for c in costs:
        row = (f"{c.parameters:,}", f"{1e3 * c.step:.0f}", f"{1e3 * c.encode:.1f}")
        table.add_row(c.encoder, *row, f"{c.ratio:.2f}")
    Console().print(table)
    return 0
