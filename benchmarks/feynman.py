"""The 100 Feynman formulas, each from 10 000 rows of numbers: one JSON line for each.

    OMP_NUM_THREADS=1 python benchmarks/feynman.py FeynmanEquations.csv out.jsonl [--budget 60]
        [--noise 0.01] [--only I.6.2,I.10.7]
    python benchmarks/feynman.py --table results/feynman

Run again with the same output it goes on where it stopped. ``--table`` makes README.md of the
``no_noise.jsonl``, ``noise.jsonl`` and ``bonus.jsonl`` that lie in a folder, and of its notes.md.
Another table of equations is bonus.csv beside this file: the twenty further formulas of Udrescu and
Tegmark (2020), with ranges of ours.

Without noise a formula counts as recovered if on fresh rows of its ranges it gives the true values
to 1e-6 of their spread and SymPy proves it equal to the true one, or, where SymPy can't (within ten
seconds), to 1e-9 of their spread. With noise it counts if its structure is right: when all its
constants are fitted again to rows without noise, it gives the true values to 1e-6 of their spread,
and no part of it vanishes.
"""

import argparse
import csv
import json
import re
import signal
import time
from pathlib import Path

import numpy as np
import sympy
import torch

from edgewise.core import EdgewiseError
from edgewise.symbolic import discover, formula, from_expression, polish, tidy, to_function

ROWS = 10_000
SECONDS_TO_PROVE = 10


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


def expression(problem: dict) -> sympy.Expr:
    """The formula."""
    symbols = {name: sympy.Symbol(name, real=True) for name in problem["names"]}
    text = re.sub(r"\bln\b", "log", problem["formula"]).replace("arcsin", "asin")
    return sympy.sympify(text, locals=symbols)


def truth(problem: dict):
    """The formula as a function of rows."""
    return to_function(expression(problem), problem["names"])


def rows(problem: dict, f, seed: int, count: int = ROWS) -> tuple[np.ndarray, np.ndarray]:
    """Rows at which the formula is finite."""
    source = np.random.default_rng(seed)
    low, high = np.array(problem["low"]), np.array(problem["high"])
    x = low + (high - low) * source.random((4 * count, len(low)))
    y = f(x)
    good = np.isfinite(y)
    return x[good][:count], y[good][:count]


def proved(problem: dict, found: sympy.Expr) -> bool:
    """Whether SymPy shows in time that the formulas are equal, for inputs above 0."""
    positive = {
        s: sympy.Symbol(s.name, positive=True)
        for s in found.free_symbols | expression(problem).free_symbols
        if problem["low"][problem["names"].index(s.name)] >= 0
    }
    difference = found.xreplace(positive) - expression(problem).xreplace(positive)

    def too_long(*_) -> None:
        raise TimeoutError

    before = signal.signal(signal.SIGALRM, too_long)
    signal.alarm(SECONDS_TO_PROVE)
    try:
        return sympy.simplify(sympy.nsimplify(difference)) == 0
    except (TimeoutError, ValueError, TypeError, RecursionError):
        return False
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


def right_structure(problem: dict, found: sympy.Expr, x: np.ndarray, y: np.ndarray) -> bool:
    """Whether the formula is the true one once its constants are fitted to rows without noise."""
    names = problem["names"]
    try:
        model = from_expression(found, names)
    except EdgewiseError:
        return False
    inputs, target = torch.from_numpy(x[:2000]), torch.from_numpy(y[:2000, None])
    polish(model, inputs, target, steps=60, patience=8)
    again = tidy(formula(model, names), names, x, y)
    residual = to_function(again, names)(x) - y
    error = float(np.sqrt(np.mean(residual**2) / np.var(y)))
    plain = tidy(found, names, x, to_function(found, names)(x))
    return error < 1e-6 and _letters(again) >= _letters(plain)


