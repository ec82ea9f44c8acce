"""The race of optimisers on small KANs: table and figure.

exp(sin(πx) + y²) on [-1, 1]², 1 000 points, KAN [2, 5, 1], G = 5, float64, full batch, one thread.
Every optimiser has the same CPU time and the same closed-form gradient; what counts is the best
training loss of each seed. Beside it, grid extension by Levenberg–Marquardt: KAN [2, 1, 1], 2 000
points, G = 5 → 160, from the best of four starts after 20 steps.

    OMP_NUM_THREADS=1 python benchmarks/optimisers.py --out results/optimisers

Each run is written as it ends, so that the same command goes on; table and figure are made of the
files. CPU time is that of the process, but a busy machine makes it longer (caches, shared cores):
``runs/machine.json`` says what one gradient cost when the race began.
"""

import argparse
import statistics
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from matplotlib.figure import Figure
from torch import nn

from edgewise.bases import BSpline
from edgewise.core import generator, read_json, seeded, write_atomically, write_json
from edgewise.landscape.figures import COLOURS
from edgewise.models import KAN
from edgewise.optim import HSODM, SFN, LeastSquares, LevenbergMarquardt, LMThenBroyden, SSBroyden

Step = Callable[[], float]
LINES = ("-", "--", "-.", ":")


def data(points: int, seed: int) -> tuple[torch.Tensor, torch.Tensor]:
    draw = generator(seed, "race")
    x = torch.rand(points, 2, generator=draw, dtype=torch.float64) * 2 - 1
    return x, torch.exp(torch.sin(torch.pi * x[:, :1]) + x[:, 1:] ** 2)


def network(*widths: int, seed: int) -> KAN:
    with seeded(seed, "race"):
        return KAN(list(widths), BSpline(5)).double()


def ours(kind: type) -> Callable[[nn.Module, LeastSquares], Step]:
    def make(model: nn.Module, problem: LeastSquares) -> Step:
        optimiser = kind(model.parameters())
        return lambda: float(optimiser.step(problem))

    return make


def adam(model: nn.Module, problem: LeastSquares) -> Step:
    return first_order(torch.optim.Adam(model.parameters(), lr=1e-2), problem)


def lbfgs(model: nn.Module, problem: LeastSquares) -> Step:
    optimiser = torch.optim.LBFGS(
        model.parameters(),
        history_size=100,
        line_search_fn="strong_wolfe",
        tolerance_grad=0,
        tolerance_change=0,
    )
    return first_order(optimiser, problem)


def first_order(optimiser: torch.optim.Optimizer, problem: LeastSquares) -> Step:
    """With the same closed-form gradient as ours."""
    params = [p for group in optimiser.param_groups for p in group["params"]]

    def closure() -> torch.Tensor:
        loss, g = problem.value_and_gradient(params)
        for p, part in zip(params, g.split([p.numel() for p in params]), strict=True):
            p.grad = part.view_as(p)
        return loss

    return lambda: float(optimiser.step(closure))


RACERS = {
    "LMThenBroyden": ours(LMThenBroyden),
    "LevenbergMarquardt": ours(LevenbergMarquardt),
    "SSBroyden": ours(SSBroyden),
    "SFN": ours(SFN),
    "HSODM": ours(HSODM),
    "torch L-BFGS, h = 100": lbfgs,
    "torch Adam, 1e-2": adam,
}
GOALS = {
    "LMThenBroyden": 1e-8,
    "LevenbergMarquardt": 1e-8,
    "SSBroyden": 1e-8,
    "SFN": 1e-7,
    "HSODM": 1e-6,
}
GRIDS = (5, 10, 20, 40, 80, 160)


def race(name: str, seed: int, seconds: float) -> dict:
    """One optimiser with one seed: best training loss over CPU time, and the error elsewhere."""
    model = network(2, 5, 1, seed=seed)
    problem = LeastSquares(model, *data(1000, seed))
    best, steps, curve = float("inf"), 0, []
    step, start = RACERS[name](model, problem), time.process_time()
    while (spent := time.process_time() - start) < seconds:
        best = min(best, step())
        steps += 1
        spent = time.process_time() - start
        if not curve or spent > 1.03 * curve[-1][0]:
            curve.append((round(spent, 4), best))
    x, y = data(5000, seed + 1000)
    with torch.no_grad():
        test = float((model(x) - y).square().mean())
    curve.append((round(spent, 4), best))
    return {"best": best, "test": test, "steps": steps, "curve": curve}


