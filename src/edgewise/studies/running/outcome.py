"""What a trial leaves when it has been trained: its record, its answers, what it learned."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from edgewise.activations import has_functions, learned_functions, pack
from edgewise.core import write_atomically
from edgewise.export import save
from edgewise.models import count_parameters
from edgewise.studies.kinds.metric import METRICS, NUMBERS
from edgewise.studies.kinds.study import AbstractStudy
from edgewise.studies.running.trial import Trial
from edgewise.studies.running.trial_model import build_model
from edgewise.train import Evaluation, Run, evaluate

_LOOKED_AT, _LOOKED_AT_ALONE = 512, 64
"""Training items whose way through the network is looked at; those that must go one by one."""


def conclude(
    trial: Trial, model: nn.Module, run: Run, dataset: Any, folder: Path
) -> dict[str, Any]:
    """Evaluates the chosen model, and the last epoch's; writes what it said and learned."""
    study = trial.study
    test = _ask(study, model, dataset, "test")
    _write_npz(folder / "predictions.npz", _answers(study, dataset, test))
    curves = study.curves(model, dataset)
    if curves:
        _write_npz(folder / "curves.npz", curves)
    elif has_functions(model):
        _write_npz(folder / "functions.npz", _functions(trial, model, dataset))
    record = {
        "variant": trial.variant.name,
        "subject": trial.variant.subject,
        "options": trial.variant.options,
        "changes": trial.variant.changes,
        "seed": trial.seed,
        "task": study.task(dataset),
        "parameters": count_parameters(model),
        "encoder_parameters": count_parameters(getattr(model, "encoder", nn.Identity())),
        "classes": list(getattr(dataset.test, "classes", ())),
        "epochs": run.epochs,
        "best_epoch": run.best_epoch,
        "stopped_early": run.stopped_early,
        "validation": _score(_ask(study, model, dataset, "validation")),
        "train": _score(_ask(study, model, _thinned(dataset), "train")),
        "test": _score(test),
        "extra": {
            name: _score(_ask(study, model, replace(dataset, test=part), "test"))
            for name, part in getattr(dataset, "extra", {}).items()
        },
        "expert_usage": study.usage(model, dataset, "test"),
    }
    if "_arguments" in vars(model):
        notes = {
            "trial": trial.name,
            "validation": record["validation"][METRICS[record["task"]].key],
        }
        save(model, folder / "best.safetensors", notes=notes)
    model.load_state_dict(run.last_state)
    record["final"] = _score(_ask(study, model, dataset, "test"))
    return record


def _functions(trial: Trial, model: nn.Module, dataset: Any) -> dict[str, np.ndarray]:
    """The functions that matter most in each layer, before and after, where training data lie."""
    study, few = trial.study, _thinned(dataset, _LOOKED_AT)
    if study.lengths(few, "train", torch.arange(len(few.train))) is not None:
        # One by one: padding is nothing that a function should be seen on.
        study, few = replace(study, batch_size=1), _thinned(dataset, _LOOKED_AT_ALONE)
    calls = (b.to(study.device).inputs for b in study.batches(few, "train").epoch(0))
    before = build_model(trial, dataset).to(study.device)
    return pack(learned_functions(model, calls, before))


def _thinned(dataset: Any, at_most: int = 10_000) -> Any:
    """The data set with so many training examples: enough to say how well they are known."""
    count = len(dataset.train)
    some = torch.linspace(0, count - 1, min(at_most, count)).long()
    return replace(dataset, train=dataset.train.subset(some))


def _ask(study: AbstractStudy, model: nn.Module, dataset: Any, part: str) -> Evaluation:
    return evaluate(
        model,
        study.batches(dataset, part),
        study.loss(dataset),
        device=study.device,
        precision=study.precision,
    )


def _score(evaluation: Evaluation) -> dict[str, float]:
    """Accuracy; of numbers the explained part of the variance, R² = 1 - mean (y - ŷ)² / var y."""
    if evaluation.accuracy is not None:
        return {"accuracy": evaluation.accuracy, "loss": evaluation.loss}
    target = evaluation.labels.double()
    missed = (target - evaluation.predictions.double()).square().mean()
    explained = 1 - float(missed / target.var(correction=0))
    return {"explained": explained, "loss": evaluation.loss}


def _answers(study: AbstractStudy, dataset: Any, evaluation: Evaluation) -> dict[str, np.ndarray]:
    """What the model said of each test item."""
    items = evaluation.items
    lengths = study.lengths(dataset, "test", items)
    arrays = {
        "item": items.numpy(),
        "length": (torch.zeros_like(items) if lengths is None else lengths).numpy(),
    }
    if study.task(dataset) == NUMBERS:
        numbers = {"label": evaluation.labels, "predicted": evaluation.predictions}
        return arrays | {name: n.double().squeeze(-1).numpy() for name, n in numbers.items()}
    chosen = evaluation.probabilities.gather(1, evaluation.predictions.unsqueeze(-1))
    truth = evaluation.probabilities.gather(1, evaluation.labels.unsqueeze(-1))
    return arrays | {
        "label": evaluation.labels.numpy(),
        "predicted": evaluation.predictions.numpy(),
        "probability": chosen.squeeze(-1).float().numpy(),
        "true_probability": truth.squeeze(-1).float().numpy(),
    }


def _write_npz(path: Path, arrays: dict[str, np.ndarray]) -> None:
    def write(temporary: Path) -> None:
        with open(temporary, "wb") as file:
            np.savez_compressed(file, **arrays)

    write_atomically(path, write)
