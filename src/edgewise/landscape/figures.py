"""Figures of what was found: each as PNG, PDF and a page to hover over."""

from collections.abc import Mapping, Sequence
from pathlib import Path as File
from textwrap import wrap
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from edgewise import drawing
from edgewise.core import InputError, write_atomically
from edgewise.curvature import Density
from edgewise.landscape.bins import density_bins
from edgewise.landscape.page import heat_page, line_page
from edgewise.landscape.path import Path
from edgewise.landscape.slices import Slice

# Blue before black: most figures here have one line only.
COLOURS = tuple(drawing.COLOURS[place] for place in (4, 5, 3, 6, 2, 1, 0))


def draw_path(path: Path, title: str = "Loss along a line between two states") -> Figure:
    """Loss, curvature along the line and, if asked for, the smallest eigenvalue over α."""
    panels = 2 + (path.leasts is not None)
    figure = Figure(figsize=(7.5, 2.5 * panels), layout="constrained")
    axes = figure.subplots(panels, sharex=True, squeeze=False)[:, 0]
    for i, (name, low, middle, high) in enumerate(_bands(path.losses)):
        axes[0].plot(path.alphas, middle, color=COLOURS[i % len(COLOURS)], label=name)
        axes[0].fill_between(
            path.alphas, low, high, color=COLOURS[i % len(COLOURS)], alpha=0.2, lw=0
        )
    _scale(axes[0], [v for f in path.losses.values() for v in f])
    axes[0].set(ylabel="loss", title=title)
    axes[0].legend(frameon=False, fontsize=8)
    _signed(axes[1], path.alphas, path.bends, "curvature along the line\nφ''(α) = dᵀ H d")
    if path.leasts is not None:
        values = [x.value for x in path.leasts]
        _signed(axes[2], path.alphas, values, "smallest eigenvalue\nof the Hessian")
    for ax in axes:
        for end in (0, 1):
            ax.axvline(end, color="#888888", lw=0.8, ls=":")
    axes[-1].set_xlabel("α   (0: first state, 1: second state)\n" + _wrap(path.certificate.verdict))
    return figure


def draw_spectrum(density: Density, title: str = "Eigenvalues of the Hessian") -> Figure:
    """How many eigenvalues lie where, with a band of two standard errors over the probes."""
    figure = Figure(figsize=(7.5, 3.4), layout="constrained")
    ax = figure.subplots()
    bins = density_bins(density)
    ax.stairs(bins.mean, bins.edges, color=COLOURS[0], lw=1.2)
    spread = {"color": COLOURS[0], "alpha": 0.25, "lw": 0}
    low, high = bins.mean - 2 * bins.error, bins.mean + 2 * bins.error
    ax.stairs(high, bins.edges, baseline=np.maximum(low, 0), fill=True, **spread)
    ax.set_xscale("symlog", linthresh=bins.scale)
    ax.set(yscale="log", ylim=(0.3, 2 * float(high.max())), title=title)
    ax.set_ylabel("eigenvalues in a bin")
    for value in density.outliers[:50].tolist():
        ax.axvline(value, ymax=0.05, color=COLOURS[1], lw=1)
    band = "; band: ± 2 standard errors over the probes" if len(density.nodes) else ""
    ax.set_xlabel(
        f"λ (linear within ±{bins.scale:.1g}; ticks: known one by one)\n{_made_of(density)}{band}"
    )
    return figure


def draw_slice(plane: Slice, title: str = "Loss on a plane through the model") -> Figure:
    """Contours of the loss over both directions; the model is the cross in the middle."""
    figure = Figure(figsize=(5.6, 4.8), layout="constrained")
    ax = figure.subplots()
    values = plane.loss.numpy().T
    shown = np.log10(np.maximum(values, 1e-300)) if _is_wide(values) else values
    filled = ax.contourf(plane.a, plane.b, shown, levels=24, cmap="cividis")
    label = "log₁₀ loss" if _is_wide(values) else "loss"
    figure.colorbar(filled, ax=ax, label=label)
    ax.plot(0, 0, "+", color="white", markersize=10, markeredgewidth=2)
    ax.locator_params(nbins=5)
    ax.set(xlabel=f"along d₁ (scaled: {plane.normalize})", ylabel="along d₂", title=title)
    return figure


def draw_watch(
    rows: Sequence[Mapping[str, Any]],
    learning_rate: float | None = None,
    title: str = "Sharpness during training",
) -> Figure:
    """The largest eigenvalue by epoch; with a learning rate η, the edge of stability 2 / η."""
    figure = Figure(figsize=(7.5, 3), layout="constrained")
    ax = figure.subplots()
    epochs, values = ([row[key] for row in rows] for key in ("epoch", "sharpness"))
    ax.plot(epochs, values, color=COLOURS[0], marker="o", markersize=3, label="λ₁ of the Hessian")
    if learning_rate is not None:
        label = f"2 / η, η = {learning_rate:g}"
        ax.axhline(2 / learning_rate, color=COLOURS[1], ls="--", label=label)
    ax.set(xlabel="epoch", ylabel="largest eigenvalue", title=title)
    ax.legend(frameon=False, fontsize=8)
    return figure


