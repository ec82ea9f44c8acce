"""From data to formula: the targets that the search is measured by, from several seeds.

    OMP_NUM_THREADS=1 python benchmarks/symbolic.py [--seeds 5] [--budget 60] [--only hello,deep]

A target counts as found if the formula gives the true values to 1e-9 of their spread on fresh rows
of its ranges, and to 1e-8 of it on rows of ranges 1.2 times as wide where both are finite. Times
are of one thread.
"""

import argparse
import statistics

import numpy as np
import scipy.special
import torch

from edgewise.core import EdgewiseError
from edgewise.symbolic import add_function, discover, to_function

ROWS = 1000
UNIT = (-1.0, 1.0)
TARGETS = {
    "hello": (lambda a, b: np.exp(np.sin(np.pi * a) + b**2), [UNIT] * 2),
    "product": (lambda a, b: a * b, [UNIT] * 2),
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


def attempt(name: str, seed: int, budget: float) -> tuple[bool, float, str]:
    f, ranges = TARGETS[name]
    x = rows(ranges, seed)
    functions = BESSEL if name == "Bessel" else None
    try:
        result = discover(x, f(*x.T), functions=functions, budget=budget, seed=seed)
    except EdgewiseError as error:
        return False, budget, str(error)
    found = to_function(result.expression, result.names)
    exact = agrees(found, f, rows(ranges, 10_000 + seed), 1e-9)
    exact = exact and agrees(found, f, rows(ranges, 20_000 + seed, wider=1.2), 1e-8)
    return exact, result.seconds, str(result.expression)


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
    for name in wanted:
        outcomes = [attempt(name, seed, options.budget) for seed in range(options.seeds)]
        seconds = [s for _, s, _ in outcomes]
        print(
            f"| {name} | {sum(e for e, _, _ in outcomes)}/{len(outcomes)} | "
            f"{statistics.median(seconds):.2f} | {max(seconds):.2f} | `{outcomes[-1][2][:110]}` |",
            flush=True,
        )


if __name__ == "__main__":
    main()