def _letters(found: sympy.Expr) -> int:
    return sum(node.is_Symbol for node in sympy.preorder_traversal(found))


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
        result = None
    found["cpu_seconds"] = round(time.process_time() - start, 2)
    found["seconds"] = round(time.perf_counter() - clock, 2)
    if result is not None:
        fresh_x, fresh_y = rows(problem, f, seed=2)
        left = to_function(result.expression, problem["names"])(fresh_x) - fresh_y
        relative = float(np.sqrt(np.mean(left**2) / np.var(fresh_y)))
        if noise:
            right = {"exact": right_structure(problem, result.expression, fresh_x, fresh_y)}
        else:
            sure = relative < 1e-6 and proved(problem, result.expression)
            right = {"exact": sure or relative < 1e-9, "proved": sure}
        found |= right | {
            "r2": 1 - relative**2,
            "relative_error": relative,
            "found": str(result.expression),
            "how": result.best.how,
        }
    return found


TITLES = {
    "no_noise": "Without noise",
    "noise": "With noise of 1 % of the target's spread",
    "bonus": "Held out: the twenty bonus formulas, without noise",
}


def table(folder: Path) -> str:
    """The outcomes as Markdown."""
    text = (
        "# The 100 Feynman formulas\n\n"
        "10 000 rows each, no units, one thread, at most 60 CPU-seconds each. Made by\n"
        "`python benchmarks/feynman.py FeynmanEquations.csv results/feynman/no_noise.jsonl` (and\n"
        "`noise.jsonl --noise 0.01`), then `python benchmarks/feynman.py --table "
        "results/feynman`;\nwhat counts as recovered is said at the top of that file.\n"
    )
    for stem, title in TITLES.items():
        path = folder / f"{stem}.jsonl"
        if path.exists():
            text += _section(title, [json.loads(line) for line in path.read_text().splitlines()])
    notes = folder / "notes.md"
    return text + ("\n" + notes.read_text() if notes.exists() else "")


def _section(title: str, outcomes: list[dict]) -> str:
    exact, close = sum(o["exact"] for o in outcomes), sum(o["r2"] > 0.999 for o in outcomes)
    times = [o["cpu_seconds"] for o in outcomes]
    proofs = sum(o.get("proved", False) for o in outcomes)
    shown = f" ({proofs} of them proved equal by SymPy)" if proofs else ""
    text = (
        f"\n## {title}\n\n**{exact} of {len(outcomes)} recovered**{shown}; R² > 0.999 on {close}; "
        f"median {np.median(times):.2f} CPU-seconds, most {max(times):.1f}, "
        f"all together {sum(times) / 60:.0f} minutes.\n\n"
        "| formula | recovered | R² | CPU-seconds | true | found |\n|---|---|---|---|---|---|\n"
    )
    for o in outcomes:
        found = o["found"] or o["error"]
        found = found if len(found) < 140 else found[:137] + "..."
        right = "yes" if o["exact"] else "**no**"
        # Down, not to the nearest: a 1 that is none would mislead.
        r2 = np.floor(o["r2"] * 1e6) / 1e6
        text += (
            f"| {o['name']} | {right} | {r2:.6f} | {o['cpu_seconds']:.2f} | `{o['formula']}` | "
            f"`{found.replace('|', '¦')}` |\n"
        )
    return text


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("equations", type=Path, nargs="?")
    parser.add_argument("out", type=Path, nargs="?")
    parser.add_argument("--budget", type=float, default=60.0)
    parser.add_argument("--noise", type=float, default=0.0)
    parser.add_argument("--only", default="")
    parser.add_argument("--table", type=Path)
    options = parser.parse_args()
    if options.table:
        (options.table / "README.md").write_text(table(options.table))
        return
    if options.out is None:
        parser.error("name the equations and the output, or a folder with --table")
    torch.set_num_threads(1)
    done = set()
    if options.out.exists():
        lines = options.out.read_text().splitlines()
        done = {(row["name"], row["noise"]) for row in map(json.loads, lines)}
    wanted = set(filter(None, options.only.split(",")))
    for problem in problems(options.equations):
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
