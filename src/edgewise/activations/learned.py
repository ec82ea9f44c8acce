"""What a network's learned functions look like where its data lie, before training and after."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Num
from torch import Tensor, nn

from edgewise.activations.layers import AbstractFunctionLayer, function_layer
from edgewise.core import InputError

MOST = 12
"""Functions of a layer that are kept: those that vary most."""
POINTS = 100
BINS = 40
ENOUGH = 1 << 21
"""Numbers a layer was given that are looked at: 8 MiB in float32."""
MIDDLE = 0.99
"""The share of a function's inputs that a curve is drawn over: the middle one."""

_WORDS = ("name", "about", "what")
_NUMBERS = ("count", "half", "variance")
_ARRAYS = ("labels", "spread", "x", "after", "density")


@dataclass(frozen=True, eq=False)
class LayerFunctions:
    """The k functions of a layer that matter most on some data, and where the data lie.

    A function matters by its spread, the standard deviation of its values over the data: one that
    is constant there tells the next layer nothing.

    Attributes:
        name: The layer's name in its model.
        about: Its kind and size.
        what: What a function belongs to: edge, tap, neuron or group.
        count: How many functions the layer has.
        half: How few of them have half of all the variance.
        variance: The sum of all functions' variances.
        labels: What each of the k functions is called, counted from 0.
        spread: Their standard deviations over the data, falling.
        x: Where they are asked: over the middle 99 % of their inputs.
        after: Their values.
        density: How many inputs lie in each of b equal parts of that range.
        before: Their values before training; None where that is not known.

    """

    name: str
    about: str
    what: str
    count: int
    half: int
    variance: float
    labels: tuple[str, ...]
    spread: Float[np.ndarray, " k"]
    x: Float[np.ndarray, "k p"]
    after: Float[np.ndarray, "k p"]
    density: Num[np.ndarray, "k b"]
    before: Float[np.ndarray, "k p"] | None = None

    def share(self, first: int) -> float:
        """The part of all the variance that the first functions have."""
        return float((self.spread[:first].astype(float) ** 2).sum()) / (self.variance or 1.0)


def has_functions(model: nn.Module) -> bool:
    """Whether the model has a layer of learned functions.

    Example:
        >>> has_functions(ew.models.KAN([2, 1])), has_functions(ew.models.MLP([2, 1]))
        (True, False)

    """
    return any(function_layer(module) is not None for module in model.modules())


def learned_functions(
    model: nn.Module,
    calls: Iterable[tuple[Tensor, ...]],
    before: nn.Module | None = None,
    most: int = MOST,
) -> tuple[LayerFunctions, ...]:
    r"""The functions of each layer that matter most on data.

    The model is called in evaluation mode, to learn what reaches each layer; afterwards its modes
    are as they were. The functions before training are asked at the numbers that reach the trained
    ones. A layer that nothing reached is left out.

    Args:
        model: The model.
        calls: The inputs of each call of the model.
        before: The model as it was before training.
        most: How many functions of each layer.

    Raises:
        InputError: If ``before`` is another kind of model, or ``most`` is below 1.

    Example:
        >>> model = ew.models.KAN([3, 4, 1])
        >>> first, second = learned_functions(model, [(torch.rand(50, 3),)], most=5)
        >>> first.name, first.count, first.after.shape, first.density.sum(1).max()
        ('layers.0', 12, (5, 100), np.int64(50))

    """
    if most < 1:
        raise InputError(f"most must be at least 1, got {most}")
    found = {name: function_layer(module) for name, module in model.named_modules()}
    layers = {name: view for name, view in found.items() if view is not None}
    earlier = {} if before is None else dict(before.named_modules())
    modes = [(m, m.training) for net in (model, before) if net for m in net.modules()]
    try:
        for net in filter(None, (model, before)):
            net.eval()
        with torch.no_grad():
            given = _given(model, layers, calls)
            return tuple(
                _looked_at(name, layers[name], pieces, _same(name, layers[name], earlier), most)
                for name, pieces in given.items()
            )
    finally:
        for module, training in modes:
            # Not train(): that would set the children too.
            module.training = training


def pack(functions: Sequence[LayerFunctions]) -> dict[str, np.ndarray]:
    """All of it as arrays by name, for an npz file."""
    arrays = {name: np.array([getattr(f, name) for f in functions]) for name in _WORDS + _NUMBERS}
    for place, one in enumerate(functions):
        for name in (*_ARRAYS, "before"):
            if getattr(one, name) is not None:
                arrays[f"{place}:{name}"] = np.asarray(getattr(one, name))
    return arrays