def machine() -> dict[str, float]:
    """How fast it is just now: CPU milliseconds for one gradient, the median of 200."""
    model = network(2, 5, 1, seed=0)
    problem, params = LeastSquares(model, *data(1000, 0)), list(model.parameters())
    spent = []
    for _ in range(200):
        start = time.process_time()
        params[0].data.mul_(1 + 1e-12)  # else the last trace is taken again
        problem.value_and_gradient(params)
        spent.append(1e3 * (time.process_time() - start))
    return {"gradient_ms": round(statistics.median(spent), 3)}


def best_start(x: torch.Tensor, y: torch.Tensor) -> tuple[KAN, LevenbergMarquardt]:
    """The best of four starts by training loss: about one in eight ends in a poor local minimum."""
    found = []
    for seed in range(4):
        model = network(2, 1, 1, seed=seed)
        optimiser, problem = LevenbergMarquardt(model.parameters()), LeastSquares(model, x, y)
        for _ in range(20):
            loss = float(optimiser.step(problem))
        found.append((loss, seed, model, optimiser))
    return min(found)[2:]


def grids(seconds: float) -> list[dict]:
    """Grid extension by Levenberg–Marquardt: the RMSE at each grid."""
    x, y = data(2000, 0)
    fresh, truth = data(5000, 1)
    model, optimiser = best_start(x, y)
    rows = []
    for grid in GRIDS:
        model.refine(grid, optimiser)
        problem, start, steps = LeastSquares(model, x, y), time.process_time(), 0
        while time.process_time() - start < seconds:
            loss = float(optimiser.step(problem))
            steps += 1
        with torch.no_grad():
            test = float((model(fresh) - truth).square().mean())
        rows.append({"grid": grid, "rmse": loss**0.5, "test_rmse": test**0.5, "steps": steps})
    return rows


def kept(file: Path, make: Callable[[], object]) -> object:
    """What the file holds; made and written where there is none."""
    if not file.exists():
        write_json(file, make())
    return read_json(file)


def run_all(
    out: Path, names: list[str], seeds: int, seconds: float
) -> tuple[dict[str, list[dict]], list[dict]]:
    # The first use of torch's optimisers imports for seconds.
    race("torch L-BFGS, h = 100", 0, 0.1)
    kept(out / "runs" / "machine.json", machine)
    runs: dict[str, list[dict]] = {name: [] for name in names}
    for seed in range(seeds):
        for name in names:
            file = out / "runs" / f"{name.split(',')[0].replace(' ', '_')}_seed-{seed}.json"
            found = kept(file, lambda n=name, s=seed: race(n, s, seconds))
            runs[name].append(found)
            print(f"{name}, seed {seed}: {found['best']:.1e}", flush=True)
    return runs, kept(out / "runs" / "grids.json", lambda: grids(min(3.0, seconds)))


def reached(run: dict, below: float) -> float:
    """The CPU-seconds after which the loss was below; infinite if never."""
    return next((t for t, loss in run["curve"] if loss < below), float("inf"))


def table(runs: dict[str, list[dict]], steps: list[dict]) -> str:
    count = len(next(iter(runs.values())))
    lines = [
        "| optimiser | " + " | ".join(f"seed {i}" for i in range(count)) + " | median | on fresh "
        "points | below 1e-6 after | steps | bar |",
        "|---" * (count + 6) + "|",
    ]
    for name, found in runs.items():
        middle = {k: statistics.median(r[k] for r in found) for k in ("best", "test", "steps")}
        after = statistics.median(reached(r, 1e-6) for r in found)
        met = sum(r["best"] < GOALS.get(name, 0) for r in found)
        lines.append(
            f"| {name} | "
            + " | ".join(f"{r['best']:.1e}" for r in found)
            + f" | {middle['best']:.1e} | {middle['test']:.1e} | "
            + (f"{after:.2f} s" if after < float("inf") else "never")
            + f" | {middle['steps']:.0f} | "
            + (f"{met} of {count} below {GOALS[name]:.0e}" if name in GOALS else "")
            + " |"
        )
    lines += ["", "| G | RMSE | RMSE on fresh points | steps |", "|---|---|---|---|"]
    lines += [
        f"| {r['grid']} | {r['rmse']:.1e} | {r['test_rmse']:.1e} | {r['steps']} |" for r in steps
    ]
    return "\n".join(lines) + "\n"


