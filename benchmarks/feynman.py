"""The 100 Feynman formulas, each from 10 000 rows of numbers: one JSON line for each.

    OMP_NUM_THREADS=1 python benchmarks/feynman.py FeynmanEquations.csv feynman.jsonl [--budget 60]
        [--noise 0.01] [--only I.6.2,I.10.7]

Run again with the same output it goes on where it stopped. A formula counts as recovered if it
gives the true values on fresh rows of its ranges to 1e-6 of their spread (1e-3 with noise).
"""

import argparse
import csv
import json
import re
import time
from pathlib import Path

import numpy as np
import sympy

from edgewise.core import EdgewiseError
from edgewise.symbolic import discover, to_function

ROWS = 10_000


def problems(path: Path) -> list[dict]:
    """The formulas with the names and ranges of their variables."""
    found = []
    with open(path, encoding="utf-8-sig") as file:
        for row in csv.DictReader(file):
            if row["Filename"]:
                # The column "# variables" is wrong in some rows.
                count = sum(bool(row[f"v{k}_name"]) for k in range(1, 11))
                found.append(
                    {
                        "name": row["Filename"],
                        "formula": row["Formula"],
                        "names": [row[f"v{k}_name"] for k in range(1, count + 1)],
                        "low": [float(row[f"v{k}_low"]) for k in range(1, count + 1)],
                        "high": [float(row[f"v{k}_high"]) for k in range(1, count + 1)],
                    }
                )
    return found


def truth(problem: dict):
    """The formula as a function of rows."""
    names = problem["names"]
    symbols = {name: sympy.Symbol(name, real=True) for name in names}
    text = re.sub(r"\bln\b", "log", problem["formula"]).replace("arcsin", "asin")
    return to_function(sympy.sympify(text, locals=symbols), names)


def rows(problem: dict, f, seed: int, count: int = ROWS) -> tuple[np.ndarray, np.ndarray]:
    """Rows at which the formula is finite."""
    source = np.random.default_rng(seed)
    low, high = np.array(problem["low"]), np.array(problem["high"])
    x = low + (high - low) * source.random((4 * count, len(low)))
    y = f(x)
    good = np.isfinite(y)
    return x[good][:count], y[good][:count]


def outcome(problem: dict, budget: float, noise: float) -> dict:
    """What the search makes of one formula."""
    f = truth(problem)
    x, y = rows(problem, f, seed=0)
    source = np.random.default_rng(1)
    observed = y + noise * y.std() * source.standard_normal(len(y))
    start, clock = time.process_time(), time.perf_counter()
    found: dict = {"name": problem["name"], "formula": problem["formula"], "noise": noise}
    try:
        result = discover(x, observed, problem["names"], budget=budget)
    except EdgewiseError as error:
        found |= {"exact": False, "r2": 0.0, "found": None, "error": str(error)}
    else:
        fresh_x, fresh_y = rows(problem, f, seed=2)
        left = to_function(result.expression, problem["names"])(fresh_x) - fresh_y
        relative = float(np.sqrt(np.mean(left**2) / np.var(fresh_y)))
        found |= {
            "exact": relative < (1e-3 if noise else 1e-6),
            "r2": 1 - relative**2,
            "found": str(result.expression),
            "how": result.best.how,
        }
    found["cpu_seconds"] = round(time.process_time() - start, 2)
    found["seconds"] = round(time.perf_counter() - clock, 2)
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("table", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--budget", type=float, default=60.0)
    parser.add_argument("--noise", type=float, default=0.0)
    parser.add_argument("--only", default="")
    options = parser.parse_args()
    done = set()
    if options.out.exists():
        lines = options.out.read_text().splitlines()
        done = {(row["name"], row["noise"]) for row in map(json.loads, lines)}
    wanted = set(filter(None, options.only.split(",")))
    for problem in problems(options.table):
        if (problem["name"], options.noise) in done or (wanted and problem["name"] not in wanted):
            continue
        result = outcome(problem, options.budget, options.noise)
        with open(options.out, "a") as file:
            file.write(json.dumps(result) + "\n")
        print(
            f"{result['name']:12} exact={result['exact']!s:5} R2={result['r2']:.6f} "
            f"{result['cpu_seconds']:6.1f} s  {result['found']}",
            flush=True,
        )


if __name__ == "__main__":
    main()