def unpack(arrays: Mapping[str, np.ndarray]) -> tuple[LayerFunctions, ...]:
    """Back from :func:`pack`.

    Raises:
        KeyError: If an array is missing.

    Example:
        >>> kept = learned_functions(ew.models.KAN([2, 1]), [(torch.rand(9, 2),)])
        >>> unpack(pack(kept))[0].labels == kept[0].labels
        True

    """
    found = []
    for place in range(len(arrays["name"])):
        words: dict[str, Any] = {name: str(arrays[name][place]) for name in _WORDS}
        numbers = {name: arrays[name][place].item() for name in _NUMBERS}
        own = {name: arrays[f"{place}:{name}"] for name in _ARRAYS}
        own["labels"] = tuple(map(str, own["labels"]))
        found.append(
            LayerFunctions(**words, **numbers, **own, before=arrays.get(f"{place}:before"))
        )
    return tuple(found)


def _given(
    model: nn.Module,
    layers: Mapping[str, AbstractFunctionLayer],
    calls: Iterable[tuple[Tensor, ...]],
) -> dict[str, list[Tensor]]:
    """What each layer is given, up to `ENOUGH` numbers and one call more; without layers unreached.

    In the order of the layers in the model.
    """
    caught: dict[str, list[Tensor]] = {name: [] for name in layers}

    def catcher(name: str) -> Any:
        def catch(_: nn.Module, args: tuple, kwargs: dict) -> None:
            x = args[0] if args else next(iter(kwargs.values()))
            if x.numel() and sum(piece.numel() for piece in caught[name]) < ENOUGH:
                caught[name].append(x.detach())

        return catch

    hooks = [
        view.layer.register_forward_pre_hook(catcher(name), with_kwargs=True)
        for name, view in layers.items()
    ]
    try:
        # A compiled module does not look for hooks that came after it.
        with torch.compiler.set_stance("force_eager"):
            for inputs in calls:
                model(*inputs)
    finally:
        for hook in hooks:
            hook.remove()
    return {name: pieces for name, pieces in caught.items() if pieces}


def _same(
    name: str, view: AbstractFunctionLayer, earlier: Mapping[str, nn.Module]
) -> AbstractFunctionLayer | None:
    """The layer as it was before training."""
    if not earlier:
        return None
    then = function_layer(earlier[name]) if name in earlier else None
    if then is None or then.about() != view.about():
        kept = "no such layer" if then is None else then.about()
        raise InputError(
            f"the model before training must be like the one after it: its {name!r} is {kept}, "
            f"here it is {view.about()}"
        )
    return then


def _looked_at(
    name: str,
    view: AbstractFunctionLayer,
    pieces: list[Tensor],
    then: AbstractFunctionLayer | None,
    most: int,
) -> LayerFunctions:
    spreads = view.spreads(pieces).double().cpu()
    order = spreads.flatten().argsort(descending=True, stable=True)
    kept = [
        tuple(map(int, np.unravel_index(i, tuple(spreads.shape)))) for i in order[:most].tolist()
    ]
    rows = view.rows(pieces)
    at, density = zip(*(_range(rows[:, view.columns(index)]) for index in kept), strict=True)
    x = torch.stack(at).to(rows.device)
    variance = spreads.flatten()[order].square()
    return LayerFunctions(
        name=name or "model",
        about=view.about(),
        what=view.what,
        count=spreads.numel(),
        half=_half(variance),
        variance=float(variance.sum()),
        labels=tuple(map(view.label, kept)),
        spread=variance[:most].sqrt().numpy(),
        x=_plain(x),
        after=_plain(view.values(kept, x, rows)),
        density=np.stack(density),
        before=None if then is None else _plain(then.values(kept, x, rows)),
    )


def _range(values: Tensor) -> tuple[Tensor, np.ndarray]:
    """Points over the middle of some numbers, and how many of them lie where."""
    numbers = values.double().cpu().numpy().ravel()
    tail = (1 - MIDDLE) / 2
    low, high = np.quantile(numbers, [tail, 1 - tail], method="nearest")
    if not high > low:
        low, high = low - 0.5, high + 0.5
    density = np.histogram(numbers, bins=BINS, range=(low, high))[0]
    return torch.linspace(float(low), float(high), POINTS, dtype=torch.float64), density


def _half(variance: Tensor) -> int:
    """How many of the falling variances make half of their sum."""
    return min(len(variance), int((variance.cumsum(0) < variance.sum() / 2).sum()) + 1)


def _plain(values: Tensor) -> np.ndarray:
    return values.float().cpu().numpy()