def figure(runs: dict[str, list[dict]], steps: list[dict]) -> Figure:
    """Left: best loss over CPU time, median and range over seeds. Right: RMSE over the grid."""
    drawn = Figure(figsize=(11, 4.8), layout="constrained")
    left, right = drawn.subplots(1, 2, width_ratios=(1.7, 1))
    ends = [run["curve"][-1][0] for found in runs.values() for run in found]
    at = np.geomspace(0.02, min(ends), 200)
    for i, (name, found) in enumerate(runs.items()):
        rows = np.array([_at(run["curve"], at) for run in found])
        colour = COLOURS[i % len(COLOURS)]
        with np.errstate(invalid="ignore"):
            known = ~np.isnan(rows).any(0)
        middle, low, high = np.median(rows, 0), rows.min(0), rows.max(0)
        left.plot(at[known], middle[known], color=colour, ls=LINES[i % 4], lw=1.6, label=name)
        left.fill_between(at[known], low[known], high[known], color=colour, alpha=0.15, lw=0)
    left.set(xscale="log", yscale="log", xlabel="CPU-seconds", ylabel="best training loss (MSE)")
    left.set_title(
        f"KAN [2, 5, 1], G = 5: median and range of {len(next(iter(runs.values())))} seeds"
    )
    left.legend(frameon=False, fontsize=8, loc="lower left")
    right.plot([r["grid"] for r in steps], [r["rmse"] for r in steps], "o-", color=COLOURS[0])
    right.plot([r["grid"] for r in steps], [r["test_rmse"] for r in steps], "s--", color=COLOURS[5])
    right.legend(["training points", "fresh points"], frameon=False, fontsize=8)
    right.set(xscale="log", yscale="log", xlabel="grid cells G", ylabel="RMSE")
    right.set_xticks([r["grid"] for r in steps], [str(r["grid"]) for r in steps])
    right.minorticks_off()
    right.set_title("Grid extension, KAN [2, 1, 1], Levenberg–Marquardt")
    for axes in (left, right):
        axes.title.set_fontsize(10)
        axes.spines[["top", "right"]].set_visible(False)
        axes.grid(color="#dddddd", lw=0.6)
    drawn.suptitle(
        "exp(sin(πx) + y²): optimisers that use curvature, and two that do not", fontsize=11
    )
    return drawn


def _at(curve: list, times: np.ndarray) -> np.ndarray:
    """The best loss known at each time; NaN before the first step ended."""
    t, loss = (np.array(column) for column in zip(*curve, strict=True))
    place = np.searchsorted(t, times, side="right") - 1
    return np.where(place < 0, np.nan, loss[place.clip(0)])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seconds", type=float, default=10.0, help="CPU-seconds a run")
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--only", nargs="*", choices=RACERS, default=list(RACERS))
    parser.add_argument("--out", type=Path, required=True, help="folder of runs, table and figure")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    runs, steps = run_all(arguments.out, arguments.only, arguments.seeds, arguments.seconds)
    write_atomically(arguments.out / "table.md", table(runs, steps))
    drawn = figure(runs, steps)
    for kind in ("png", "pdf"):
        metadata = {"Software": None} if kind == "png" else {"CreationDate": None}
        options = {"format": kind, "dpi": 150, "metadata": metadata}
        write_atomically(arguments.out / f"race.{kind}", lambda p, o=options: drawn.savefig(p, **o))
    print(table(runs, steps))


if __name__ == "__main__":
    main()
