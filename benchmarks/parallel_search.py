"""The search for a formula by one process and by several, in turns: seconds to the exact formula.

    OMP_NUM_THREADS=1 python benchmarks/parallel_search.py FeynmanEquations.csv [--workers 2]
        [--only II.35.18,II.36.38] [--rounds 1]

Processes start only when two seconds have found nothing, so formulas that take long are measured.
"""

import argparse
import statistics
import time
from pathlib import Path

import numpy as np
from feynman import problems, rows, truth

from edgewise.symbolic import discover

SLOW = "II.35.18,II.35.21,III.14.14,III.4.33,I.29.16,III.4.32,II.36.38,III.9.52,I.41.16,I.48.2"


def seconds(problem: dict, workers: int) -> tuple[float, str]:
    """How long it took, and what was found."""
    x, y = rows(problem, truth(problem), seed=0)
    start = time.perf_counter()
    found = discover(x, np.asarray(y), problem["names"], workers=workers)
    took = time.perf_counter() - start
    return took, str(found.expression) if found.exact else "not found"


def main() -> None:
    """Prints a table in Markdown."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("table", type=Path)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--only", default=SLOW)
    parser.add_argument("--rounds", type=int, default=1)
    wanted = parser.parse_args()
    chosen = [p for p in problems(wanted.table) if p["name"] in wanted.only.split(",")]
    print(f"| formula | one process, s | {wanted.workers} processes, s | ratio | same formula |")
    print("|---|---|---|---|---|")
    ratios = []
    for problem in chosen:
        taken = {1: [], wanted.workers: []}
        texts = set()
        for _ in range(wanted.rounds):
            for workers, times in taken.items():
                took, text = seconds(problem, workers)
                times.append(took)
                texts.add(text)
        one, several = (statistics.median(times) for times in taken.values())
        ratios.append(several / one)
        same = "yes" if len(texts) == 1 else " / ".join(sorted(texts))
        print(f"| {problem['name']} | {one:.1f} | {several:.1f} | {ratios[-1]:.2f} | {same} |")
    print(f"\nmedian ratio {statistics.median(ratios):.2f}")


if __name__ == "__main__":
    main()
