"""Reads what a study left behind: one folder a trial, nothing trained, nothing changed."""

import io
import os
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from edgewise.activations.learned import LayerFunctions, unpack
from edgewise.core import InputError, parse_json, read_json
from edgewise.data.arrays import unpack_arrays
from edgewise.studies.kinds.metric import CLASSES, METRICS, NUMBERS, Metric
from edgewise.studies.records.predictions import Predictions, load_predictions
from edgewise.studies.records.seal import broken, check_digest, check_seal

NUMBER, MAYBE = (int, float), type(None)
RECORD = {
    "variant": str,
    "subject": str,
    "options": dict,
    "seed": int,
    "task": str,
    "parameters": int,
    "encoder_parameters": int,
    "classes": list,
    "epochs": int,
    "best_epoch": int,
    "stopped_early": bool,
    "validation": dict,
    "train": dict,
    "test": dict,
    "final": dict,
    "extra": dict,
    "expert_usage": (dict, MAYBE),
}
"""What each file must hold; keys beside these are let be."""
HISTORY = {"epoch": int, "train_loss": NUMBER, "validation_loss": NUMBER}
TIMING = {
    "seconds_per_epoch": list,
    "seconds": NUMBER,
    "peak_memory_bytes": (int, MAYBE),
    "device": str,
    "threads": int,
}
FAILURE = {"message": str, "traceback": str}
PREDICTION_KEYS = {
    CLASSES: ("item", "label", "predicted", "length", "probability", "true_probability"),
    NUMBERS: ("item", "label", "predicted", "length"),
}


@dataclass(frozen=True)
class Trial:
    """A finished trial: one variant trained from one seed."""

    folder: Path
    record: Mapping[str, Any]
    timing: Mapping[str, Any]
    history: tuple[Mapping[str, Any], ...]

    @property
    def variant(self) -> str:
        """What was compared, for instance the name of a time encoder."""
        return self.record["variant"]

    @property
    def seed(self) -> int:
        """The seed; trials of one seed saw the same data in the same order."""
        return self.record["seed"]

    @property
    def metric(self) -> Metric:
        """By what it is ranked."""
        return METRICS[self.record["task"]]

    def score(self, part: str) -> float:
        """Its metric on ``"train"``, ``"validation"``, ``"test"``; ``"final"`` is unchosen."""
        return self.record[part][self.metric.key]

    def learning(self, part: str) -> list[float]:
        """Its metric on ``"train"`` or ``"validation"`` after each epoch."""
        return [row[f"{part}_{self.metric.key}"] for row in self.history]

    def predictions(self) -> dict[str, np.ndarray]:
        """The test set: item, label, predicted, length, each (I,).

        Of classes probability and true_probability too.

        Raises:
            InputError: If the file is missing, damaged or lacks an array.

        """
        arrays = _arrays(self.folder / "predictions.npz")
        missing = [key for key in PREDICTION_KEYS[self.record["task"]] if key not in arrays]
        if missing:
            raise broken(self.folder / "predictions.npz", f"it has no {missing[0]!r}")
        return arrays

    def curves(self) -> dict[str, np.ndarray]:
        """The learned functions of time, or nothing where the trial kept none.

        Returns:
            ``time`` (T,) in the user's units, ``density`` (T,) of training events, and an array
            (T, d) for each family of functions, such as "expert:fourier", "router", "embedding".

        Raises:
            InputError: If the file is damaged or has no ``time``.

        """
        path = self.folder / "curves.npz"
        if not path.exists():
            return {}
        arrays = _arrays(path)
        for key in ("time", "density"):
            if key not in arrays:
                raise broken(path, f"it has no {key!r}")
        return arrays

    def functions(self) -> tuple[LayerFunctions, ...]:
        """The learned functions of each layer, or nothing where the trial kept none.

        Raises:
            InputError: If the file is damaged or lacks an array.

        """
        path = self.folder / "functions.npz"
        if not path.exists():
            return ()
        arrays = _arrays(path)
        try:
            return unpack(arrays)
        except KeyError as error:
            raise broken(path, f"it has no {error.args[0]!r}") from None
        except (IndexError, ValueError) as error:
            raise broken(path, f"its arrays disagree: {error}") from None


@dataclass(frozen=True)
class Failure:
    """A trial that raised."""

    folder: Path
    variant: str
    seed: str
    message: str
    traceback: str


@dataclass(frozen=True)
class StudyRecords:
    """A study as it lies on disk.

    Attributes:
        folder: Where it lies.
        config: The resolved configuration.
        trials: The finished trials, by variant and seed.
        failures: The failed ones.
        unfinished: Folders of trials that have neither a record nor a failure: the run was stopped.

    """

    folder: Path
    config: Mapping[str, Any]
    trials: tuple[Trial, ...]
    failures: tuple[Failure, ...]
    unfinished: tuple[Path, ...]

    @cached_property
    def by_variant(self) -> dict[str, tuple[Trial, ...]]:
        """The finished trials of each variant, by seed; variants as configured, then by name."""
        configured = [
            name
            for key in ("encoders", "models")
            for name in self.config.get(key, ())
            if isinstance(name, str)
        ]
        rank = {name: place for place, name in enumerate(configured)}
        found: dict[str, list[Trial]] = {}
        for trial in self.trials:
            found.setdefault(trial.variant, []).append(trial)
        names = sorted(found, key=lambda name: (rank.get(name, len(rank)), name))
        return {name: tuple(sorted(found[name], key=lambda t: t.seed)) for name in names}

    @cached_property
    def seeds(self) -> tuple[int, ...]:
        """All seeds that any variant finished."""
        return tuple(sorted({trial.seed for trial in self.trials}))

    @cached_property
    def predictions(self) -> Predictions:
        """The answers of all trials side by side, read on first use.

        Raises:
            InputError: If no trial is finished, or the trials were tested on different items.

        """
        if not self.trials:
            raise InputError(f"{self.folder} has no finished trial: run the study first")
        return load_predictions(self.by_variant)


