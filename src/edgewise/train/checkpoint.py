"""A run on disk: one safetensors file whose header holds the history, whole or absent."""

import json
import zlib
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from edgewise.core import InputError, parse_json, write_atomically
from edgewise.train.history import Row
from edgewise.train.settings import Settings

FORMAT = 1


@dataclass(frozen=True, eq=False)
class Checkpoint:
    """A run after its last finished epoch; a finished run carries no optimiser any more.

    Learning rate, patience and best epoch follow from ``history`` and the settings, and an
    epoch's random numbers from the seed and its number; so none of them has a state to keep.

    Attributes:
        identity: What the run was asked for, as `identify` says it.
        history: One row an epoch.
        seconds: How long each epoch took.
        scaler: The state of float16's loss scaling; empty without it.
        model: The weights and buffers after the last epoch.
        best: The weights and buffers of the best epoch.
        optimiser: AdamW's tensors as ``kind/parameter``, for instance ``exp_avg/head.weight``.

    """

    identity: dict[str, Any]
    history: list[Row]
    seconds: list[float]
    scaler: dict[str, Any] = field(default_factory=dict)
    model: dict[str, Tensor] = field(default_factory=dict)
    best: dict[str, Tensor] = field(default_factory=dict)
    optimiser: dict[str, Tensor] = field(default_factory=dict)


_TENSORS = ("model", "best", "optimiser")
_WORDS = ("identity", "history", "seconds", "scaler")


def save_checkpoint(path: str | Path, checkpoint: Checkpoint) -> Path:
    """Writes the checkpoint atomically, with a checksum over all of it."""
    tensors = {
        f"{part}/{name}": tensor
        for part in _TENSORS
        for name, tensor in getattr(checkpoint, part).items()
    }
    words = {name: getattr(checkpoint, name) for name in _WORDS}
    text = json.dumps({"format": FORMAT, **words}, allow_nan=False)
    header = {"edgewise": text, "crc32": str(_checksum(text, tensors))}
    return write_atomically(path, lambda temporary: save_file(tensors, temporary, header))


def load_checkpoint(path: str | Path) -> Checkpoint:
    """Reads back what `save_checkpoint` wrote.

    Raises:
        InputError: If there is no such file, or it is damaged.

    """
    path = Path(path)
    if not path.is_file():
        raise InputError(f"there is no file {path}")
    try:
        with safe_open(path, framework="pt") as file:
            header = file.metadata()
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        sound = header["crc32"] == str(_checksum(header["edgewise"], tensors))
        words = parse_json(header["edgewise"]) if sound else {}
    except (SafetensorError, KeyError, TypeError, ValueError) as error:
        raise _damaged(path) from error
    if not isinstance(words, dict) or words.pop("format", None) != FORMAT:
        raise _damaged(path)
    parts: dict[str, dict[str, Tensor]] = {part: {} for part in _TENSORS}
    for name, tensor in tensors.items():
        part, _, rest = name.partition("/")
        parts.setdefault(part, {})[rest] = tensor
    if set(words) != set(_WORDS) or set(parts) != set(_TENSORS):
        raise _damaged(path)
    return Checkpoint(**words, **parts)


def identify(model: nn.Module, batches: int, settings: Settings, seed: int) -> dict[str, Any]:
    """What a run is asked for, so that a checkpoint of another run can be told apart.

    The model counts by the classes of its modules and the shapes and types of its tensors.
    """
    modules = {name: type(module).__qualname__ for name, module in model.named_modules()}
    tensors = {
        name: f"{str(tensor.dtype).removeprefix('torch.')} {tuple(tensor.shape)}"
        for name, tensor in copy_state(model).items()
    }
    return {
        "settings": asdict(settings),
        "seed": seed,
        "batches an epoch": batches,
        "modules": modules,
        "tensors": tensors,
    }


def check_identity(path: Path, theirs: dict[str, Any], ours: dict[str, Any]) -> None:
    """Refuses to go on from a checkpoint of another run.

    Raises:
        InputError: With the first difference.

    """
    theirs, ours = _flat(theirs), _flat(ours)
    for name in [*ours, *theirs]:
        if theirs.get(name) != ours.get(name):
            raise InputError(
                f"{path} is from a run with {name} = {_say(theirs, name)}, this one has "
                f"{_say(ours, name)}: use another folder, or delete the file to start again"
            )


def copy_state(model: nn.Module) -> dict[str, Tensor]:
    """The model's weights and buffers, copied to the CPU.

    Raises:
        InputError: If the model's state has something that isn't a tensor.

    """
    state = model.state_dict()
    for name, value in state.items():
        if not isinstance(value, Tensor):
            raise InputError(
                f"the model's state {name!r} is a {type(value).__name__}: keep it in a buffer, "
                f"a run can only be saved as tensors"
            )
    return {name: _copy(value) for name, value in state.items()}


def copy_optimiser(optimiser: torch.optim.Optimizer, model: nn.Module) -> dict[str, Tensor]:
    """The optimiser's tensors by ``kind/parameter``; parameters it never moved have none."""
    return {
        f"{kind}/{name}": _copy(value)
        for name, parameter in model.named_parameters()
        for kind, value in optimiser.state.get(parameter, {}).items()
    }


def restore_optimiser(
    optimiser: torch.optim.Optimizer, model: nn.Module, tensors: dict[str, Tensor]
) -> None:
    """Puts back what `copy_optimiser` took."""
    parameters = dict(model.named_parameters())
    for name, tensor in tensors.items():
        kind, _, parameter = name.partition("/")
        owner = parameters[parameter]
        # AdamW counts its steps on the CPU, wherever the parameter is.
        device = "cpu" if kind == "step" else owner.device
        optimiser.state[owner][kind] = tensor.to(device, copy=True)


def _copy(tensor: Tensor) -> Tensor:
    return tensor.detach().to("cpu", copy=True).contiguous()


def _checksum(text: str, tensors: dict[str, Tensor]) -> int:
    """CRC-32 over the words and every tensor; safetensors itself only checks sizes."""
    total = zlib.crc32(text.encode())
    for name in sorted(tensors):
        label = f"{name} {tensors[name].dtype} {tuple(tensors[name].shape)}"
        total = zlib.crc32(label.encode(), total)
        total = zlib.crc32(tensors[name].reshape(-1).view(torch.uint8).numpy(), total)
    return total


def _damaged(path: Path) -> InputError:
    return InputError(f"{path} is damaged or not a checkpoint: delete it to start the run again")


def _flat(identity: dict[str, Any]) -> dict[str, Any]:
    """The identity's leaves by name, as a message calls them."""
    flat = {}
    for name, value in identity.items():
        if isinstance(value, dict):
            prefix = "" if name == "settings" else f"{name[:-1]} "
            flat |= {f"{prefix}{key}" if key else "model": v for key, v in value.items()}
        else:
            flat[name] = value
    return flat


def _say(flat: dict[str, Any], name: str) -> str:
    return str(flat[name]) if name in flat else "nothing"
