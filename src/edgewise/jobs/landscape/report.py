"""The figures of a landscape, and one offline page with all of it."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from edgewise.core import write_atomically
from edgewise.curvature import Density
from edgewise.drawing import Picture, render
from edgewise.landscape import Path as Line
from edgewise.landscape import Slice, draw_path, draw_slice, draw_spectrum, save

ROUNDING = {"float32": 1e-6, "float64": 1e-14}
"""Of a product with the Hessian, relative to its largest eigenvalue."""

CAPTIONS = {
    "spectrum": "How many eigenvalues of the Hessian lie where. Mass near 0: directions in which "
    "the loss hardly changes. Far right: the few stiff ones. Left of 0: directions in which the "
    "loss bends down, so that the state is no minimum there.",
    "path": "The loss on the straight line through two states, at the model's own knots. A convex "
    "function lies below each of its chords and bends up everywhere; marks show where it does not.",
    "slice": "The loss on a plane of two random directions, scaled filter by filter (a KAN's edge "
    "by edge) to the model's own size. The cross is the model.",
}


def write_landscape_report(
    out: Path, summary: Mapping[str, Any], density: Density, line: Line, plane: Slice | None
) -> Path:
    """Writes each figure as PNG, PDF and a page to hover over, and ``report.html``.

    Returns:
        The path of ``report.html``.

    """
    about = f"{summary['model']} on {summary['dataset']}, {summary['split']}"
    drawn = {
        "spectrum": (density, draw_spectrum, f"Eigenvalues of the Hessian: {about}"),
        "path": (
            line,
            draw_path,
            f"Loss from {summary['path']['from']} (α = 0) to the model (α = 1)",
        ),
        "slice": (plane, draw_slice, f"Loss around the model: {about}"),
    }
    pictures = {}
    for name, (result, draw, title) in drawn.items():
        if result is not None:
            save(result, out / name, title)
            pictures[name] = Picture(name, CAPTIONS[name], draw(result, title=title))
    content = page(summary) | {"pictures": pictures}
    text = render(Path(__file__).with_name("landscape.html.j2"), content)
    return write_atomically(out / "report.html", text)


def page(summary: Mapping[str, Any]) -> dict[str, Any]:
    """What the page says, of a summary as ``landscape.json`` has it."""
    return {
        "title": f"Loss landscape of {summary['file']}",
        "headline": headline(summary),
        "facts": _facts(summary),
        "eigenvalues": _eigenvalues(summary["eigenvalues"], ROUNDING[summary["dtype"]]),
        "numbers": _numbers(summary),
        "layers": [_layer(row) for row in summary.get("layers", [])],
        "verdict": summary["path"]["verdict"],
        "transfer": _transfer(summary["path"]["transfer_error"]),
        "job": {k: v for k, v in summary["job"].items() if v is not None and v != ""},
    }


def headline(summary: Mapping[str, Any]) -> str:
    """What was found in two sentences.

    Example:
        >>> low = {"largest": [8.0], "smallest": -0.5, "smallest_residual": 0.01}
        >>> headline({"eigenvalues": low, "path": {"verdict": "not convex along the line: x; y"}})
        'The curvature at the model runs from −0.5 to 8: it is no minimum. Path: not convex along the line: x.'

    """  # noqa: E501
    found = summary["eigenvalues"]
    low, error, high = found["smallest"], found["smallest_residual"], found["largest"][0]
    if low < -error and low < -1e-6 * high:
        kind = "it is no minimum"
    else:
        kind = "no direction bends down beyond the error"
    verdict = summary["path"]["verdict"].split("; ")[0]
    return (
        f"The curvature at the model runs from {number(low)} to {number(high)}: {kind}. "
        f"Path: {verdict}."
    )


def number(value: float) -> str:
    """Four digits, with a minus sign that is one.

    Example:
        >>> number(-0.012345), number(1e-12), number(12345.6)
        ('−0.01235', '1.000e-12', '1.235e+04')

    """
    size = abs(value)
    text = f"{value:.4g}" if value == 0 or 1e-3 <= size < 1e4 else f"{value:.3e}"
    return text.replace("-", "−", 1) if value < 0 else text


def _facts(summary: Mapping[str, Any]) -> str:
    gauge = summary["gauge_directions"]
    free = "" if gauge is None else f", {gauge:,} of them gauge directions (eigenvalue exactly 0)"
    counts = summary["examples"]
    return (
        f"{summary['model']}, {summary['parameters']:,} parameters{free}; "
        f"{summary['loss_name'].replace('_', ' ')} on {counts[summary['split']]:,} "
        f"{summary['split']} examples of {summary['dataset']}, in {summary['dtype']}."
    )


def _eigenvalues(found: Mapping[str, Any], rounding: float) -> list[dict[str, str]]:
    # A residual is that of the products as they were rounded.
    least = rounding * max(abs(found["largest"][0]), abs(found["smallest"]))
    rows = [
        {
            "eigenvalue": f"λ{place}",
            "value": number(value),
            "known within": f"{max(error, least):.1e}",
        }
        for place, (value, error) in enumerate(
            zip(found["largest"], found["residuals"], strict=True), 1
        )
    ]
    low = {
        "value": number(found["smallest"]),
        "known within": f"{max(found['smallest_residual'], least):.1e}",
    }
    return [*rows, {"eigenvalue": "smallest", **low}]


def _numbers(summary: Mapping[str, Any]) -> list[dict[str, str]]:
    found, size = summary["trace"], summary["parameters"]
    how = "exact" if not found["samples"] else f"± {found['error']:.2g} (19 times of 20 at least)"
    rows = [
        ("loss at the model", number(summary["loss"]), ""),
        ("norm of the gradient", number(summary["gradient_norm"]), ""),
        ("trace of the Hessian", number(found["value"]), how),
        ("mean eigenvalue", number(found["value"] / size), "trace / parameters"),
    ]
    rows += [
        (f"barrier on the path, {name}", number(value), "highest rise above the chord of the ends")
        for name, value in summary["path"]["barrier"].items()
    ]
    return [{"quantity": a, "value": b, "note": c} for a, b, c in rows]


def _layer(row: Mapping[str, Any]) -> dict[str, str]:
    def said(found: Mapping[str, Any]) -> str:
        error = f" ± {found['error']:.2g}" if found["samples"] else ""
        return number(found["value"]) + error

    return {
        "layer": row["name"],
        "parameters": f"{row['parameters']:,}",
        "largest eigenvalue": number(row["largest"]),
        "trace": said(row["trace"]),
        "trace of Gauss-Newton": said(row["gauss_newton_trace"]),
    }


def _transfer(errors: list[float]) -> str:
    worst = max(errors)
    if worst < 1e-6:
        return ""
    return (
        f"The knots of the two states differ; bringing the curves to the model's knots changed "
        f"them by {100 * worst:.2g} % (relative, root mean square)."
    )
