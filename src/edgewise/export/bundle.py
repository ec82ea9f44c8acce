"""One file that holds a model: weights as safetensors, and the recipe to make it again as JSON."""

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import nn

from edgewise.core import InputError, build, recipe_of, write_atomically

FORMAT = "edgewise-1"


def save(model: nn.Module, path: str | Path, notes: dict[str, Any] | None = None) -> Path:
    """Saves a model: its weights, and how to make it again.

    Args:
        model: A model of Edgewise, or one whose class is decorated with ``core.remembers``.
        path: The file to write, usually ``….safetensors``.
        notes: What JSON can hold; kept beside the recipe.

    Returns:
        The path.

    Raises:
        InputError: If the model does not remember how it was made.

    Example:
        >>> import tempfile
        >>> path = Path(tempfile.mkdtemp()) / "model.safetensors"
        >>> model = ew.models.SequenceClassifier("lete", num_classes=2).eval()
        >>> again = load(save(model, path)).eval()
        >>> times, lengths = torch.rand(3, 4), torch.tensor([4, 3, 1])
        >>> bool((model(times, lengths) == again(times, lengths)).all())
        True

    """
    header = {"format": FORMAT, "recipe": recipe_of(model), "notes": notes or {}}
    metadata = {"edgewise": json.dumps(header, sort_keys=True)}
    state = {k: v.detach().cpu().contiguous() for k, v in model.state_dict().items()}
    return write_atomically(path, lambda temporary: save_file(state, temporary, metadata))


def load(path: str | Path, trust: Iterable[str] = ()) -> nn.Module:
    """Loads a model that :func:`save` wrote; nothing in the file is executed.

    Args:
        path: The file.
        trust: Packages, beside edgewise, whose classes the recipe may name.

    Raises:
        InputError: If the file is missing, damaged, not one of Edgewise's, or names a class of a
            package that is not trusted.

    """
    path = Path(path)
    if not path.is_file():
        raise InputError(f"there is no file {path}")
    try:
        with safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
            state = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118
    except (SafetensorError, OSError) as error:
        raise InputError(f"{path} is damaged or no safetensors file: {error}") from error
    header = _header(path, metadata)
    model = build(header["recipe"], trust)
    try:
        model.load_state_dict(state)
    except RuntimeError as error:
        raise InputError(f"{path} holds weights that do not fit its own recipe") from error
    return model


def read_notes(path: str | Path) -> dict[str, Any]:
    """The notes that were saved with a model."""
    with safe_open(path, framework="pt") as file:
        return _header(Path(path), file.metadata() or {})["notes"]


def _header(path: Path, metadata: dict[str, str]) -> dict[str, Any]:
    try:
        header = json.loads(metadata["edgewise"])
        known = header["format"] == FORMAT
    except (KeyError, TypeError, json.JSONDecodeError) as error:
        raise InputError(f"{path} was not written by edgewise.save: it has no recipe") from error
    if not known:
        raise InputError(
            f"{path} has the format {header['format']!r}; this version reads {FORMAT!r}: "
            f"update edgewise"
        )
    return header
