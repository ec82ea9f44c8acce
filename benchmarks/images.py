"""Image networks of equal size, dense and convolutional, over seeds: a table of test accuracies.

    EDGEWISE_DATA=... OMP_NUM_THREADS=1 python benchmarks/images.py --out results/images

Every run is one ``edgewise train`` with the defaults of its recipe; one that is finished is not run
again, one that was killed goes on. ``--only kan,mlp`` and ``--datasets mnist`` choose among them.
The table says for each network the mean and range over seeds, and is written beside the runs.
"""

import argparse
from pathlib import Path

from edgewise.core import keep_freed_memory, read_json, write_atomically
from edgewise.jobs.images.job import make_image_job
from edgewise.jobs.images.run import train_images

KAN_SIZE, CONV_SIZE = 460_000, 100_000
NETWORKS = {
    "kan": {"model": "kan", "parameters": KAN_SIZE},
    "mlp": {"model": "mlp", "parameters": KAN_SIZE},
    "conv-kan": {"model": "kan", "use_kan_convolution": True, "parameters": CONV_SIZE},
    "cnn": {"model": "cnn", "parameters": CONV_SIZE},
}
BARS = {
    ("kan", "mnist"): 98.2,
    ("kan", "fashion_mnist"): 89.5,
    ("conv-kan", "mnist"): 99.3,
    ("conv-kan", "fashion_mnist"): 92.0,
}


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=Path("results/images"))
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--only", default=",".join(NETWORKS))
    parser.add_argument("--datasets", default="mnist,fashion_mnist")
    chosen = parser.parse_args()
    keep_freed_memory()
    datasets, names = chosen.datasets.split(","), chosen.only.split(",")
    for seed in range(chosen.seeds):
        for dataset in datasets:
            for name in names:
                run(chosen.out, name, dataset, seed)
    text = table(chosen.out)
    write_atomically(chosen.out / "README.md", lambda path: Path(path).write_text(text))
    print(text)


def run(out, name, dataset, seed):
    path = out / f"{name}_{dataset}_{seed}.safetensors"
    if history(path).exists():
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    options = {**NETWORKS[name], "dataset": dataset, "seed": seed, "save_path": str(path)}
    print(f"{name}, {dataset}, seed {seed}", flush=True)
    train_images(
        make_image_job(options, "benchmarks/images.py"), lambda line: print(line, flush=True)
    )


def history(path):
    return path.with_name(f"{path.stem}_history.json")


def table(out):
    lines = [
        "# Images: networks of equal size",
        "",
        "Test accuracy in %, mean (lowest to highest) over seeds; validation chose the epoch.",
        "",
        "| data | network | parameters | seeds | epochs | test accuracy | bar | seconds an epoch |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for dataset in ("mnist", "fashion_mnist"):
        for name in NETWORKS:
            found = [read_json(p) for p in sorted(out.glob(f"{name}_{dataset}_?_history.json"))]
            if not found:
                continue
            scores = [100 * f["test"]["accuracy"] for f in found]
            seconds = sorted(s for f in found for s in f["seconds"])
            bar = BARS.get((name, dataset), "")
            lines.append(
                f"| {dataset} | {name} | {found[0]['parameters']:,} | {len(found)} | "
                f"{len(found[0]['history'])} | {sum(scores) / len(scores):.2f} "
                f"({min(scores):.2f} to {max(scores):.2f}) | {bar} | "
                f"{seconds[len(seconds) // 2]:.0f} |"
            )
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    main()
