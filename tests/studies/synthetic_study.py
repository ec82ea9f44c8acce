"""Writes studies that were never trained, with a truth that the tests know."""

import json
from pathlib import Path

import numpy as np

EXPERTS = ("fourier", "spline", "gaussian", "wavelet")
VARIANTS = ("raw", "lete", "kmote")


def write_study(
    folder,
    variants=VARIANTS,
    seeds=6,
    items=60,
    classes=4,
    epochs=6,
    skill=None,
    config=None,
    curves=True,
    usage_in_history=True,
    seed_sd=0.01,
):
    """A whole study; ``skill`` maps variants to accuracies; names with "mote" have experts."""
    folder = Path(folder)
    rng = np.random.default_rng(7)
    skill = skill or {name: 0.7 + 0.1 * place for place, name in enumerate(variants)}
    label = rng.integers(0, classes, items)
    length = rng.integers(5, 60, items)
    q = rng.beta(2, 1, items)
    write_json(
        folder / "config.json",
        {
            "dataset": "digits",
            "encoders": list(variants),
            "seeds": seeds,
            "epochs": epochs,
            "data_card": {"source": "scikit-learn", "test items": items},
        }
        | (config or {}),
    )
    for place, variant in enumerate(variants):
        for seed in range(seeds):
            chance = np.clip(skill[variant] + 0.3 * (q - 2 / 3) + rng.normal(0, seed_sd), 0, 1)
            right = rng.random(items) < chance
            wrong = (label + 1 + rng.integers(0, classes - 1, items)) % classes
            write_trial(
                folder / "trials" / variant / f"seed-{seed}",
                variant,
                seed,
                label,
                np.where(right, label, wrong),
                length,
                classes,
                epochs - (seed % 2 if epochs > 2 else 0),
                10_000 * (place + 1),
                rng,
                curves and seed == 0,
                usage_in_history,
            )
    return folder


def write_trial(
    folder,
    variant,
    seed,
    label,
    predicted,
    length,
    classes,
    epochs,
    parameters,
    rng,
    curves=False,
    usage_in_history=False,
):
    folder.mkdir(parents=True, exist_ok=True)
    items = label.size
    accuracy = float((predicted == label).mean())
    usage = None
    if "mote" in variant:
        share = rng.dirichlet([8, 6, 4, 0.01])
        usage = {
            "experts": list(EXPERTS),
            "selected": share.tolist(),
            "weight": share.tolist(),
            "entropy": float(-(share * np.log(share + 1e-12)).sum() / np.log(4)),
        }
    rows = []
    for epoch in range(1, epochs + 1):
        reached = accuracy * (1 - np.exp(-epoch)) + rng.normal(0, 0.005)
        row = {
            "epoch": epoch,
            "learning_rate": 1e-3,
            "train_loss": 2 * np.exp(-epoch / 3),
            "train_accuracy": min(1.0, reached + 0.02),
            "penalty": 0.0,
            "validation_loss": 2.1 * np.exp(-epoch / 4) + rng.normal(0, 0.02),
            "validation_accuracy": min(1.0, reached),
            "gradient_norm": 1.0,
        }
        if usage and usage_in_history:
            row["expert_usage"] = usage
        rows.append(row)
    best = max(rows, key=lambda row: row["validation_accuracy"])
    write_json(
        folder / "record.json",
        {
            "variant": variant,
            "subject": variant,
            "task": "classes",
            "extra": {},
            "options": {},
            "seed": seed,
            "parameters": parameters,
            "encoder_parameters": parameters // 10,
            "classes": [str(k) for k in range(classes)],
            "epochs": epochs,
            "best_epoch": best["epoch"],
            "stopped_early": False,
            "validation": {
                "accuracy": best["validation_accuracy"],
                "loss": best["validation_loss"],
            },
            "train": {"accuracy": best["train_accuracy"], "loss": best["train_loss"]},
            "test": {"accuracy": accuracy, "loss": 0.4},
            "final": {"accuracy": max(0.0, accuracy - 0.005), "loss": 0.42},
            "expert_usage": usage,
        },
    )
    (folder / "history.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    write_json(
        folder / "timing.json",
        {
            "seconds_per_epoch": [0.5 + 0.01 * seed] * epochs,
            "seconds": 0.5 * epochs,
            "peak_memory_bytes": 300_000_000,
            "device": "cpu",
            "threads": 1,
        },
    )
    right = predicted == label
    probability = rng.uniform(0.4, 1.0, items).astype(np.float32)
    np.savez(
        folder / "predictions.npz",
        item=np.arange(items) + 1000,
        label=label.astype(np.int64),
        predicted=predicted.astype(np.int64),
        length=length.astype(np.int64),
        probability=probability,
        true_probability=np.where(right, probability, 1 - probability).astype(np.float32),
    )
    if curves:
        write_curves(folder / "curves.npz", variant)


def write_curves(path, variant):
    time = np.linspace(0, 783, 80)
    arrays = {"time": time, "density": np.exp(-(((time - 400) / 200) ** 2)) / 350}
    if "mote" in variant:
        for place, expert in enumerate(EXPERTS):
            arrays[f"expert:{expert}"] = np.stack(
                [np.sin(time / (20 * (place + 1) * (k + 1))) for k in range(6)], -1
            )
        weight = np.stack([1 + np.sin(time / 100 + k) for k in range(4)], -1) + 0.05
        arrays["router"] = weight / weight.sum(-1, keepdims=True)
    else:
        arrays["embedding"] = np.stack([np.cos(time / (30 * (k + 1))) for k in range(8)], -1)
    np.savez(path, **arrays)


def write_failure(folder, variant, seed, message="the loss became NaN"):
    write_json(
        Path(folder) / "trials" / variant / f"seed-{seed}" / "failure.json",
        {"message": message, "traceback": f"Traceback (most recent call last):\n{message}"},
    )


def write_json(path, value):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(value, indent=2))
