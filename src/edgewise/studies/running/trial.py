"""One trial: one variant with one seed, from data to record."""

import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from edgewise.activations.learned import has_functions, learned_functions, pack
from edgewise.core import InputError, read_json, seeded, stream, write_atomically, write_json
from edgewise.export import save
from edgewise.models import count_parameters
from edgewise.studies.kinds.metric import METRICS, NUMBERS
from edgewise.studies.kinds.study import SHARED_FREELY, AbstractStudy, Variant
from edgewise.studies.running.machine import device_name, forget_peak_memory, peak_memory
from edgewise.train import CSVLog, Evaluation, Run, evaluate, fit

Report = Callable[[dict[str, Any]], None]


@dataclass(frozen=True)
class Trial:
    """One variant with one seed.

    Attributes:
        study: The study, with the variant's changes made.
        variant: What is trained.
        seed: The seed of the weights, of the order of batches and of dropout.

    """

    study: AbstractStudy
    variant: Variant
    seed: int

    @property
    def name(self) -> str:
        """What messages call it."""
        return f"{self.variant.name} seed {self.seed}"

    def folder(self, root: Path) -> Path:
        """Where it is kept."""
        return root / "trials" / self.variant.slug / f"seed-{self.seed}"

    def identity(self) -> dict[str, Any]:
        """All that decides its result; two trials of one folder must agree in it."""
        study = self.study.as_dict()
        for name in SHARED_FREELY:
            study.pop(name, None)
        return {"study": study, "variant": asdict(self.variant), "seed": self.seed}


def make_trial(study: AbstractStudy, variant: Variant, seed: int) -> Trial:
    """A trial of a study, the variant's changes made."""
    return Trial(replace(study, **variant.changes), variant, seed)


def is_finished(trial: Trial, root: Path) -> bool:
    """Whether the trial's record is there.

    Raises:
        InputError: If its folder holds a trial of another study.

    """
    folder = trial.folder(root)
    if (folder / "trial.json").exists():
        refuse_another(read_json(folder / "trial.json"), trial.identity(), root)
    return (folder / "record.json").exists()


def refuse_another(kept: dict[str, Any], wanted: dict[str, Any], root: Path) -> None:
    """Raises an :class:`InputError` where what ``root`` holds is not what is asked for."""
    # Through JSON, so that tuples and lists compare equal.
    found = _difference(kept, _through_json(wanted))
    if found:
        name, old, new = found
        raise InputError(
            f"{root} holds another study: there {name} is {old!r}, here it is {new!r}; "
            f"choose another folder for --out"
        )


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
    device = torch.device(study.device)
    run = fit(
        model,
        study.batches(dataset, "train", stream(trial.seed, "order")),
        study.batches(dataset, "validation"),
        study.settings(study.task(dataset)),
        seed=trial.seed,
        folder=folder,
        loss=study.loss(dataset),
        penalty=study.penalty(model, dataset),
        on_epoch=(
            lambda row, model: row.update(_more(study, model, dataset, row)),
            CSVLog(root / "logs" / f"{trial.variant.slug}_seed-{trial.seed}.csv"),
            lambda row, model: report(dict(row)),
        ),
        device=device,
    )
    record = _conclude(trial, model, run, dataset, folder)
    write_json(
        folder / "timing.json",
        {
            "seconds_per_epoch": run.seconds,
            "seconds": time.perf_counter() - start,
            "peak_memory_bytes": peak_memory(study.device),
            "device": device_name(device),
            "threads": torch.get_num_threads(),
        },
    )
    # Last: where the record is, the trial is finished.
    write_json(folder / "record.json", record)
    (folder / "checkpoint.safetensors").unlink(missing_ok=True)


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


def build_model(trial: Trial, dataset: Any) -> nn.Module:
    """The trial's model, with what it takes from the training data."""
    with seeded(trial.seed, "init"):
        model = make_model(trial, dataset)
    trial.study.prepare(model, dataset)
    return model


def make_model(trial: Trial, dataset: Any) -> nn.Module:
    """The trial's model as it is made, of the width that its budget asks for."""
    study = trial.study
    width = _width_for(trial, dataset) if study.parameters else study.hidden_dim
    return study.make(trial.variant, dataset, width)


def _width_for(trial: Trial, dataset: Any) -> int:
    """The width with which the model comes closest to the budget, by bisection."""
    budget, low, high = trial.study.parameters, 1, 1

    def size(width: int) -> int:
        # The random numbers it draws are of no consequence, and must have none.
        with seeded(0, "size"):
            return count_parameters(trial.study.make(trial.variant, dataset, width))

    unit = _unit_of_width(size)
    if size(unit) > budget:
        raise InputError(
            f"parameters={budget} is too small a budget for {trial.variant.name}: with a width "
            f"of {unit} it has {size(unit)}"
        )
    while size(unit * high) < budget:
        low, high = high, 2 * high
        if unit * high > _WIDEST:
            raise InputError(
                f"parameters={budget} can't be reached by {trial.variant.name}: its width does "
                f"not change how many it has"
            )
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if size(unit * middle) <= budget else (low, middle)
    return min((unit * low, unit * high), key=lambda width: abs(size(width) - budget))


def _unit_of_width(size: Callable[[int], int]) -> int:
    """The smallest power of two that the model takes: widths are multiples of, say, its heads."""
    refusals = []
    for unit in (1, 2, 4, 8, 16):
        try:
            size(unit)
            return unit
        except InputError as error:
            refusals.append(error)
    # Not for its width, it seems.
    raise refusals[0]


_WIDEST = 1 << 16


def _conclude(
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


_LOOKED_AT, _LOOKED_AT_ALONE = 512, 64


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


def _through_json(value: Any) -> Any:
    """The value as it comes back from a JSON file: tuples are lists, keys are text."""
    if isinstance(value, dict):
        return {str(k): _through_json(v) for k, v in value.items()}
    return [_through_json(v) for v in value] if isinstance(value, (list, tuple)) else value


def _difference(old: Any, new: Any, name: str = "") -> tuple[str, Any, Any] | None:
    """The first place where two JSON values differ: its name and both values."""
    if isinstance(old, dict) and isinstance(new, dict):
        for key in dict.fromkeys([*new, *old]):
            found = _difference(old.get(key), new.get(key), key)
            if found:
                return found
        return None
    return None if old == new else (name, old, new)
