"""One file that holds a model: weights as safetensors, and the recipe to make it again as JSON."""

import hashlib
import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from edgewise.core import EdgewiseError, InputError, build, parse_json, recipe_of, write_atomically
from edgewise.export.bounded import Bounded

FORMAT = "edgewise-1"

AT_LEAST = 1 << 22
"""Numbers that may be made while a model is built, however few its weights."""


def save(model: nn.Module, path: str | Path, notes: dict[str, Any] | None = None) -> Path:
    """Saves a model: its weights, and how to make it again.

    Args:
        model: A model of Edgewise, or one whose class is decorated with ``core.remembers``.
        path: The file to write, usually ``….safetensors``.
        notes: What JSON can hold; kept beside the recipe.

    Returns:
        The path.

    Raises:
        InputError: If the model does not remember how it was made, or JSON can't hold the notes.

    Example:
        >>> import tempfile
        >>> path = Path(tempfile.mkdtemp()) / "model.safetensors"
        >>> model = ew.models.SequenceClassifier("lete", num_classes=2).eval()
        >>> again = load(save(model, path)).eval()
        >>> times, lengths = torch.rand(3, 4), torch.tensor([4, 3, 1])
        >>> bool((model(times, lengths) == again(times, lengths)).all())
        True

    """
    recipe = recipe_of(check_module(model))
    # Copies: safetensors refuses tensors that share memory, such as those of a shared basis.
    state = {
        name: tensor.detach().to("cpu", copy=True, memory_format=torch.contiguous_format)
        for name, tensor in model.state_dict().items()
    }
    header = {"format": FORMAT, "recipe": recipe, "notes": notes or {}}
    header["checksum"] = _checksum(state)
    try:
        header["header_checksum"] = _header_checksum(header)
        metadata = {"edgewise": json.dumps(header, sort_keys=True)}
    except (TypeError, ValueError) as error:
        raise InputError(f"notes must be what JSON can hold: {error}") from error
    return write_atomically(path, lambda temporary: save_file(state, temporary, metadata))


def load(path: str | Path, trust: Iterable[str] = ()) -> nn.Module:
    """Loads a model that :func:`save` wrote; nothing in the file is executed.

    What the file says of sizes is held against how long it is before memory is taken for them.

    Args:
        path: The file.
        trust: Packages, beside edgewise, whose classes the recipe may name.

    Raises:
        InputError: If the file is missing, damaged, not one of Edgewise's, of a later version,
            names a class of a package that is not trusted, or asks for a model much larger than
            its weights.

    """
    header, state = _read(Path(path))
    # Files of version 0.1 have none.
    if header.get("checksum", _checksum(state)) != _checksum(state):
        raise InputError(f"{path} is damaged: its weights are not those that were saved")
    model = _build(path, header["recipe"], state, trust)
    try:
        # Assigned rather than copied, so that a model comes back in the precision it was saved in.
        model.load_state_dict(state, assign=True)
    except RuntimeError as error:
        raise InputError(f"{path} holds weights that do not fit its own recipe") from error
    return model


def check_module(model: nn.Module) -> nn.Module:
    """The model, if it is one; estimators of scikit-learn hold theirs."""
    if not isinstance(model, nn.Module):
        raise InputError(
            f"a model is a torch.nn.Module, got {type(model).__name__}: give the model_ of a "
            f"fitted estimator, or use save_pipeline"
        )
    return model


def _build(
    path: str | Path, recipe: dict[str, Any], state: dict[str, Tensor], trust: Iterable[str]
) -> nn.Module:
    """The model of a recipe, as long as it does not outgrow the weights beside it."""
    numbers = sum(tensor.numel() for tensor in state.values())
    bound = Bounded(max(AT_LEAST, 64 * numbers), str(path))
    bound.check_numbers(recipe)
    try:
        with bound:
            model = build(recipe, trust)
    except EdgewiseError:
        raise
    except Exception as error:
        # Whatever a class makes of arguments of another type than it takes.
        raise InputError(
            f"{path} has a recipe that makes no model: {type(error).__name__}: {error}"
        ) from error
    if not isinstance(model, nn.Module):
        raise InputError(f"{path} holds the recipe of a {type(model).__name__}, which is no model")
    return model


def _checksum(state: dict[str, Tensor]) -> str:
    """Of names, types, shapes and bytes: safetensors does not notice a bit that flipped."""
    digest = hashlib.blake2b(digest_size=16)
    for name, tensor in sorted(state.items()):
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
        digest.update(tensor.contiguous().flatten().view(torch.uint8).numpy())
    return digest.hexdigest()


def _header_checksum(header: dict[str, Any]) -> str:
    """Of recipe and notes, in which a flipped bit may be a digit."""
    said = json.dumps([header["recipe"], header["notes"]], sort_keys=True)
    return hashlib.blake2b(said.encode(), digest_size=16).hexdigest()


def read_notes(path: str | Path) -> dict[str, Any]:
    """The notes that were saved with a model.

    Raises:
        InputError: As :func:`load`.

    """
    return _read(Path(path), weights=False)[0]["notes"]


def _read(path: Path, weights: bool = True) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """The header of a file and its tensors."""
    if not path.is_file():
        raise InputError(f"there is no file {path}")
    try:
        with safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
            # Copies lie where vectors load best; a file's tensors lie anywhere.
            state = {key: file.get_tensor(key).clone() for key in file.keys() if weights}  # noqa: SIM118
    except (SafetensorError, OSError) as error:
        raise InputError(f"{path} is damaged or no safetensors file: {error}") from error
    return _header(path, metadata), state


def _header(path: Path, metadata: dict[str, str]) -> dict[str, Any]:
    try:
        header = parse_json(metadata["edgewise"])
        form = header["format"]
    except (KeyError, TypeError, ValueError) as error:
        raise InputError(f"{path} was not written by edgewise.save: it has no recipe") from error
    if form != FORMAT:
        raise InputError(
            f"{path} has the format {form!r}; this version reads {FORMAT!r}: update edgewise"
        )
    if not {"recipe", "notes"} <= set(header):
        raise InputError(f"{path} was not written by edgewise.save: it has no recipe")
    # Files of version 0.1 have none.
    if header.get("header_checksum", found := _header_checksum(header)) != found:
        raise InputError(f"{path} is damaged: its recipe or notes are not those that were saved")
    return header