def read_study(folder: str | Path) -> StudyRecords:
    """Reads a study's folder; predictions and curves are read later, when asked for.

    Args:
        folder: What `edgewise compare --out` wrote: ``config.json`` and
            ``trials/<variant>/seed-<k>/``.

    Returns:
        Finished, failed and unfinished trials.

    Raises:
        InputError: If it is no study, or a trial's record is damaged.

    Example:
        >>> read_study("nowhere")
        Traceback (most recent call last):
        edgewise.core.errors.InputError: nowhere is not a study: it has no config.json; give the folder that `edgewise compare --out` wrote

    """  # noqa: E501
    folder = Path(folder)
    if not (folder / "config.json").is_file():
        raise InputError(
            f"{folder} is not a study: it has no config.json; "
            f"give the folder that `edgewise compare --out` wrote"
        )
    trials, failures, unfinished = [], [], []
    for path in _trial_folders(folder / "trials"):
        if (path / "record.json").exists():
            trials.append(_trial(path))
        elif (path / "failure.json").exists():
            failures.append(_failure(path))
        else:
            unfinished.append(path)
    _refuse_twins(trials)
    config = read_json(folder / "config.json")
    return StudyRecords(folder, config, tuple(trials), tuple(failures), tuple(unfinished))


def _trial_folders(folder: Path) -> list[Path]:
    """All ``<variant>/seed-<k>`` below, in one order on every file system."""
    if not folder.is_dir():
        return []
    variants = sorted(entry.path for entry in os.scandir(folder) if entry.is_dir())
    return [
        Path(path)
        for variant in variants
        for path in sorted(
            entry.path
            for entry in os.scandir(variant)
            if entry.is_dir() and entry.name.startswith("seed-")
        )
    ]


def _trial(folder: Path) -> Trial:
    check_seal(folder)
    record = _json(folder / "record.json", RECORD)
    timing = _json(folder / "timing.json", TIMING)
    if record["task"] not in METRICS:
        raise broken(folder / "record.json", f"its task is {record['task']!r}")
    key = METRICS[record["task"]].key
    for part in ("validation", "train", "test", "final"):
        if not _is(record[part].get(key), NUMBER):
            raise broken(folder / "record.json", f"its {part!r} has no {key}")
    return Trial(folder, record, timing, _history(folder, key))


def _history(folder: Path, metric: str) -> tuple[dict[str, Any], ...]:
    path = folder / "history.jsonl"
    try:
        rows = [parse_json(line) for line in path.read_text(encoding="utf-8").splitlines() if line]
    except FileNotFoundError:
        raise broken(path, "it is missing") from None
    except ValueError as error:
        raise broken(path, str(error)) from None
    if not rows:
        raise broken(path, "it has no rows")
    wanted = HISTORY | {f"train_{metric}": NUMBER, f"validation_{metric}": NUMBER}
    for row in rows:
        _check(row, wanted, path)
    return tuple(rows)


def _failure(folder: Path) -> Failure:
    found = _json(folder / "failure.json", FAILURE)
    variant = found.get("variant", folder.parent.name)
    seed = str(found.get("seed", folder.name.removeprefix("seed-")))
    return Failure(folder, variant, seed, found["message"], found["traceback"])


def _json(path: Path, wanted: Mapping[str, Any]) -> dict[str, Any]:
    try:
        value = parse_json(path.read_bytes())
    except FileNotFoundError:
        raise broken(path, "it is missing") from None
    except ValueError as error:
        raise broken(path, str(error)) from None
    _check(value, wanted, path)
    return value


def _check(value: Any, wanted: Mapping[str, Any], path: Path) -> None:
    if not isinstance(value, dict):
        raise broken(path, "it is not a table of names and values")
    for key, kinds in wanted.items():
        if key not in value:
            raise broken(path, f"it has no {key!r}")
        if not _is(value[key], kinds):
            raise broken(path, f"its {key!r} can't be {value[key]!r:.60}")


def _is(value: Any, kinds: Any) -> bool:
    """Whether it is of one of the kinds; in Python, True is a whole number."""
    return isinstance(value, kinds) and (kinds is bool or not isinstance(value, bool))


def _arrays(path: Path) -> dict[str, np.ndarray]:
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        raise broken(path, "it is missing") from None
    check_digest(path, data)
    try:
        return unpack_arrays(io.BytesIO(data), len(data))
    except ValueError as error:
        raise broken(path, str(error)) from None


def _refuse_twins(trials: list[Trial]) -> None:
    """Two folders that claim the same variant and seed would count one trial twice."""
    seen: dict[tuple[str, int], Path] = {}
    for trial in trials:
        twin = seen.setdefault((trial.variant, trial.seed), trial.folder)
        if twin != trial.folder:
            raise InputError(
                f"{twin} and {trial.folder} both hold {trial.variant!r} with seed {trial.seed}: "
                f"delete one of them"
            )
