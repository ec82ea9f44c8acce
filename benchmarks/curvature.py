"""Eigenvalues, trace and density of an MLP's Hessian: Edgewise beside PyHessian and curvlinops.

The MLP has 147, 512 and 10 units (80 906 parameters), the sample 2 048 examples, float32 on one
thread; the reference is float64. Peers that are not installed are left out:

    OMP_NUM_THREADS=1 python benchmarks/curvature.py [--rounds 5] [--out curvature.json]

Time is the process's own (CPU seconds), the least of several rounds in which the tools take
turns, so that what else runs on the machine counts little. Nothing is claimed where the check
against the reference fails: the program ends with status 1.
"""

import argparse
import json
import statistics
import sys
import time
from collections.abc import Callable
from importlib.util import find_spec
from itertools import accumulate
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.profiler import ProfilerActivity, profile

from edgewise.core import seeded
from edgewise.curvature import Functional
from edgewise.landscape import spectrum, top_eigenvalues, trace

K, EXAMPLES = 5, 2048


def problem(steps: int = 20) -> tuple[nn.Module, tuple[Tensor, Tensor]]:
    """The MLP after some training on ten overlapping clusters."""
    with seeded(0, "benchmark"):
        model = nn.Sequential(nn.Linear(147, 512), nn.ReLU(), nn.Linear(512, 10))
        y = torch.randint(10, (EXAMPLES,))
        x = torch.randn(EXAMPLES, 147) + 0.35 * torch.randn(10, 147)[y]
    optimizer = torch.optim.SGD(model.parameters(), 0.1, momentum=0.9)
    for _ in range(steps):
        optimizer.zero_grad()
        F.cross_entropy(model(x), y).backward()
        optimizer.step()
    optimizer.zero_grad(set_to_none=True)
    return model.eval(), (x, y)


class Edgewise:
    def top(self, model, data, seed):
        found = top_eigenvalues(model, F.cross_entropy, data, K, seed=seed)
        return found.values.numpy(), found.products

    def trace(self, model, data, seed):
        found = trace(model, F.cross_entropy, data, products=99, seed=seed)
        return found.value, found.standard_error, found.products

    def density(self, model, data, seed):
        found = spectrum(model, F.cross_entropy, data, steps=60, probes=2, outliers=0, seed=seed)
        return found.ends(), found.products


class PyHessian:
    """The state of its repository; the release on PyPI fails in the density."""

    def _of(self, model, data):
        from pyhessian import hessian

        model.zero_grad(set_to_none=True)
        return hessian(model, F.cross_entropy, data=data, cuda=False)

    def top(self, model, data, seed):
        torch.manual_seed(seed)
        values, _ = self._of(model, data).eigenvalues(top_n=K)
        return np.sort(np.array(values))[::-1], None

    def trace(self, model, data, seed):
        torch.manual_seed(seed)
        samples = self._of(model, data).trace()
        return float(np.mean(samples)), None, len(samples)

    def density(self, model, data, seed):
        torch.manual_seed(seed)
        values, _ = self._of(model, data).density(iter=60, n_v=2)
        flat = np.array(values).real.reshape(-1)
        return (float(flat.min()), float(flat.max())), 2 * 60


class Curvlinops:
    def _of(self, model, data):
        from curvlinops import HessianLinearOperator

        params = [p for p in model.parameters() if p.requires_grad]
        return HessianLinearOperator(
            model, nn.CrossEntropyLoss(), params, [data], check_deterministic=False
        )

    def top(self, model, data, seed):
        from scipy.sparse.linalg import eigsh

        H = self._of(model, data).to_scipy()
        start = np.random.default_rng(seed).standard_normal(H.shape[0]).astype(np.float32)
        return np.sort(eigsh(H, k=K, which="LA", v0=start, return_eigenvectors=False))[::-1], None

    def trace(self, model, data, seed):
        from curvlinops import hutchinson_trace

        torch.manual_seed(seed)
        return float(hutchinson_trace(self._of(model, data), num_matvecs=99)), None, 99


def timed(call: Callable) -> tuple[float, float, object]:
    wall, cpu = time.perf_counter(), time.process_time()
    found = call()
    return time.process_time() - cpu, time.perf_counter() - wall, found


