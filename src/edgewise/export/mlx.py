"""Models for MLX: a file with weights as MLX lays them out, and the way there and back."""

import copy
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from edgewise.core import InputError, build, parse_json, recipe_of, require, write_atomically
from edgewise.mlx.layout import entries, torch_state

if TYPE_CHECKING:
    import mlx.nn

FORMAT = "edgewise-mlx-1"


def mlx(model: nn.Module, path: str | Path) -> Path:
    """Saves a model for MLX: weights in float32 with axes as MLX wants them, and the recipe.

    The file is what ``mlx.core.load(path)`` and the ``load_weights(path)`` of `to_mlx` read. Its
    names are those of the torch model (members of an ``nn.Sequential`` are in ``layers``);
    coefficients are (I, K, O) for a dense layer and ``(O, *kernel, C, K)`` for a convolution, other
    kernels ``(O, *kernel, C)``. MLX itself is not needed to write it.

    Args:
        model: A model of Edgewise, or one whose class is decorated with ``core.remembers``.
        path: The file to write, usually ``…_mlx.safetensors``.

    Returns:
        The path.

    Raises:
        InputError: If the model does not remember how it was made, or modules share a parameter.

    Example:
        >>> import tempfile
        >>> path = Path(tempfile.mkdtemp()) / "model_mlx.safetensors"
        >>> model, x = ew.layers.KANLinear(3, 2), torch.rand(5, 3)
        >>> torch.equal(from_mlx(mlx(model, path))(x), model(x))
        True

    """
    header = {"format": FORMAT, "recipe": recipe_of(model)}
    arrays = {entry.array: _plain(entry.arranged()) for entry in entries(model)}
    metadata = {"edgewise": json.dumps(header, sort_keys=True), "format": "mlx"}
    return write_atomically(path, lambda temporary: save_file(arrays, temporary, metadata))


def from_mlx(path: str | Path, like: nn.Module | None = None) -> nn.Module:
    """The torch model whose weights are in a file of MLX's layout.

    Args:
        path: What `mlx` wrote, or the ``save_weights(path)`` of a twin that was trained in MLX.
        like: For the latter, which has no recipe: a model of the same make; it is copied.

    Raises:
        InputError: If the file is missing, damaged, without a recipe though ``like`` is not
            given, or holds other weights than the model has.

    Example:
        >>> model = ew.layers.KANLinear(3, 2)
        >>> from_mlx("nowhere.safetensors", like=model)
        Traceback (most recent call last):
        edgewise.core.errors.InputError: there is no file nowhere.safetensors

    """
    path = Path(path)
    metadata, arrays = _read(path)
    model = build(_header(path, metadata)["recipe"]) if like is None else copy.deepcopy(like)
    try:
        found = model.load_state_dict(torch_state(model, arrays), strict=False)
    except (InputError, RuntimeError) as error:
        raise InputError(f"{path} does not fit the model: {_reason(error)}") from error
    # BatchNorm's count of batches is torch's only.
    missing = [key for key in found.missing_keys if not key.endswith("num_batches_tracked")]
    for whose, names in (("file", missing), ("model", found.unexpected_keys)):
        if names:
            raise InputError(f"{path} does not fit the model: the {whose} lacks {names[0]!r}")
    return model


def to_mlx(model: nn.Module) -> "mlx.nn.Module":
    """The model's twin in MLX, in evaluation mode, with the same weights and shapes.

    Between modules, channels come first as in torch; MLX's own order is kept inside.

    Raises:
        InputError: If a module in it has no twin, or modules share a parameter.
        MissingExtraError: If MLX is not installed.

    """
    require("mlx.core", extra="mlx")
    # Not at the top: only here is MLX needed.
    from edgewise.mlx.networks import twin
    from edgewise.mlx.transfer import give

    network = twin(model)
    give(model, network)
    return network.eval()


def _plain(tensor: Tensor) -> Tensor:
    """A copy on the CPU, in memory of its own."""
    dtype = torch.float32 if tensor.is_floating_point() else tensor.dtype
    return tensor.to("cpu", dtype, copy=True).contiguous()


def _reason(error: Exception) -> str:
    """The last line, where torch names the first tensor of another shape."""
    return str(error).strip().splitlines()[-1].strip().rstrip(".")


def _read(path: Path) -> tuple[dict[str, str], dict[str, Tensor]]:
    """The metadata and the arrays."""
    if not path.is_file():
        raise InputError(f"there is no file {path}")
    try:
        with safe_open(path, framework="pt") as file:
            arrays = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118
            return file.metadata() or {}, arrays
    except (SafetensorError, OSError) as error:
        raise InputError(f"{path} is damaged or no safetensors file: {error}") from error


def _header(path: Path, metadata: dict[str, str]) -> dict[str, Any]:
    """What `mlx` wrote beside the arrays."""
    try:
        header = parse_json(metadata["edgewise"])
        fits = header["format"] == FORMAT and "recipe" in header
    except (KeyError, TypeError, ValueError):
        fits = False
    if not fits:
        raise InputError(
            f"{path} was not written by edgewise.export.mlx: give a model of the same make, "
            f"from_mlx(path, like=model)"
        )
    return header
