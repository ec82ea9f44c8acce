"""KANRegressor beside scikit-learn's regressors on tables: one JSON line for each fit.

    OMP_NUM_THREADS=1 EDGEWISE_DATA=/data python benchmarks/tabular.py [--out results/tabular]
        [--only 537_houses,564_fried] [--models kan,mlp]

Tables are PMLB's in ``$EDGEWISE_DATA/tabular`` whose target is a number, but for 201_pol (see the
notes below). Each of 5 splits draws 4000 rows at most to train on and as many others to test on.
All models get standardised inputs and target and keep their defaults (the MLP may take 1000
epochs). Run again it goes on where it stopped; at the end it writes README.md beside the lines.
"""

import argparse
import json
import os
import statistics
import time
from pathlib import Path

import numpy as np
from sklearn.compose import TransformedTargetRegressor
from sklearn.ensemble import HistGradientBoostingRegressor
from sklearn.linear_model import RidgeCV
from sklearn.metrics import r2_score
from sklearn.neural_network import MLPRegressor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from edgewise.core import write_atomically
from edgewise.symbolic import KANRegressor

TABLES = (
    "215_2dplanes",
    "218_house_8L",
    "344_mv",
    "529_pollen",
    "537_houses",
    "560_bodyfat",
    "564_fried",
)
SPLITS, MOST = 5, 4000
MODELS = {
    "kan": lambda seed: KANRegressor(random_state=seed),
    "mlp": lambda seed: MLPRegressor(max_iter=1000, random_state=seed),
    "boosting": lambda seed: HistGradientBoostingRegressor(random_state=seed),
    "ridge": lambda seed: RidgeCV(alphas=np.logspace(-4, 4, 17)),
}
TITLES = {
    "kan": "KANRegressor",
    "mlp": "MLPRegressor",
    "boosting": "HistGradientBoosting",
    "ridge": "ridge",
}


def load(folder: Path, name: str) -> tuple[np.ndarray, np.ndarray]:
    """Inputs and target; the target stands last."""
    rows = np.loadtxt(folder / f"{name}.tsv.gz", delimiter="\t", skiprows=1)
    return rows[:, :-1], rows[:, -1]


def split(rows: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Rows to train on and rows to test on, a quarter of all."""
    order = np.random.default_rng(seed).permutation(rows)
    test = rows // 4
    return order[test:][:MOST], order[:test][:MOST]


def outcome(x: np.ndarray, y: np.ndarray, name: str, seed: int) -> dict:
    """One fit: R² on the test rows, and CPU-seconds."""
    train, test = split(len(y), seed)
    inner = make_pipeline(StandardScaler(), MODELS[name](seed))
    model = TransformedTargetRegressor(inner, transformer=StandardScaler())
    start = time.process_time()
    model.fit(x[train], y[train])
    seconds = time.process_time() - start
    r2 = r2_score(y[test], model.predict(x[test]))
    return {"r2": r2, "cpu_seconds": round(seconds, 2), "train": len(train), "test": len(test)}


def read(path: Path) -> list[dict]:
    """What is done."""
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, default=Path("results/tabular"))
    parser.add_argument("--only", default="")
    parser.add_argument("--models", default="")
    options = parser.parse_args()
    folder = Path(os.environ["EDGEWISE_DATA"]) / "tabular"
    lines = options.out / "fits.jsonl"
    options.out.mkdir(parents=True, exist_ok=True)
    done = {(row["table"], row["split"], row["model"]) for row in read(lines)}
    tables = list(filter(None, options.only.split(","))) or TABLES
    models = list(filter(None, options.models.split(","))) or list(MODELS)
    for table in tables:
        x, y = load(folder, table)
        for name in models:
            for seed in range(SPLITS):
                if (table, seed, name) in done:
                    continue
                found = outcome(x, y, name, seed)
                row = {"table": table, "inputs": x.shape[1], "split": seed, "model": name} | found
                with open(lines, "a") as file:
                    file.write(json.dumps(row) + "\n")
                print(
                    f"{table:14} {name:9} {seed} {row['r2']:.4f} {row['cpu_seconds']} s", flush=True
                )
    print(write_atomically(options.out / "README.md", page(read(lines))))


def medians(rows: list[dict], key: str) -> dict[str, dict[str, float]]:
    """For each table and each model the median over splits."""
    found: dict[str, dict[str, list[float]]] = {}
    for row in rows:
        found.setdefault(row["table"], {}).setdefault(row["model"], []).append(row[key])
    return {
        table: {name: statistics.median(values) for name, values in models.items()}
        for table, models in found.items()
    }


def page(rows: list[dict]) -> str:
    """README.md: the medians, and in words where the KAN loses."""
    r2, seconds = medians(rows, "r2"), medians(rows, "cpu_seconds")
    facts = {row["table"]: row for row in rows}
    names = [name for name in MODELS if all(name in models for models in r2.values())]
    lines = [
        "# Regression tables",
        "",
        f"Median test R² over {SPLITS} splits, and in brackets CPU-seconds of a fit. All models "
        "have standardised inputs and target and their defaults; the MLP may take 1 000 epochs.",
        "",
        f"| table | inputs | rows | {' | '.join(TITLES[name] for name in names)} |",
        "|---|---|---|" + "---|" * len(names),
    ]
    for table, models in r2.items():
        best = max(models.values())
        marks = {n: "**" if models[n] == best else "" for n in names}
        cells = [f"{marks[n]}{models[n]:.4f}{marks[n]} ({seconds[table][n]:.1f})" for n in names]
        fact = facts[table]
        lines.append(f"| {table} | {fact['inputs']} | {fact['train']} | {' | '.join(cells)} |")
    lines += ["", *said(r2), "", *NOTES, ""]
    return "\n".join(lines)


def said(r2: dict[str, dict[str, float]]) -> list[str]:
    """Where the KAN stands, against the MLP and against boosting."""
    lines = []
    for rival in ("mlp", "boosting", "ridge"):
        gaps = {t: m["kan"] - m[rival] for t, m in r2.items()}
        lost = {t: gap for t, gap in gaps.items() if gap < 0}
        text = f"* Against {TITLES[rival]}: ahead on {len(gaps) - len(lost)} of {len(gaps)} tables"
        if lost:
            text += ", behind on " + ", ".join(f"{t} (by {-gap:.4f})" for t, gap in lost.items())
        lines.append(text + ".")
    return lines


NOTES = (
    "Made by `benchmarks/tabular.py`; every fit is a line of `fits.jsonl`, and the command goes on "
    "where it stands. Tables are PMLB's, with at most 4 000 rows to train on. Seconds are of one "
    "thread of a machine that did other work too.",
    "",
    "`201_pol` is left out: its 48 inputs make 1 920 constants, beyond Levenberg–Marquardt; one "
    "fit by L-BFGS took 114 CPU-seconds (R² 0.9825 on the one split that was run).",
)


if __name__ == "__main__":
    main()