def race(rounds: int) -> dict:
    """All tasks by all tools, in turns."""
    tools = {"edgewise": Edgewise()}
    for name, tool in (("pyhessian", PyHessian()), ("curvlinops", Curvlinops())):
        if find_spec(name):
            tools[name] = tool
    model, data = problem()
    exact = np.asarray(
        top_eigenvalues(model, F.cross_entropy, data, K, dtype=torch.float64, tol=1e-12)
    )
    truth = trace(model, F.cross_entropy, data, products=1000, dtype=torch.float64)
    rows: dict = {}
    for turn in range(-1, rounds):  # the first warms up
        for name, tool in tools.items():
            for task in ("top", "trace", "density"):
                if not hasattr(tool, task):
                    continue
                run = getattr(tool, task)
                cpu, wall, found = timed(lambda r=run, t=turn: r(model, data, t + 1))
                if turn >= 0:
                    rows.setdefault(task, {}).setdefault(name, []).append((cpu, wall, found))
    return {"reference": exact.tolist(), "trace": [*truth], "tasks": rows}


def report(found: dict) -> tuple[dict, bool]:
    """Prints the tables; whether our own results hold."""
    exact, summary, sound = np.array(found["reference"]), {}, True
    print(f"reference (float64): {np.round(exact, 6)}, trace {found['trace'][0]:.3f}")
    for task, tools in found["tasks"].items():
        print(f"\n{task:28}{'CPU s':>8}{'wall s':>8}{'products':>10}{'ms each':>9}")
        for name, runs in tools.items():
            cpu, wall = min(r[0] for r in runs), min(r[1] for r in runs)
            products = runs[0][2][-1]
            each = f"{1e3 * cpu / products:9.1f}" if products else f"{'':9}"
            note = ""
            if task == "top":
                off = max(float(np.max(np.abs(r[2][0] / exact - 1))) for r in runs)
                note, sound = f"worst error {off:.1e}", sound and (name != "edgewise" or off < 1e-6)
            if task == "trace":
                off = [abs(r[2][0] - found["trace"][0]) for r in runs]
                note = f"off by {statistics.median(off):.2f}"
                if runs[0][2][1] is not None:
                    note += f", stated standard error {runs[0][2][1]:.2f}"
            print(f"  {name:26}{cpu:8.2f}{wall:8.2f}{products or '':>10}{each}   {note}")
            summary.setdefault(task, {})[name] = {"cpu": cpu, "wall": wall, "note": note}
    for name in summary["top"]:
        ratio = summary["top"][name]["cpu"] / summary["top"]["edgewise"]["cpu"]
        print(f"\ntop-{K}, {name}: {ratio:.1f} x our CPU time" if name != "edgewise" else "")
    return summary, sound


def peak(call: Callable) -> int:
    """The most bytes that tensors took at once during a call, beyond what was there before."""
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as seen:
        call()
    events = [e for e in seen.profiler.kineto_results.events() if e.name() == "[memory]"]
    steps = [e.nbytes() for e in sorted(events, key=lambda e: e.start_ns())]
    return max(accumulate(steps))


def memory() -> dict:
    """Peak memory of a gradient, and of the top eigenvalues without their Lanczos basis."""
    model, data = problem(steps=0)
    f = Functional(model, F.cross_entropy, data)
    basis = (max(4 * K + 60, 100) + 1) * f.size * 4
    whole = peak(lambda: top_eigenvalues(model, F.cross_entropy, data, K))
    return {"gradient": peak(f.gradient), "top without basis": whole - basis, "basis": basis}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--out", type=Path, help="where to write the numbers, JSON")
    arguments = parser.parse_args()
    summary, sound = report(race(arguments.rounds))
    summary["memory"] = memory()
    megabytes = {task: f"{size / 1e6:.1f} MB" for task, size in summary["memory"].items()}
    print(f"\npeak memory beyond model and data: {megabytes}")
    if arguments.out:
        arguments.out.write_text(json.dumps(summary, indent=2) + "\n")
    if not sound:
        sys.exit("our eigenvalues are not within 1e-6 of the reference: no speed is claimed")


if __name__ == "__main__":
    main()
