"""The race of optimisers on small KANs: python benchmarks/optimisers.py [--seconds 10] [--seeds 5]

exp(sin(πx) + y²) on [-1, 1]², 1 000 points, KAN [2, 5, 1], G = 5, float64, full batch, one thread.
Every optimiser has the same CPU time; the table has the best training loss of each seed, the
error on fresh points, and the time to 1e-6. Below it, grid extension by Levenberg–Marquardt:
KAN [2, 1, 1], 2 000 points, G = 5 → 160.

CPU time is that of the process; a busy machine still makes it longer (caches, shared cores).
"""

import argparse
import statistics
import time
from collections.abc import Callable

import torch
from torch import nn

from edgewise.bases import BSpline
from edgewise.core import generator, seeded
from edgewise.models import KAN
from edgewise.optim import HSODM, SFN, LeastSquares, LevenbergMarquardt, LMThenBroyden, SSBroyden

Step = Callable[[], float]


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
    "LevenbergMarquardt": ours(LevenbergMarquardt),
    "SSBroyden": ours(SSBroyden),
    "LMThenBroyden": ours(LMThenBroyden),
    "SFN": ours(SFN),
    "HSODM": ours(HSODM),
    "torch L-BFGS, h = 100": lbfgs,
    "torch Adam, 1e-2": adam,
}
GOALS = {
    "LevenbergMarquardt": 1e-8,
    "SSBroyden": 1e-8,
    "LMThenBroyden": 1e-8,
    "SFN": 1e-7,
    "HSODM": 1e-6,
}


def race(name: str, seed: int, seconds: float) -> dict[str, float]:
    model = network(2, 5, 1, seed=seed)
    step = RACERS[name](model, LeastSquares(model, *data(1000, seed)))
    best, reached, steps = float("inf"), float("nan"), 0
    start = time.process_time()
    while (spent := time.process_time() - start) < seconds:
        best = min(best, step())
        steps += 1
        if best < 1e-6 and reached != reached:
            reached = spent
    x, y = data(5000, seed + 1000)
    with torch.no_grad():
        test = float((model(x) - y).square().mean())
    return {"best": best, "test": test, "reached": reached, "steps": steps}


def table(names: list[str], seeds: int, seconds: float) -> None:
    print(f"Training loss (MSE) after {seconds:g} CPU-seconds, seeds 0 to {seeds - 1}\n")
    print(f"{'':24}{'seeds':^45}{'median':>9}{'test':>9}{'1e-6 at':>9}{'steps':>7}  goal")
    for name in names:
        runs = [race(name, seed, seconds) for seed in range(seeds)]
        row = " ".join(f"{run['best']:8.1e}" for run in runs)
        middle = {key: statistics.median(run[key] for run in runs) for key in runs[0]}
        reached = (
            f"{middle['reached']:.2f} s" if middle["reached"] == middle["reached"] else "never"
        )
        goal = ""
        if name in GOALS:
            met = sum(run["best"] < GOALS[name] for run in runs)
            goal = f"  {met} of {seeds} below {GOALS[name]:.0e}"
        print(
            f"{name:24}{row:45}{middle['best']:9.1e}{middle['test']:9.1e}{reached:>9}"
            f"{middle['steps']:7.0f}{goal}",
            flush=True,
        )


def grids(seconds: float) -> None:
    print(f"\nGrid extension, [2, 1, 1], Levenberg–Marquardt, {seconds:g} CPU-seconds a grid\n")
    print(f"{'G':>5}{'RMSE':>12}{'test RMSE':>12}{'steps':>7}")
    model = network(2, 1, 1, seed=0)
    x, y = data(2000, 0)
    fresh, truth = data(5000, 1)
    optimiser = LevenbergMarquardt(model.parameters())
    for grid in (5, 10, 20, 40, 80, 160):
        model.refine(grid, optimiser)
        problem, start, steps = LeastSquares(model, x, y), time.process_time(), 0
        while time.process_time() - start < seconds:
            loss = float(optimiser.step(problem))
            steps += 1
        with torch.no_grad():
            test = float((model(fresh) - truth).square().mean())
        print(f"{grid:5}{loss**0.5:12.1e}{test**0.5:12.1e}{steps:7}", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seconds", type=float, default=10.0, help="CPU-seconds a run")
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--only", nargs="*", choices=RACERS, default=list(RACERS))
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    # The first use of torch's optimisers imports for seconds.
    race("torch L-BFGS, h = 100", 0, 0.1)
    table(arguments.only, arguments.seeds, arguments.seconds)
    grids(min(3.0, arguments.seconds))


if __name__ == "__main__":
    main()
