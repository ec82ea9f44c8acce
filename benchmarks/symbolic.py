"""From data to formula: the targets that the search is measured by, from several seeds.

    OMP_NUM_THREADS=1 python benchmarks/symbolic.py [--seeds 5] [--budget 60] [--only hello,deep]
        > results/symbolic/targets.md

"product node" is no search: a network with one product node is trained on the product, and its
splines are read by ``snap``. A target counts as found if the formula gives the true values to 1e-9
of their spread on fresh rows of its ranges, and to 1e-8 of it on rows of ranges 1.2 times as wide
where both are finite. Times are of one thread.
"""

import argparse
import statistics
import time

import numpy as np
import scipy.special
import sympy
import torch

from edgewise.core import EdgewiseError, generator
from edgewise.symbolic import add_function, discover, formula, snap, tidy, to_function
from edgewise.symbolic.nets import Shape, train

ROWS = 1000
UNIT = (-1.0, 1.0)
TARGETS = {
    "hello": (lambda a, b: np.exp(np.sin(np.pi * a) + b**2), [UNIT] * 2),
    "product": (lambda a, b: a * b, [UNIT] * 2),
    "product node": (lambda a, b: a * b, [UNIT] * 2),
    "I.14.4": (lambda a, b: a * b**2 / 2, [(0, 1), UNIT]),
    "I.25.13": (lambda a, b: a / b, [UNIT, (0.5, 2)]),
    "I.47.23": (lambda a, b, c: np.sqrt(a * b / c), [(0.1, 1), (0.1, 1), (0.5, 2)]),
    "I.6.20a": (lambda a: np.exp(-(a**2) / 2) / np.sqrt(2 * np.pi), [(-3, 3)]),
    "I.6.20": (
        lambda a, b: np.exp(-(a**2) / (2 * b**2)) / np.sqrt(2 * np.pi * b**2),
        [UNIT, (0.5, 2)],
    ),
    "I.10.7": (lambda a, b, c: a / np.sqrt(1 - b**2 / c**2), [(0, 1), (0, 1), (1.1, 2)]),
    "I.8.4": (lambda a, b, c, d: np.sqrt((b - a) ** 2 + (d - c) ** 2), [UNIT] * 4),
    "I.27.6": (lambda a, b, c: 1 / (1 / a + c / b), [(0.5, 2), (1, 2), (0.5, 2)]),
    "relativity": (lambda a, b: (a + b) / (1 + a * b), [(-0.9, 0.9)] * 2),
    "deep": (
        lambda a, b, c, d: np.exp(
            (np.sin(np.pi * (a**2 + b**2)) + np.sin(np.pi * (c**2 + d**2))) / 2
        ),
        [UNIT] * 4,
    ),
    "Bessel": (lambda a, b: np.exp(scipy.special.j0(20 * a) + b**2), [UNIT] * 2),
}
BESSEL = ("x", "x^2", "exp", "log", "sqrt", "sin", "tanh", "J0")


def rows(ranges, seed: int, wider: float = 1.0) -> np.ndarray:
    low, high = np.array(ranges, dtype=float).T
    middle, half = (low + high) / 2, wider * (high - low) / 2
    source = np.random.default_rng(seed)
    return middle + half * source.uniform(-1, 1, (ROWS, len(low)))


def agrees(found, f, x: np.ndarray, tolerance: float) -> bool:
    with np.errstate(all="ignore"):
        theirs, ours = f(*x.T), found(x)
    good = np.isfinite(theirs) & np.isfinite(ours)
    left = np.sqrt(np.mean((theirs[good] - ours[good]) ** 2))
    return bool(good.any() and left < tolerance * theirs[good].std())


def by_search(name: str, x: np.ndarray, y: np.ndarray, seed: int, budget: float) -> sympy.Expr:
    functions = BESSEL if name == "Bessel" else None
    return discover(x, y, functions=functions, budget=budget, seed=seed).expression


def by_product_node(x: np.ndarray, y: np.ndarray, seed: int) -> sympy.Expr:
    """A network with a product node, trained and then read."""
    mean, spread = y.mean(), y.std()
    inputs, target = torch.from_numpy(x), torch.from_numpy((y - mean) / spread).unsqueeze(1)
    shape = Shape.product_of((0, 1), plain=True)
    model, _ = train(shape, inputs, target, generator(seed, "product node"))
    model, _ = snap(model, inputs, target)
    return tidy(formula(model) * spread + mean, ["x1", "x2"], x, y)


def attempt(name: str, seed: int, budget: float) -> tuple[bool, float, str]:
    f, ranges = TARGETS[name]
    x = rows(ranges, seed)
    y = f(*x.T)
    start = time.process_time()
    try:
        if name == "product node":
            expression = by_product_node(x, y, seed)
        else:
            expression = by_search(name, x, y, seed, budget)
    except EdgewiseError as error:
        return False, time.process_time() - start, str(error)
    seconds = time.process_time() - start
    found = to_function(expression, [f"x{k + 1}" for k in range(len(ranges))])
    exact = agrees(found, f, rows(ranges, 10_000 + seed), 1e-9)
    exact = exact and agrees(found, f, rows(ranges, 20_000 + seed, wider=1.2), 1e-8)
    return exact, seconds, str(expression)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--budget", type=float, default=60.0)
    parser.add_argument("--only", default="")
    options = parser.parse_args()
    torch.set_num_threads(1)
    # torch's own Bessel functions are good to 8 digits only.
    add_function(
        "J0",
        lambda x: torch.from_numpy(scipy.special.j0(x.detach().numpy())),
        "besselj(0, x)",
        slope=lambda x: -torch.from_numpy(scipy.special.j1(x.detach().numpy())),
    )
    wanted = list(filter(None, options.only.split(","))) or list(TARGETS)
    print("| target | found | CPU-seconds, median | most | formula of the last seed |")
    print("|---|---|---|---|---|")
    whole = 0
    for name in wanted:
        outcomes = [attempt(name, seed, options.budget) for seed in range(options.seeds)]
        seconds = [s for _, s, _ in outcomes]
        print(
            f"| {name} | {sum(e for e, _, _ in outcomes)}/{len(outcomes)} | "
            f"{statistics.median(seconds):.2f} | {max(seconds):.2f} | `{outcomes[-1][2][:110]}` |",
            flush=True,
        )
        whole += all(e for e, _, _ in outcomes)
    print(f"\n{whole} of {len(wanted)} targets are found from every seed.")


if __name__ == "__main__":
    main()
