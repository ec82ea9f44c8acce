"""One trial: one variant with one seed, from data to record."""

import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from edgewise.core import (
    InputError,
    Registry,
    read_json,
    seeded,
    stream,
    write_atomically,
    write_json,
)
from edgewise.data import Batches, EventDataset, EventStreams
from edgewise.encoders import AbstractTimeEncoder, make_encoder
from edgewise.export import save
from edgewise.layers import KANLinear, MixtureOfExperts
from edgewise.losses import load_balance, sobolev, total_variation
from edgewise.models import SequenceClassifier
from edgewise.studies.study import SHARED_FREELY, Study, Variant
from edgewise.train import CSVLog, Evaluation, Run, evaluate, fit

MODELS: Registry = Registry("model")
MODELS.register("sequence")(SequenceClassifier)

Report = Callable[[dict[str, Any]], None]


@dataclass(frozen=True)
class Trial:
    """One variant with one seed.

    Attributes:
        study: The study, with the variant's changes made.
        variant: What is trained.
        seed: The seed of the weights, of the order of batches and of dropout.

    """

    study: Study
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
            del study[name]
        return {"study": study, "variant": asdict(self.variant), "seed": self.seed}


def make_trial(study: Study, variant: Variant, seed: int) -> Trial:
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


def run_trial(
    trial: Trial, dataset: EventDataset, root: Path, report: Report = lambda event: None
) -> None:
    """Trains, evaluates and writes one trial; goes on where a killed one stopped.

    Args:
        trial: What to train.
        dataset: The streams.
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
    _forget_peak_memory(study.device)
    model = build_model(trial, dataset)
    device = torch.device(study.device)
    validation = Batches(dataset.validation, study.batch_size, shuffle=False)
    run = fit(
        model,
        Batches(dataset.train, study.batch_size, seed=stream(trial.seed, "order")),
        validation,
        study.settings(),
        seed=trial.seed,
        folder=folder,
        penalty=_penalty(study, model),
        on_epoch=(
            lambda row, model: _add_usage(row, model, dataset.validation),
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
            "peak_memory_bytes": _peak_memory(study.device),
            "device": _device_name(device),
            "threads": torch.get_num_threads(),
        },
    )
    # Last: where the record is, the trial is finished.
    write_json(folder / "record.json", record)
    (folder / "checkpoint.safetensors").unlink(missing_ok=True)


def build_model(trial: Trial, dataset: EventDataset) -> nn.Module:
    """The trial's model, its clock fitted to the training times."""
    streams = dataset.train
    with seeded(trial.seed, "init"):
        model = make_model(trial, streams)
    times, lengths, _ = streams.batch(torch.arange(len(streams)))
    encoder = getattr(model, "encoder", None)
    if isinstance(encoder, AbstractTimeEncoder):
        encoder.fit_scale(times, torch.arange(times.shape[1]) < lengths.unsqueeze(-1))
    return model


def make_model(trial: Trial, streams: EventStreams) -> nn.Module:
    """The trial's model as it is made, of the width that its budget asks for."""
    width = trial.study.hidden_dim
    if trial.study.parameters:
        width = _width_for(trial, streams)
    return _of_width(trial, streams, width)


def _of_width(trial: Trial, streams: EventStreams, width: int) -> nn.Module:
    study = trial.study
    features = 0 if streams.features is None else streams.features.shape[1]
    return MODELS.resolve(study.model)(
        make_encoder(trial.variant.encoder, study.dim, **trial.variant.options),
        num_classes=streams.num_classes,
        hidden_dim=width,
        num_layers=study.num_layers,
        backbone=study.backbone,
        dropout=study.dropout,
        feature_dim=features,
    )


def _width_for(trial: Trial, streams: EventStreams) -> int:
    """The backbone's width with which the model comes closest to the budget, by bisection."""
    budget, low, high = trial.study.parameters, 1, 1

    def size(width: int) -> int:
        # The random numbers it draws are of no consequence, and must have none.
        with seeded(0, "size"):
            return count_parameters(_of_width(trial, streams, width))

    if size(1) > budget:
        raise InputError(
            f"parameters={budget} is too small a budget for {trial.variant.name}: with a backbone "
            f"of width 1 it has {size(1)}"
        )
    while size(high) < budget:
        low, high = high, 2 * high
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if size(middle) <= budget else (low, middle)
    return min((low, high), key=lambda width: abs(size(width) - budget))


def count_parameters(model: nn.Module) -> int:
    """How many numbers are trained."""
    return sum(p.numel() for p in model.parameters() if p.requires_grad)


def _penalty(study: Study, model: nn.Module) -> Callable[[nn.Module], Tensor] | None:
    """The weighted penalties that the model can have; None where it has none."""
    has = {
        load_balance: study.balance * _holds(model, MixtureOfExperts),
        sobolev: study.sobolev * _holds(model, KANLinear),
        total_variation: study.variation * _holds(model, KANLinear),
    }
    terms = [(term, weight) for term, weight in has.items() if weight]
    if not terms:
        return None
    return lambda model: sum(weight * term(model) for term, weight in terms)


def _holds(model: nn.Module, kind: type) -> bool:
    return any(isinstance(m, kind) for m in model.modules())


def _add_usage(row: dict[str, Any], model: nn.Module, streams: EventStreams) -> None:
    usage = expert_usage(model, streams)
    if usage is not None:
        row["expert_usage"] = usage


