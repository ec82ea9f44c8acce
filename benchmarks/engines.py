"""What the engines cost and bear: measured on tiny trials, printed as a table.

    python benchmarks/engines.py two-nodes     a Ray cluster of two nodes, one killed midway
    python benchmarks/engines.py speedup       two local processes beside one
    python benchmarks/engines.py overhead      what an engine adds to trials of a known length
    python benchmarks/engines.py records       `edgewise report` on 10 000 recorded trials

`speedup` and `overhead` are times of the wall: run them on a quiet machine. --out keeps the table
as JSON below results/engines/.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path

import numpy as np

from edgewise.core import write_json
from edgewise.studies import EncoderStudy, run_study
from edgewise.studies.running.engine import make_engine

KEPT = ("record.json", "history.jsonl", "predictions.npz", "curves.npz", "best.safetensors")


def kept(root: Path) -> dict[str, bytes]:
    """What of the trials is a pure function of what was asked for."""
    found = (p for p in sorted((root / "trials").rglob("*")) if p.name in KEPT)
    return {str(p.relative_to(root)): p.read_bytes() for p in found}


def tiny(**changes) -> EncoderStudy:
    values = {"encoders": ("raw", "learned", "sinusoidal"), "seeds": 20, "epochs": 2, "limit": 60}
    values |= {"dim": 8, "hidden_dim": 8, "batch_size": 32, "workers": 0}
    return EncoderStudy(**values | changes)


def two_nodes(folder: Path) -> list[dict]:
    """Sixty trials on two raylets with one core each, of which the second is killed."""
    import ray
    from ray.cluster_utils import Cluster

    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 1})
    second = cluster.add_node(num_cpus=1)
    ray.init(address=cluster.address, log_to_driver=False, logging_level="ERROR")
    told: list[dict] = []

    def watch(event: dict) -> None:
        told.append(event)
        # While both nodes are at work: when an epoch is told, its trial runs.
        done = sum(e["kind"] == "done" for e in told)
        if done >= 20 and event["kind"] == "epoch" and cluster.worker_nodes:
            cluster.remove_node(second, allow_graceful=False)

    start = time.perf_counter()
    run_study(tiny(), folder / "ray", engine=make_engine("ray"), on_event=watch)
    seconds = time.perf_counter() - start
    nodes = sum(node["Alive"] for node in ray.nodes())
    ray.shutdown()
    cluster.shutdown()
    run_study(tiny(), folder / "local")
    done = [e["trial"] for e in told if e["kind"] == "done"]
    one, other = kept(folder / "ray"), kept(folder / "local")
    return [
        {
            "trials": 60,
            "nodes at the end": nodes,
            "finished": len(set(done)),
            "told twice": len(done) - len(set(done)),
            "lost and tried again": sum(e["kind"] == "lost" for e in told),
            "failed": sum(e["kind"] == "failed" for e in told),
            "files": len(one),
            "files unlike the local engine's": sum(one.get(n) != b for n, b in other.items()),
            "seconds": round(seconds, 1),
        }
    ]


def speedup(folder: Path) -> list[dict]:
    """The same sixty trials by one process and by two; starting them is a small part."""
    study = tiny(encoders=("sinusoidal", "learned", "lete"), epochs=6, limit=600, hidden_dim=24)
    rows = []
    for workers in (1, 2):
        start = time.perf_counter()
        run_study(replace(study, workers=workers), folder / str(workers))
        rows.append({"processes": workers, "seconds": round(time.perf_counter() - start, 1)})
    for row in rows:
        row["of one process"] = round(row["seconds"] / rows[0]["seconds"], 3)
    return rows


def overhead(folder: Path) -> list[dict]:
    """What is left of the wall's time when the trials' own is taken away, at 30 s a trial."""
    rows = []
    for name, workers in (("local", 1), ("ray", 1)):
        root = folder / name
        study = EncoderStudy(
            encoders=("raw",),
            seeds=3,
            epochs=140,
            limit=1000,
            dim=16,
            hidden_dim=64,
            workers=workers,
        )
        marks: list[tuple[str, float]] = []

        def watch(event: dict, marks=marks) -> None:
            marks.append((event["kind"], time.perf_counter()))

        # One trial at a time by either, so that the time between two ends is that of one.
        engine = make_engine(name, **({"cpus": os.cpu_count()} if name == "ray" else {}))
        run_study(study, root, engine=engine, on_event=watch)
        ends = [at for kind, at in marks if kind == "done"]
        trial = [json.loads(p.read_text())["seconds"] for p in sorted(root.rglob("timing.json"))]
        # From one end to the next: what a study of many trials pays for each.
        own = float(np.mean(trial[1:]))
        whole = (ends[-1] - ends[0]) / (len(ends) - 1)
        rows.append(
            {
                "engine": name,
                "seconds a trial": round(own, 2),
                "added to each": round(whole - own, 3),
                "at 30 s a trial, %": round(100 * (whole - own) / 30, 2),
                "to the first start": round(
                    next(a for k, a in marks if k == "start") - marks[0][1], 2
                ),
            }
        )
    return rows


def write_records(root: Path, variants: int, seeds: int, items: int, epochs: int) -> None:
    """A study that was never trained, as `edgewise compare` would leave it."""
    draw = np.random.default_rng(0)
    names = [f"lete-{n:03d}" for n in range(variants)]
    label, length = draw.integers(0, 10, items), draw.integers(20, 60, items)
    root.mkdir(parents=True)
    config = {"study": "encoders", "dataset": "digits", "encoders": names, "seeds": seeds}
    write_json(root / "config.json", config | {"epochs": epochs, "data_card": {"source": "drawn"}})
    for place, name in enumerate(names):
        for seed in range(seeds):
            right = draw.random(items) < 0.8 + 0.1 * place / variants
            predicted = np.where(right, label, (label + draw.integers(1, 10, items)) % 10)
            _write_trial(root / "trials" / name / f"seed-{seed}", name, seed, label, predicted)
            probability = draw.uniform(0.4, 1, items).astype(np.float32)
            np.savez_compressed(
                root / "trials" / name / f"seed-{seed}" / "predictions.npz",
                item=np.arange(items),
                label=label,
                predicted=predicted,
                length=length,
                probability=probability,
                true_probability=np.where(right, probability, 1 - probability),
            )


def _write_trial(folder: Path, name: str, seed: int, label, predicted, epochs: int = 10) -> None:
    accuracy = float((label == predicted).mean())
    score = {"accuracy": accuracy, "loss": 0.4}
    rows = [
        {"epoch": e, "learning_rate": 1e-3, "train_loss": 2.0 / e, "validation_loss": 2.1 / e}
        | {"train_accuracy": accuracy * (1 - 0.5**e), "validation_accuracy": accuracy}
        | {"penalty": 0.0, "gradient_norm": 1.0}
        for e in range(1, epochs + 1)
    ]
    record = {"variant": name, "subject": name, "task": "classes", "options": {}, "seed": seed}
    record |= {"changes": {}, "extra": {}, "expert_usage": None, "stopped_early": False}
    record |= {"parameters": 10_000, "encoder_parameters": 1_000, "best_epoch": 1}
    record |= {"classes": [str(k) for k in range(10)], "epochs": epochs}
    record |= dict.fromkeys(("validation", "train", "test", "final"), score)
    timing = {"seconds_per_epoch": [0.5] * epochs, "seconds": 5.0, "peak_memory_bytes": 3 << 28}
    timing |= {"device": "cpu", "threads": 1}
    folder.mkdir(parents=True)
    # Plainly: ten thousand syncs would measure the disk.
    (folder / "record.json").write_text(json.dumps(record))
    (folder / "timing.json").write_text(json.dumps(timing))
    (folder / "history.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))


def records(folder: Path) -> list[dict]:
    """`edgewise report` on 10 000 trials, few of many variants and many of few."""
    rows = []
    for variants, seeds, items in ((400, 25, 360), (10, 1000, 360)):
        root = folder / f"{variants}x{seeds}"
        write_records(root, variants, seeds, items, epochs=10)
        start = time.perf_counter()
        command = [sys.executable, "-m", "edgewise", "report", str(root)]
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
        _, status, used = os.wait4(process.pid, 0)
        rows.append(
            {
                "variants": variants,
                "seeds": seeds,
                "test items": items,
                "exit": os.waitstatus_to_exitcode(status),
                "seconds": round(time.perf_counter() - start, 1),
                "CPU seconds": round(used.ru_utime + used.ru_stime, 1),
                "peak memory, GiB": round(used.ru_maxrss / 2**20, 2),
                "report.html, MiB": round((root / "report.html").stat().st_size / 2**20, 2),
            }
        )
    return rows


BENCHES = {"two-nodes": two_nodes, "speedup": speedup, "overhead": overhead, "records": records}


def table(rows: list[dict]) -> str:
    heads = list(rows[0])
    lines = ["| " + " | ".join(heads) + " |", "|" + "---|" * len(heads)]
    return "\n".join([*lines, *("| " + " | ".join(map(str, r.values())) + " |" for r in rows)])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("bench", choices=BENCHES)
    parser.add_argument("--out", type=Path, help="a folder for BENCH.json")
    parser.add_argument("--folder", type=Path, help="where the studies go; by default they vanish")
    words = parser.parse_args()
    with tempfile.TemporaryDirectory() as here:
        rows = BENCHES[words.bench](words.folder or Path(here))
    print(table(rows))
    if words.out:
        write_json(words.out / f"{words.bench}.json", rows)


if __name__ == "__main__":
    main()
