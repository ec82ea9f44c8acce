"""A study that trains in a second, and what of it must not change."""

from pathlib import Path
from typing import Any

from edgewise.studies import EncoderStudy

KEPT = ("record.json", "history.jsonl", "predictions.npz", "curves.npz", "best.safetensors")
"""A trial's files that are a pure function of what was asked for."""


def small_study(**changes: Any) -> EncoderStudy:
    values = {
        "encoders": ("learned", "kmote"),
        "seeds": 2,
        "epochs": 2,
        "limit": 120,
        "dim": 8,
        "hidden_dim": 8,
        "batch_size": 32,
        "workers": 0,
    }
    return EncoderStudy(**(values | changes))


def kept_files(root: Path) -> dict[str, bytes]:
    """The deterministic files of all trials, by name."""
    return {
        str(path.relative_to(root)): path.read_bytes()
        for path in sorted((root / "trials").rglob("*"))
        if path.name in KEPT
    }
