"""Hello, KAN: exp(sin(pi x1) + x2^2) from 1 000 rows, from many seeds, and beside pykan on one.

    OMP_NUM_THREADS=1 python benchmarks/hello.py [--seeds 20] [--pykan-seed 0]

The last step runs if pykan can be imported (``PYTHONPATH=path/to/pykan``): its own notebook's
recipe (version 0.2.8, hellokan.ipynb), on the same rows, in the same process. Times are CPU-seconds
of one thread. The error is the largest over fresh rows, relative to the spread of the target.
"""

import argparse
import contextlib
import importlib.util
import io
import os
import statistics
import tempfile
import time
from collections.abc import Callable

import numpy as np
import torch

from edgewise.symbolic import KANRegressor, discover, to_function

NAMES = ["x1", "x2"]
USUAL = ["x", "x^2", "x^3", "x^4", "exp", "log", "sqrt", "tanh", "sin", "abs"]


def rows(seed: int) -> tuple[np.ndarray, np.ndarray]:
    x = np.random.default_rng(seed).uniform(-1, 1, (1000, 2))
    return x, np.exp(np.sin(np.pi * x[:, 0]) + x[:, 1] ** 2)


def error(expression) -> float:
    """The largest error on fresh rows."""
    x, y = rows(10_000)
    return float(np.abs(to_function(expression, NAMES)(x) - y).max() / y.std())


def timed(find: Callable) -> tuple[object, float]:
    start = time.process_time()
    found = find()
    return found, time.process_time() - start


def by_discover(x: np.ndarray, y: np.ndarray, seed: int):
    return discover(x, y, seed=seed).expression


def by_regressor(x: np.ndarray, y: np.ndarray, seed: int):
    return KANRegressor(random_state=seed).fit(x, y).formula_


def by_pykan(x: np.ndarray, y: np.ndarray, seed: int):
    """pykan's notebook, but for its figures."""
    from kan import KAN  # a peer that need not be there

    torch.set_default_dtype(torch.float64)
    data = {}
    for part, (a, b) in {"train": (x, y), "test": rows(20_000)}.items():
        data[f"{part}_input"] = torch.from_numpy(a)
        data[f"{part}_label"] = torch.from_numpy(b[:, None])
    model = KAN(width=[2, 5, 1], grid=3, k=3, seed=seed, device="cpu")
    model(data["train_input"])
    model.fit(data, opt="LBFGS", steps=50, lamb=0.001)
    model = model.prune()
    model.fit(data, opt="LBFGS", steps=50)
    model = model.refine(10)
    model.fit(data, opt="LBFGS", steps=50)
    model.auto_symbolic(lib=USUAL)
    model.fit(data, opt="LBFGS", steps=50)
    found = model.symbolic_formula(var=NAMES)[0][0]
    torch.set_default_dtype(torch.float32)
    return found


def table(seeds: int) -> float:
    """Prints how each seed ends; the median time of ``discover``."""
    medians = []
    print("| by | exact (error < 1e-12) | CPU-seconds, median | most | largest error |")
    print("|---|---|---|---|---|")
    for label, find in (("discover", by_discover), ("KANRegressor.formula_", by_regressor)):
        times, errors = [], []
        for seed in range(seeds):
            found, seconds = timed(lambda s=seed, f=find: f(*rows(s), s))
            times.append(seconds)
            errors.append(error(found))
        medians.append(statistics.median(times))
        exact = sum(e < 1e-12 for e in errors)
        print(
            f"| `{label}` | {exact}/{seeds} | {medians[-1]:.2f} | {max(times):.2f} | "
            f"{max(errors):.0e} |",
            flush=True,
        )
    return medians[0]


def beside_pykan(seed: int) -> None:
    """Both on one seed, in turn."""
    print("\n| on seed", seed, "| CPU-seconds | error | formula |")
    print("|---|---|---|---|")
    x, y = rows(seed)
    ours, our_seconds = timed(lambda: by_discover(x, y, seed))
    print(f"| edgewise | {our_seconds:.2f} | {error(ours):.0e} | `{ours}` |", flush=True)
    where = os.getcwd()
    quiet = io.StringIO()
    with (
        tempfile.TemporaryDirectory() as folder,
        contextlib.redirect_stdout(quiet),
        contextlib.redirect_stderr(quiet),
    ):
        os.chdir(folder)  # it writes a folder "model" wherever it is
        try:
            theirs, seconds = timed(lambda: by_pykan(x, y, seed))
        finally:
            os.chdir(where)
    print(f"| pykan | {seconds:.2f} | {error(theirs):.0e} | `{theirs}` |")
    print(f"\npykan took {seconds / our_seconds:.0f} times as long.")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, default=20)
    parser.add_argument("--pykan-seed", type=int, default=0)
    options = parser.parse_args()
    torch.set_num_threads(1)
    table(options.seeds)
    if importlib.util.find_spec("kan") is None:
        print("\npykan can't be imported: it was not compared.")
    else:
        beside_pykan(options.pykan_seed)


if __name__ == "__main__":
    main()
