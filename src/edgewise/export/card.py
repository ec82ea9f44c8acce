"""Model cards: what a model is, in Markdown that people and the Hugging Face hub read."""

import importlib.metadata
import json
import math
from collections.abc import Mapping
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from torch import nn

from edgewise.core import InputError, recipe_of
from edgewise.export.bundle import check_module
from edgewise.export.example import inputs_for
from edgewise.models import count_parameters

_LONGEST = 200


def model_card(
    model: nn.Module,
    name: str,
    notes: Mapping[str, Any] | None = None,
    *,
    metrics: Mapping[str, float] | None = None,
    dataset: str | None = None,
    licence: str | None = None,
) -> str:
    """The card of a model: what it is made of, its size, data, metrics, licence, how to load it.

    Args:
        model: A model that can be saved.
        name: Where it can be loaded from: ``"user/name"`` or a folder's name.
        notes: What was saved with it; printed as they are.
        metrics: Name to value, such as ``{"accuracy": 0.97}``; None takes what the notes hold as
            ``metrics`` or ``test``, as those of ``edgewise train`` do.
        dataset: What it was trained on, as the hub calls it where it knows it; None takes what the
            notes hold as ``dataset``.
        licence: As the hub calls it, such as ``"apache-2.0"``; None says that none was named.

    Raises:
        InputError: If the model does not remember how it was made, or a metric is no number.

    Example:
        >>> card = model_card(ew.models.KAN([2, 3, 1]), "me/tiny", metrics={"rmse": 0.5})
        >>> "A KAN with 85 parameters" in card, "| rmse | 0.5 |" in card
        (True, True)

    """
    recipe, told = recipe_of(check_module(model)), _told(notes or {})
    metrics = told["metrics"] if metrics is None else metrics
    package = recipe["class"].partition(":")[0].partition(".")[0]
    template = _environment().get_template("model_card.md.j2")
    return template.render(
        name=name,
        source=name,
        kind=type(model).__name__,
        parameters=count_parameters(model),
        version=importlib.metadata.version("edgewise"),
        recipe=recipe,
        foreign=None if package == "edgewise" else package,
        inputs=_shapes(model),
        task=_task(model),
        dataset=told["dataset"] if dataset is None else dataset,
        licence=licence,
        metrics={key: _number(key, value) for key, value in metrics.items()},
        notes=json.dumps(dict(notes), indent=2, ensure_ascii=False) if notes else "",
    )


def _told(notes: Mapping[str, Any]) -> dict[str, Any]:
    """Metrics and data set that notes speak of, on their own or within the notes of a job."""
    found: dict[str, Any] = {"metrics": {}, "dataset": None}
    for part in (notes, *(own for own in notes.values() if isinstance(own, dict))):
        scores = part.get("metrics", part.get("test"))
        if isinstance(scores, dict) and all(_is_number(value) for value in scores.values()):
            found["metrics"] = found["metrics"] or scores
        if isinstance(part.get("dataset"), str):
            found["dataset"] = found["dataset"] or part["dataset"]
    return found


def _environment() -> Environment:
    environment = Environment(
        loader=PackageLoader("edgewise.export"),
        undefined=StrictUndefined,
        keep_trailing_newline=True,
        autoescape=False,  # Markdown, not HTML
    )
    # Not jinja's own, which writes < as an escape for HTML.
    environment.filters["tojson"] = lambda value: json.dumps(value, ensure_ascii=False)
    environment.filters["cell"] = _cell
    return environment


def _cell(value: Any) -> str:
    """A value of a recipe in one cell of a table."""
    text = json.dumps(value, ensure_ascii=False)
    text = text if len(text) <= _LONGEST else f"{text[:_LONGEST]} …"
    return f"`{text}`".replace("|", "\\|")


def _shapes(model: nn.Module) -> dict[str, str]:
    """The inputs by name, each with its shape, where the class is known."""
    try:
        inputs = inputs_for(model)
    except InputError:
        return {}
    found = {}
    for name, tensor, axes in zip(inputs.names, inputs.tensors, inputs.axes, strict=True):
        sides = [axes.get(axis, str(side)) for axis, side in enumerate(tensor.shape)]
        found[name] = f"{str(tensor.dtype).removeprefix('torch.')}, ({', '.join(sides)})"
    return found


def _task(model: nn.Module) -> str:
    """The hub's word for what a model does."""
    words = {"ConvKAN": "image", "CNN": "image", "TextClassifier": "text"}
    kind = words.get(type(model).__name__, "tabular")
    return f"{kind}-classification" if kind != "tabular" else "other"


def _number(name: str, value: Any) -> float:
    if not _is_number(value):
        raise InputError(f"the metric {name!r} must be a finite number, got {value!r}")
    return value


def _is_number(value: Any) -> bool:
    number = isinstance(value, (int, float)) and not isinstance(value, bool)
    return number and math.isfinite(value)
