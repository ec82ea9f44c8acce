"""First order beside second order at equal CPU time: an MLP and a KAN on a table with classes.

    EDGEWISE_DATA=/data python benchmarks/second_order.py --out results/second_order

The table is PMLB's fars (100 968 people in fatal accidents, 29 columns, 8 outcomes) in
``$EDGEWISE_DATA/tabular``; ``--table FILE`` takes another one with a column ``target``, and
``--openml ID`` one from OpenML, where there is a network. Columns of 3 to 15 values become one
input a value, which makes 130 of fars; the others are brought to [-1, 1], three standard deviations
either way. 20 000 rows train, 5 000 test.

Both networks have about 71 000 parameters, one hidden layer, float32. SGD (momentum 0.9, 0.05) and
Adam (1e-3) take batches of 256; saddle-free Newton and HSODM take the loss of 4 096 rows and the
Hessian of 1 024 others, new ones in every step, with 20 steps of Lanczos. None was tuned.
Levenberg–Marquardt is no choice here: the Jacobian of 4 096 rows × 8 classes would take 9 GB.

The clock is the process's CPU time and stands still while a run is looked at. Each run is written
as it ends, so that the same command goes on; table and figure are made of the files.
"""

import argparse
import os
import statistics
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from matplotlib.figure import Figure
from torch import Tensor, nn

from edgewise.core import InputError, generator, read_json, seeded, write_atomically, write_json
from edgewise.data.numeric_table import load_numbers
from edgewise.landscape import top_eigenvalues
from edgewise.landscape.figures import COLOURS
from edgewise.models import KAN, MLP, count_parameters
from edgewise.optim import HSODM, SFN

TRAIN, TEST, LOOKED_AT, CURVATURE = 20_000, 5_000, 4096, 512
LEVELS = 15
LOOKS = 10
NETWORKS = {"MLP": lambda i, o: MLP([i, 512, o]), "KAN": lambda i, o: KAN([i, 57, o])}

Rows = tuple[Tensor, Tensor]


def table(arguments: argparse.Namespace) -> tuple[str, np.ndarray, np.ndarray]:
    """Name, columns and target."""
    if arguments.openml:
        from sklearn.datasets import fetch_openml

        found = fetch_openml(data_id=arguments.openml, as_frame=False, parser="liac-arff")
        return f"OpenML {arguments.openml}", np.asarray(found.data, float), np.asarray(found.target)
    file = arguments.table
    if file is None:
        if "EDGEWISE_DATA" not in os.environ:
            raise InputError("set EDGEWISE_DATA to the folder with tabular/, or give --table")
        file = Path(os.environ["EDGEWISE_DATA"]) / "tabular" / "fars.tsv.gz"
    found = load_numbers(file, ["target"])
    return file.name.partition(".")[0], found.x, found.y[:, 0]


def encode(columns: np.ndarray) -> np.ndarray:
    """A column of a few values as one input for each, the others brought to [-1, 1]."""
    parts = []
    for column in columns.T:
        values = np.unique(column)
        if 2 < len(values) <= LEVELS:
            parts.append((column[:, None] == values).astype(np.float32))
        else:
            sd = column.std() or 1.0
            # Splines end at ±1: what lies further out would be seen by their base functions only.
            within = ((column - column.mean()) / (3 * sd)).clip(-1, 1)
            parts.append(within[:, None].astype(np.float32))
    return np.concatenate(parts, axis=1)


def split(columns: np.ndarray, target: np.ndarray) -> tuple[Rows, Rows, int]:
    """Training and test rows, and the number of classes."""
    classes, labels = np.unique(target, return_inverse=True)
    x, y = torch.from_numpy(encode(columns)), torch.from_numpy(labels.reshape(-1))
    order = torch.randperm(len(x), generator=generator(0, "second order"))
    test, train = order[:TEST], order[TEST : TEST + TRAIN]
    return (x[train], y[train]), (x[test], y[test]), len(classes)


def batches(rows: Rows, size: int, seed: int, purpose: str) -> Iterator[Rows]:
    """Random batches without end."""
    random = generator(seed, purpose)
    while True:
        for part in torch.randperm(len(rows[0]), generator=random).split(size):
            if len(part) == min(size, len(rows[0])):
                yield rows[0][part], rows[1][part]


