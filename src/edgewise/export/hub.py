"""Models in folders and on the Hugging Face hub: weights, recipe, and a card beside them."""

import re
import tempfile
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from torch import nn

from edgewise.core import InputError, RunError, require, write_atomically
from edgewise.export.bundle import load, save
from edgewise.export.card import model_card

FILE = "model.safetensors"
_NAME = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*")


def save_pretrained(
    model: nn.Module,
    folder: str | Path,
    notes: Mapping[str, Any] | None = None,
    *,
    name: str | None = None,
    metrics: Mapping[str, float] | None = None,
    dataset: str | None = None,
    licence: str | None = None,
) -> Path:
    """Writes a folder as the hub wants it: ``model.safetensors`` and ``README.md``, the card.

    Args:
        model: A model that can be saved.
        folder: Where; made if it is not there.
        notes: What JSON can hold; kept with the weights and printed in the card.
        name: What the card calls it; None is the folder's name.
        metrics: Name to value, for the card.
        dataset: What it was trained on, for the card.
        licence: As the hub calls it, such as ``"apache-2.0"``.

    Returns:
        The folder.

    Raises:
        InputError: If the model does not remember how it was made, JSON can't hold the notes, or
            a metric is no finite number.

    Example:
        >>> import tempfile
        >>> model, x = ew.models.KAN([2, 3, 1]), torch.rand(5, 2)
        >>> folder = save_pretrained(model, tempfile.mkdtemp(), metrics={"rmse": 0.1})
        >>> torch.equal(from_pretrained(folder)(x), model(x))
        True

    """
    folder = Path(folder)
    said = {"metrics": metrics, "dataset": dataset, "licence": licence}
    card = model_card(model, name or folder.resolve().name, notes, **said)
    save(model, folder / FILE, None if notes is None else dict(notes))
    write_atomically(folder / "README.md", card)
    return folder


def push_to_hub(
    model: nn.Module,
    name: str,
    notes: Mapping[str, Any] | None = None,
    *,
    metrics: Mapping[str, float] | None = None,
    dataset: str | None = None,
    licence: str | None = None,
    private: bool = False,
    message: str = "Add a model",
) -> str:
    """Puts a model and its card on the Hugging Face hub; needs the extra ``hub`` and a login.

    Args:
        model: A model that can be saved.
        name: ``"user/name"``; made if it is not there.
        notes: As for `save_pretrained`; so are ``metrics``, ``dataset`` and ``licence``.
        metrics: Name to value, for the card.
        dataset: What it was trained on, for the card.
        licence: As the hub calls it.
        private: Whether only you may see it, where it is new.
        message: Of the commit.

    Returns:
        The commit's address.

    Raises:
        InputError: If the name is not ``user/name``, or as for `save_pretrained`.
        RunError: If the hub refuses or can't be reached.
        MissingExtraError: If huggingface_hub is absent.

    """
    if not _NAME.fullmatch(name):
        raise InputError(f"a model on the hub is called 'user/name', got {name!r}")
    hub = require("huggingface_hub", extra="hub")
    with tempfile.TemporaryDirectory() as folder:
        said = {"metrics": metrics, "dataset": dataset, "licence": licence}
        save_pretrained(model, folder, notes, name=name, **said)
        try:
            api = hub.HfApi()
            api.create_repo(name, private=private, exist_ok=True)
            commit = api.upload_folder(repo_id=name, folder_path=folder, commit_message=message)
        except (hub.errors.HfHubHTTPError, OSError, ValueError) as error:
            raise RunError(f"the hub did not take {name!r}: {_line(error)}") from error
    return str(commit.commit_url)


def from_pretrained(
    source: str | Path, *, revision: str | None = None, trust: Iterable[str] = ()
) -> nn.Module:
    """Loads a model from a folder, or from the hub; nothing that lies there is executed.

    Only ``model.safetensors`` is read, as by `edgewise.load`: weights, and a recipe that names
    classes of Edgewise or of packages that you trust.

    Args:
        source: A folder that `save_pretrained` wrote, or ``"user/name"`` where there is no such
            folder, which needs the extra ``hub``.
        revision: Of a model on the hub: a branch, a tag or a commit, which can't change later.
        trust: Packages, beside edgewise, whose classes the recipe may name.

    Raises:
        InputError: If there is no such folder or model, or as for `edgewise.load`.
        RunError: If the hub can't be reached.
        MissingExtraError: If huggingface_hub is absent.

    """
    folder = Path(source)
    if folder.is_dir():
        if revision is not None:
            raise InputError(f"revision is for models on the hub; {folder} is a folder")
        return load(folder / FILE, trust)
    if not _NAME.fullmatch(str(source)):
        raise InputError(f"there is no folder {source}, and a model on the hub is 'user/name'")
    return load(_download(str(source), revision), trust)


def _download(name: str, revision: str | None) -> Path:
    hub = require("huggingface_hub", extra="hub")
    errors = hub.errors
    try:
        return Path(hub.hf_hub_download(name, FILE, revision=revision))
    except (errors.RepositoryNotFoundError, errors.RevisionNotFoundError) as error:
        at = "" if revision is None else f" at {revision!r}"
        raise InputError(f"the hub has no model {name!r}{at}, or you may not see it") from error
    except errors.LocalEntryNotFoundError as error:
        raise RunError(f"{name!r} can't be fetched from the hub: {_line(error)}") from error
    except errors.EntryNotFoundError as error:
        raise InputError(
            f"{name!r} on the hub has no {FILE}: it is no model of Edgewise"
        ) from error
    except (errors.HfHubHTTPError, OSError, ValueError) as error:
        raise RunError(f"{name!r} can't be fetched from the hub: {_line(error)}") from error


def _line(error: Exception) -> str:
    return " ".join(str(error).split()) or type(error).__name__
