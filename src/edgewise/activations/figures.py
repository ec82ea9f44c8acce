"""Learned functions as figures: before and after training, with the data's density under them."""

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure, SubFigure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.ticker import MaxNLocator
from torch import Tensor, nn

from edgewise.activations.learned import LayerFunctions, has_functions, learned_functions
from edgewise.core import InputError
from edgewise.drawing import COLOURS, clean

PANELS = 6
"""Functions of a layer that are drawn."""
MAX_LAYERS = 8

_SUMMED = ("edge", "tap")
_AFTER, _BEFORE, _DENSITY = COLOURS[4], COLOURS[5], "#cccccc"


def draw_functions(
    model: nn.Module, x: Tensor | tuple[Tensor, ...], before: nn.Module | None = None
) -> Figure:
    """The functions of each layer that matter most on some data.

    A row a layer, the functions with the largest spread first. Spread is the standard deviation of
    a function's values over the data; how the inputs of each function are distributed stands in
    grey under it. The panels of a row share their scale. Functions that are summed are drawn
    without their means over the data: which of them has the sum's constant can't be told.

    Args:
        model: A model with layers such as `KANLinear`, `KANConv2d`, `KernelActivation`, `KAF` or
            `GroupRational`, or one's own with ``in_features``, ``out_features`` and ``curves(x)``.
        x: The model's input, or the tuple of its inputs.
        before: The model as it was before training, to be drawn with dashes.

    Raises:
        InputError: If the model has no such layer or none is reached, or ``before`` is another
            kind of model.

    Example:
        >>> model, x = ew.models.KAN([3, 4, 1]), torch.rand(200, 3)
        >>> figure = draw_functions(model, x)
        >>> [part.get_suptitle().splitlines()[0] for part in figure.subfigs]
        ['layers.0: KANLinear, 3 → 4', 'layers.1: KANLinear, 4 → 1']

    """
    if not has_functions(model):
        raise InputError(
            f"{type(model).__name__} has no layer of learned functions, such as KANLinear: there "
            f"is nothing to draw"
        )
    functions = learned_functions(model, [x if isinstance(x, tuple) else (x,)], before, PANELS)
    if not functions:
        raise InputError(
            f"{type(model).__name__} gave none of its layers of learned functions a number when "
            f"it was called on x: there is nothing to draw"
        )
    return function_figure(functions, f"Learned functions of {type(model).__name__}")


def function_figure(functions: Sequence[LayerFunctions], title: str) -> Figure:
    """The figure of functions that were collected before; see :func:`draw_functions`.

    Args:
        functions: At least one layer's.
        title: What stands above them all.

    """
    shown = functions[:MAX_LAYERS]
    if len(functions) > len(shown):
        title += f" (the first {MAX_LAYERS} of {len(functions)} layers)"
    figure = Figure(figsize=(10, 0.75 + 2.15 * len(shown)), layout="constrained")
    figure.suptitle(title, fontsize=11)
    parts = np.atleast_1d(figure.subfigures(len(shown), 1))
    for part, layer in zip(parts, shown, strict=True):
        _row(part, layer)
    _legend(figure, any(layer.before is not None for layer in shown))
    return figure


def _row(part: SubFigure, layer: LayerFunctions) -> None:
    """One layer: the functions that matter most, on one scale."""
    count = min(PANELS, len(layer.labels))
    part.suptitle(_headline(layer, count), fontsize=9)
    # As many columns as in every other row, so that panels are of one size.
    panels = part.subplots(1, PANELS, squeeze=False)[0]
    low, high = _heights(layer, count)
    for place, axes in enumerate(panels):
        if place >= count:
            axes.set_axis_off()
            continue
        _panel(axes, layer, place, low, high)
        if place:
            axes.set_yticklabels([])
    centred = layer.what in _SUMMED
    panels[0].set_ylabel("value − mean" if centred else "value", fontsize=8)
    part.supxlabel("input", fontsize=8)


def _headline(layer: LayerFunctions, count: int) -> str:
    """What the row shows of the layer, and which part matters.

    Two lines, the first with the layer's name and size.
    """
    first = f"{layer.name}: {layer.about}"
    if not layer.variance:
        return f"{first}\nnone of its {layer.count:,} functions varies on the data"
    if count == layer.count:
        told = f"all that it has; half of the variance is in {layer.half} of {count}"
    else:
        told = (
            f"the {count} of {layer.count:,} {layer.what}s with the largest spread: "
            f"{100 * layer.share(count):.3g} % of the variance; half of it is in {layer.half:,}"
        )
    return f"{first}\n{told}"


def _drawn(layer: LayerFunctions, values: np.ndarray) -> np.ndarray:
    """The values as they are drawn: of edges without their means over the data.

    An output is a sum over edges; which of them has its constant can't be told, and says nothing.
    """
    if layer.what not in _SUMMED:
        return values
    parts = np.arange(values.shape[1]) * layer.density.shape[1] // values.shape[1]
    weight = layer.density[:, parts] / layer.density[:, parts].sum(1, keepdims=True)
    return values - (weight * values).sum(1, keepdims=True)


def _heights(layer: LayerFunctions, count: int) -> tuple[float, float]:
    known = [v for v in (layer.after, layer.before) if v is not None]
    values = np.stack([_drawn(layer, v)[:count] for v in known])
    low, high = float(values.min()), float(values.max())
    if not high > low:
        low, high = low - 0.5, high + 0.5
    return low, high


def _panel(axes: Axes, layer: LayerFunctions, place: int, low: float, high: float) -> None:
    x, density = layer.x[place], layer.density[place]
    # A third of the panel's height, standing on its floor; its own scale says nothing here.
    floor = low - 0.4 * (high - low)
    # Of an image most pixels are background: by their roots the others can be seen, too.
    share = np.sqrt(density / max(1, density.max()))
    edges = np.linspace(x[0], x[-1], len(density) + 1)
    axes.stairs(floor + 0.33 * (high - low) * share, edges, baseline=floor, fill=True, fc=_DENSITY)
    if layer.before is not None:
        before = _drawn(layer, layer.before)[place]
        axes.plot(x, before, color=_BEFORE, linestyle=(0, (4, 2)), linewidth=1.3)
    axes.plot(x, _drawn(layer, layer.after)[place], color=_AFTER, linewidth=1.5)
    axes.set_title(f"{layer.labels[place]}\nspread {layer.spread[place]:.2g}", fontsize=8)
    axes.set_ylim(floor, high + 0.06 * (high - low))
    axes.set_xlim(x[0], x[-1])
    clean(axes)
    axes.tick_params(labelsize=7)
    axes.xaxis.get_major_locator().set_params(nbins=3)
    # Below the curves the scale is the density's, which needs no numbers.
    ticks = MaxNLocator(4).tick_values(low, high)
    axes.set_yticks([tick for tick in ticks if low <= tick <= high])


def _legend(figure: Figure, with_before: bool) -> None:
    handles = [Line2D([], [], color=_AFTER, linewidth=1.5, label="after training")]
    if with_before:
        dashed = {"color": _BEFORE, "linestyle": (0, (4, 2)), "linewidth": 1.3}
        handles.append(Line2D([], [], **dashed, label="before training"))
    else:
        handles[0].set_label("the function")
    handles.append(
        Patch(facecolor=_DENSITY, label="its inputs: how many lie where (root scale), middle 99 %")
    )
    figure.legend(handles=handles, loc="outside lower center", ncols=3, fontsize=8, frameon=False)