def first_order(kind: Callable) -> Callable:
    def make(model: nn.Module, rows: Rows, seed: int) -> Callable[[], None]:
        optimiser, source = kind(model.parameters()), batches(rows, 256, seed, "batches")

        def step() -> None:
            x, y = next(source)
            optimiser.zero_grad()
            F.cross_entropy(model(x), y).backward()
            optimiser.step()

        return step

    return make


def second_order(kind: type) -> Callable:
    def make(model: nn.Module, rows: Rows, seed: int) -> Callable[[], None]:
        optimiser = kind(model.parameters(), rank=20, generator=generator(seed, "lanczos"))
        source = batches(rows, 4096, seed, "batches")
        others = batches(rows, 1024, seed, "curvature")

        def step() -> None:
            (x, y), (u, v) = next(source), next(others)
            optimiser.step(
                lambda: F.cross_entropy(model(x), y), lambda: F.cross_entropy(model(u), v)
            )

        return step

    return make


OPTIMISERS = {
    "SGD": first_order(lambda p: torch.optim.SGD(p, lr=0.05, momentum=0.9)),
    "Adam": first_order(lambda p: torch.optim.Adam(p, lr=1e-3)),
    "SFN": second_order(SFN),
    "HSODM": second_order(HSODM),
}


def look(model: nn.Module, train: Rows, test: Rows) -> dict[str, float]:
    """Losses, accuracies and the largest eigenvalue of the Hessian, on fixed rows."""
    found = {}
    model.eval()
    with torch.no_grad():
        for name, (x, y) in (("train", train), ("test", test)):
            logits = model(x[:LOOKED_AT])
            found[f"{name}_loss"] = float(F.cross_entropy(logits, y[:LOOKED_AT]))
            found[f"{name}_accuracy"] = float((logits.argmax(1) == y[:LOOKED_AT]).float().mean())
    some = (train[0][:CURVATURE], train[1][:CURVATURE])
    found["sharpness"] = top_eigenvalues(model, F.cross_entropy, some, 1, tol=1e-2)[0]
    model.train()
    return found


def run(network: str, name: str, seed: int, seconds: float, data: tuple) -> dict[str, Any]:
    """One network trained by one optimiser."""
    train, test, classes = data
    with seeded(seed, "init"):
        model = NETWORKS[network](train[0].shape[1], classes)
    step = OPTIMISERS[name](model, train, seed)
    at = [0.0, *np.geomspace(0.03, 1, LOOKS) * seconds]
    rows, spent, steps = [], 0.0, 0
    for until in at:
        start = time.process_time() - spent
        while (spent := time.process_time() - start) < until:
            step()
            steps += 1
        rows.append({"seconds": spent, "steps": steps, **look(model, train, test)})
    return {"parameters": count_parameters(model), "budget": seconds, "rows": rows}


def all_runs(out: Path, seeds: int, seconds: float, data: tuple) -> dict[str, dict[str, list]]:
    # The first use of an optimiser imports, which is not its fault.
    for name in OPTIMISERS:
        run("MLP", name, 0, 0.01, data)
    found: dict[str, dict[str, list]] = {n: {o: [] for o in OPTIMISERS} for n in NETWORKS}
    for seed in range(seeds):
        for network in NETWORKS:
            for name in OPTIMISERS:
                file = out / "runs" / f"{network}_{name}_seed-{seed}.json"
                if not file.exists():
                    write_json(file, run(network, name, seed, seconds, data))
                kept = read_json(file)
                if kept["budget"] != seconds:
                    raise InputError(
                        f"{file} had {kept['budget']:g} s, not {seconds:g}: choose another --out"
                    )
                found[network][name].append(kept)
                last = kept["rows"][-1]
                print(
                    f"{network} {name} seed {seed}: loss {last['train_loss']:.4f}, "
                    f"test accuracy {100 * last['test_accuracy']:.2f} %",
                    flush=True,
                )
    return found