def save(
    result: Path | Density | Slice | Sequence[Mapping[str, Any]],
    stem: str | File,
    title: str | None = None,
) -> list[File]:
    """Writes ``stem.png``, ``stem.pdf`` and ``stem.html``, a page that needs no network.

    Args:
        result: A path, a density, a slice or a watch's rows.
        stem: The files' name without its ending; folders are made.
        title: Above the figure; None is a plain description.

    Raises:
        InputError: If the result is none of these.

    Returns:
        The three paths.

    """
    stem = File(stem)
    draw, page = _drawers(result)
    figure = draw(result, title=title) if title else draw(result)
    title = title or figure.axes[0].get_title()
    paths = []
    for kind in ("png", "pdf"):
        # No date: the same result is the same file.
        metadata = {"Software": None} if kind == "png" else {"CreationDate": None}
        options = {"format": kind, "dpi": 150, "metadata": metadata}
        path = stem.with_name(f"{stem.name}.{kind}")
        paths.append(write_atomically(path, lambda p, o=options: figure.savefig(p, **o)))
    return [*paths, write_atomically(stem.with_name(f"{stem.name}.html"), page(result, title))]


def _drawers(result: Any) -> tuple[Any, Any]:
    if isinstance(result, Path):
        return draw_path, _path_page
    if isinstance(result, Density):
        return draw_spectrum, _spectrum_page
    if isinstance(result, Slice):
        return draw_slice, lambda plane, title: heat_page(
            title, plane.a.tolist(), plane.b.tolist(), plane.loss.tolist()
        )
    if isinstance(result, (list, tuple)) and result and isinstance(result[0], Mapping):
        return draw_watch, _watch_page
    raise InputError(f"there is no figure of {type(result).__name__}")


def _path_page(path: Path, title: str) -> str:
    lines = [
        {"name": name, "y": m, "low": low, "high": high}
        for name, low, m, high in _bands(path.losses)
    ]
    panels = [("loss", lines), ("φ''(α)", [{"name": "dᵀ H d", "y": list(path.bends)}])]
    if path.leasts is not None:
        least = [{"name": "smallest eigenvalue", "y": [x.value for x in path.leasts]}]
        panels.append(("λ min", least))
    return line_page(title, "α", list(path.alphas), panels, path.certificate.verdict)


def _spectrum_page(density: Density, title: str) -> str:
    bins = density_bins(density)
    low, high = (np.maximum(bins.mean + side * 2 * bins.error, 0).tolist() for side in (-1, 1))
    line = {"name": "eigenvalues in a bin", "y": bins.mean.tolist(), "low": low, "high": high}
    known = ", ".join(f"{value:.4g}" for value in density.outliers[:20].tolist())
    note = f"{_made_of(density)}; known one by one: {known or 'none'}"
    centres = bins.scale * np.sinh((bins.places[1:] + bins.places[:-1]) / 2)
    at = ((bins.places[1:] + bins.places[:-1]) / 2).tolist()
    return line_page(title, "λ", centres.tolist(), [("eigenvalues in a bin", [line])], note, at)


def _made_of(density: Density) -> str:
    probes = len(density.nodes)
    how = f"{probes} probes × {density.nodes.shape[1]} steps" if probes else "all of them"
    kind = str(density.dtype).removeprefix("torch.")
    return f"{density.size} eigenvalues, from {how}, {kind}"


def _watch_page(rows: Sequence[Mapping[str, Any]], title: str) -> str:
    line = [{"name": "largest eigenvalue", "y": [row["sharpness"] for row in rows]}]
    return line_page(title, "epoch", [row["epoch"] for row in rows], [("λ₁", line)], "")


def _bands(losses: Mapping[str, Sequence[float]]) -> list[tuple[str, list, list, list]]:
    """Name, low, middle, high; names that share what stands before a slash are one band, ± sd."""
    groups: dict[str, list[Sequence[float]]] = {}
    for name, values in losses.items():
        groups.setdefault(name.split("/")[0], []).append(values)
    found = []
    for name, rows in groups.items():
        values = np.array(rows, dtype=float)
        mean, sd = values.mean(0), values.std(0)
        label = name if len(rows) == 1 else f"{name} (mean ± sd of {len(rows)})"
        found.append((label, (mean - sd).tolist(), mean.tolist(), (mean + sd).tolist()))
    return found


def _signed(ax: Axes, alphas: Sequence[float], values: Sequence[float], label: str) -> None:
    """A curve whose sign matters: negative values marked."""
    values = np.array(values)
    ax.plot(alphas, values, color=COLOURS[0], lw=1.2)
    below = values < 0
    at = np.array(alphas)[below]
    ax.plot(at, values[below], "o", color=COLOURS[1], ms=4, label="negative: not convex here")
    ax.axhline(0, color="#888888", lw=0.8)
    scale = float(np.median(np.abs(values[values != 0]))) if np.any(values) else 1.0
    ax.set_yscale("symlog", linthresh=scale)
    ax.set_ylabel(label)
    if below.any():
        ax.legend(frameon=False, fontsize=8)


def _scale(ax: Axes, values: Sequence[float]) -> None:
    if _is_wide(np.array(values)):
        ax.set_yscale("log")


def _is_wide(values: np.ndarray) -> bool:
    """Whether a logarithm shows more: positive values over more than two decades."""
    return bool(values.min() > 0 and values.max() > 100 * values.min())


def _wrap(text: str) -> str:
    return "\n".join(line for part in text.split("; ") for line in wrap(part, 90))
