"""Small tables of which the formula is known."""

from pathlib import Path

import numpy as np


def write_csv(path: Path, **columns: np.ndarray) -> Path:
    np.savetxt(
        path,
        np.stack(list(columns.values()), axis=1),
        delimiter=",",
        header=",".join(columns),
        comments="",
        fmt="%.17g",
    )
    return path


def gravity(path: Path, rows: int = 60) -> Path:
    """F = 3 m / r²."""
    source = np.random.default_rng(0)
    m, r = source.uniform(1, 5, rows), source.uniform(1, 3, rows)
    return write_csv(path, m=m, r=r, F=3 * m / r**2)


def two_outputs(path: Path, rows: int = 120) -> Path:
    """Names that are no Python names; one target exact, one with noise."""
    source = np.random.default_rng(1)
    a, E = source.uniform(1, 2, rows), source.uniform(0.5, 2, rows)
    noisy = 0.7 * a * E + 0.02 * source.standard_normal(rows)
    return write_csv(path, **{"body <mass>": a, "E": E, "area": 2 * a**2 * E, "lambda": noisy})