def as_table(runs: dict[str, dict[str, list]]) -> str:
    """Where each run ended: mean and range over seeds."""
    lines = [
        "| network | optimiser | steps | training loss | test loss | test accuracy, % | λ₁ |",
        "|---" * 7 + "|",
    ]

    def said(values: list[float], form: str, scale: float = 1.0) -> str:
        low, mean, high = (scale * f(values) for f in (min, statistics.mean, max))
        return f"{mean:{form}} ({low:{form}} to {high:{form}})"

    for network, by_name in runs.items():
        for name, found in by_name.items():
            ends = [r["rows"][-1] for r in found]
            each = {key: [end[key] for end in ends] for key in ends[0]}
            lines.append(
                f"| {network} | {name} | {statistics.mean(each['steps']):.0f} | "
                f"{said(each['train_loss'], '.4f')} | {said(each['test_loss'], '.4f')} | "
                f"{said(each['test_accuracy'], '.2f', 100)} | {said(each['sharpness'], '.3g')} |"
            )
    return "\n".join(lines) + "\n"


PANELS = (
    ("train_loss", "training loss (nats)", 1.0),
    ("test_accuracy", "test accuracy (%)", 100.0),
    ("sharpness", "largest eigenvalue of the Hessian", 1.0),
)


def figure(runs: dict[str, dict[str, list]], name: str) -> Figure:
    """A row for each network: loss, accuracy and curvature over CPU time, mean and range."""
    drawn = Figure(figsize=(11, 6.6), layout="constrained")
    axes = drawn.subplots(len(runs), len(PANELS), sharex=True, squeeze=False)
    for row, (network, by_name) in zip(axes, runs.items(), strict=True):
        count = next(iter(by_name.values()))[0]["parameters"]
        for ax, (key, label, scale) in zip(row, PANELS, strict=True):
            for i, (optimiser, found) in enumerate(by_name.items()):
                values = scale * np.array([[r[key] for r in run["rows"][1:]] for run in found])
                at = np.mean([[r["seconds"] for r in run["rows"][1:]] for run in found], axis=0)
                look = {"color": COLOURS[i], "marker": "os^D"[i], "ls": ("--", "--", "-", "-")[i]}
                ax.plot(at, values.mean(0), **look, ms=3.5, lw=1.5, label=optimiser)
                ax.fill_between(
                    at, values.min(0), values.max(0), color=COLOURS[i], alpha=0.15, lw=0
                )
            ax.set(xscale="log", ylabel=label, title=f"{network}, {count:,} parameters")
            ax.set_yscale("log" if key != "test_accuracy" else "linear")
            ax.title.set_fontsize(10)
            ax.spines[["top", "right"]].set_visible(False)
            ax.grid(color="#dddddd", lw=0.6)
    for ax in axes[-1]:
        ax.set_xlabel("CPU-seconds of training")
    handles, labels = axes[0, 0].get_legend_handles_labels()
    drawn.legend(handles, labels, loc="outside lower center", ncols=4, frameon=False)
    seeds = len(next(iter(next(iter(runs.values())).values())))
    drawn.suptitle(
        f"First order (dashed) beside second order at equal CPU time: {name}, mean and range of "
        f"{seeds} seeds",
        fontsize=11,
    )
    return drawn


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--table", type=Path, help="a table of numbers with a column 'target'")
    parser.add_argument("--openml", type=int, help="the id of a data set on OpenML")
    parser.add_argument("--seconds", type=float, default=10.0, help="CPU-seconds a run")
    parser.add_argument("--seeds", type=int, default=3)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    name, *columns = table(arguments)
    data = split(*columns)
    print(f"{name}: {data[0][0].shape[1]} inputs, {data[2]} classes")
    runs = all_runs(arguments.out, arguments.seeds, arguments.seconds, data)
    write_atomically(arguments.out / "table.md", as_table(runs))
    drawn = figure(runs, name)
    for kind in ("png", "pdf"):
        metadata = {"Software": None} if kind == "png" else {"CreationDate": None}
        options = {"format": kind, "dpi": 150, "metadata": metadata}
        write_atomically(
            arguments.out / f"second_order.{kind}", lambda p, o=options: drawn.savefig(p, **o)
        )
    print(as_table(runs))


if __name__ == "__main__":
    main()
