"""A trial run: trained, evaluated, written; gone on with where it was killed."""

import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import nn

from edgewise.core import stream, write_json
from edgewise.studies.kinds.metric import NUMBERS
from edgewise.studies.kinds.study import AbstractStudy
from edgewise.studies.running.machine import device_name, forget_peak_memory, peak_memory
from edgewise.studies.running.outcome import conclude
from edgewise.studies.running.trial import Trial
from edgewise.studies.running.trial_model import build_model
from edgewise.train import CSVLog, Run, fit
from edgewise.train.loop import OnEpoch

Report = Callable[[dict[str, Any]], None]


def run_trial(trial: Trial, dataset: Any, root: Path, report: Report = lambda event: None) -> None:
    """Trains, evaluates and writes one trial; goes on where a killed one stopped.

    Args:
        trial: What to train.
        dataset: What the study's ``load`` gave.
        root: The study's folder.
        report: Called with ``{"epoch": …, "validation_accuracy": …}`` after each epoch.

    Raises:
        InputError: If the trial can't be made as asked.
        RunError: If training fails.

    """
    folder, study = trial.folder(root), trial.study
    write_json(folder / "trial.json", trial.identity())
    (folder / "failure.json").unlink(missing_ok=True)
    start = time.perf_counter()
    forget_peak_memory(study.device)
    model = build_model(trial, dataset)
    on_epoch = (
        lambda row, model: row.update(_more(study, model, dataset, row)),
        CSVLog(root / "logs" / f"{trial.slug}.csv"),
        lambda row, model: report(dict(row)),
    )
    run = train_trial(trial, model, dataset, folder, on_epoch)
    record = conclude(trial, model, run, dataset, folder)
    write_json(
        folder / "timing.json",
        {
            "seconds_per_epoch": run.seconds,
            "seconds": time.perf_counter() - start,
            "peak_memory_bytes": peak_memory(study.device),
            "device": device_name(torch.device(study.device)),
            "threads": torch.get_num_threads(),
        },
    )
    # Last: where the record is, the trial is finished.
    write_json(folder / "record.json", record)
    (folder / "checkpoint.safetensors").unlink(missing_ok=True)


def train_trial(
    trial: Trial, model: nn.Module, dataset: Any, folder: Path, on_epoch: Sequence[OnEpoch]
) -> Run:
    """Trains a trial's model, or goes on with what ``folder`` keeps of it."""
    study = trial.study
    return fit(
        model,
        study.batches(dataset, "train", stream(trial.seed, "order")),
        study.batches(dataset, "validation"),
        study.settings(study.task(dataset)),
        seed=trial.seed,
        folder=folder,
        loss=study.loss(dataset),
        penalty=study.penalty(model, dataset),
        on_epoch=on_epoch,
        device=study.device,
    )


def _more(
    study: AbstractStudy, model: nn.Module, dataset: Any, row: dict[str, Any]
) -> dict[str, Any]:
    """What an epoch's row says besides: the explained part of the variance, the use of experts."""
    more: dict[str, Any] = {}
    if study.task(dataset) == NUMBERS:
        for part in ("train", "validation"):
            spread = float(getattr(dataset, part).targets.double().var(correction=0))
            more[f"{part}_explained"] = 1 - row[f"{part}_loss"] / spread
    usage = study.usage(model, dataset, "validation")
    return more | ({} if usage is None else {"expert_usage": usage})