def expert_usage(
    model: nn.Module, streams: EventStreams, at_most: int = 2000
) -> dict[str, Any] | None:
    """How the encoder's experts are used on streams, padding left out; None without experts."""
    encoder = getattr(model, "encoder", None)
    if not hasattr(encoder, "usage"):
        return None
    chosen = torch.linspace(0, len(streams) - 1, min(at_most, len(streams))).long()
    times, lengths, features = streams.batch(chosen)
    device = next(model.parameters()).device
    mask = torch.arange(times.shape[1]) < lengths.unsqueeze(-1)
    with torch.no_grad():
        encoder(
            times.to(device),
            mask.to(device),
            None if features is None else features.to(device),
        )
    usage = encoder.usage()
    return {
        "experts": list(encoder.expert_names),
        "selected": [round(v, 6) for v in usage["selected"].tolist()],
        "weight": [round(v, 6) for v in usage["weight"].tolist()],
        "entropy": round(float(usage["entropy"]), 6),
    }


def _conclude(
    trial: Trial, model: nn.Module, run: Run, dataset: EventDataset, folder: Path
) -> dict[str, Any]:
    """Evaluates the chosen model, and the last epoch's; writes what it said and learned."""
    study = trial.study

    def ask(streams: EventStreams) -> Evaluation:
        batches = Batches(streams, study.batch_size, shuffle=False)
        return evaluate(model, batches, device=study.device, precision=study.precision)

    test = ask(dataset.test)
    _write_predictions(folder / "predictions.npz", test, dataset.test)
    _write_curves(folder / "curves.npz", model, dataset.train)
    some = torch.linspace(0, len(dataset.train) - 1, min(10_000, len(dataset.train))).long()
    record = {
        "variant": trial.variant.name,
        "encoder": trial.variant.encoder,
        "options": trial.variant.options,
        "changes": trial.variant.changes,
        "seed": trial.seed,
        "parameters": count_parameters(model),
        "encoder_parameters": count_parameters(getattr(model, "encoder", nn.Identity())),
        "classes": list(dataset.test.classes),
        "epochs": run.epochs,
        "best_epoch": run.best_epoch,
        "stopped_early": run.stopped_early,
        "validation": _score(ask(dataset.validation)),
        "train": _score(ask(dataset.train.subset(some))),
        "test": _score(test),
        "expert_usage": expert_usage(model, dataset.test),
    }
    if "_arguments" in vars(model):
        notes = {"trial": trial.name, "validation": record["validation"]["accuracy"]}
        save(model, folder / "best.safetensors", notes=notes)
    model.load_state_dict(run.last_state)
    record["final"] = _score(ask(dataset.test))
    return record


def _score(evaluation: Evaluation) -> dict[str, float]:
    return {"accuracy": evaluation.accuracy, "loss": evaluation.loss}


def _write_predictions(path: Path, evaluation: Evaluation, streams: EventStreams) -> None:
    chosen = evaluation.probabilities.gather(1, evaluation.predictions.unsqueeze(-1))
    truth = evaluation.probabilities.gather(1, evaluation.labels.unsqueeze(-1))
    arrays = {
        "item": evaluation.items.numpy(),
        "label": evaluation.labels.numpy(),
        "predicted": evaluation.predictions.numpy(),
        "length": streams.lengths[evaluation.items].numpy(),
        "probability": chosen.squeeze(-1).float().numpy(),
        "true_probability": truth.squeeze(-1).float().numpy(),
    }
    _write_npz(path, arrays)


def _write_curves(path: Path, model: nn.Module, streams: EventStreams, points: int = 784) -> None:
    """What each learned function looks like over the training times, and where events lie."""
    encoder = getattr(model, "encoder", None)
    if not isinstance(encoder, AbstractTimeEncoder):
        return
    times = streams.times
    grid = torch.linspace(0, 1, points, dtype=torch.float64)
    grid = float(times.min()) + grid * float(times.max() - times.min())
    edges = np.linspace(float(grid[0]), float(grid[-1]) or 1.0, points + 1)
    density = np.histogram(times.double().numpy(), bins=edges)[0]
    device = next(model.parameters()).device
    with torch.no_grad():
        curves = encoder.curves(grid.to(device))
    arrays = {"time": grid.numpy(), "density": density.astype(np.float64)}
    _write_npz(path, arrays | {name: c.float().cpu().numpy() for name, c in curves.items()})


def _write_npz(path: Path, arrays: dict[str, np.ndarray]) -> None:
    def write(temporary: Path) -> None:
        with open(temporary, "wb") as file:
            np.savez_compressed(file, **arrays)

    write_atomically(path, write)


def _forget_peak_memory(device: str) -> None:
    """Starts the count of peak memory anew for this trial, where the system can."""
    if device.startswith("cuda"):
        torch.cuda.reset_peak_memory_stats()
    elif Path("/proc/self/clear_refs").exists():
        Path("/proc/self/clear_refs").write_text("5")


def _peak_memory(device: str) -> int | None:
    """Bytes: of the GPU's allocator, else of this process (Linux; elsewhere it is not known)."""
    if device.startswith("cuda"):
        return torch.cuda.max_memory_allocated()
    status = Path("/proc/self/status")
    if not status.exists():
        return None
    line = next(line for line in status.read_text().splitlines() if line.startswith("VmHWM"))
    return int(line.split()[1]) * 1024


def _device_name(device: torch.device) -> str:
    return torch.cuda.get_device_name(device) if device.type == "cuda" else "cpu"


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
