"""Writes what a job found: formulas as files, figures, and one offline page."""

import json
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

from edgewise.core import InputError, read_json, write_atomically, write_json
from edgewise.drawing import Picture, render
from edgewise.jobs.formula.figures import fit, front
from edgewise.jobs.formula.job import FormulaJob, Formulas, Found
from edgewise.jobs.formula.network import Network, network
from edgewise.jobs.formula.text import (
    as_latex,
    as_mathml,
    as_python,
    as_text,
    constant_words,
    latex,
    outside,
    ranges,
    rounded,
    score_words,
    short,
    verdict,
)
from edgewise.symbolic import to_python

KIND = "formulas found by edgewise"
"""How a folder of formulas is told from any other."""

CAPTIONS = {
    "fit": "Held-out rows took no part in the search. What is left should have no pattern: a bend "
    "or a funnel means that the formula misses something.",
    "front": "The best formula of each length. Where the error falls by orders of magnitude, "
    "something true was found; where it creeps, constants follow noise.",
    "diagram": "Inputs below, the target above; every edge with its function over the range of "
    "the data, the fainter the less it matters. Where × stands, sums are multiplied.",
}

METHOD = (
    "Monomials, sums of few terms, and networks of splines of growing shapes were tried in turn on "
    "the rows that were not held out; networks are trained by Levenberg–Marquardt and their edges "
    "read as functions. The first formula that is exact ends the search; otherwise the one with "
    "the best Bayesian information criterion is chosen.",
    "Errors are root mean squares; relative ones are in standard deviations of the target. "
    "Held-out rows chose nothing.",
    "Standard errors of constants are those of a least-squares fit, s²(JᵀJ)⁻¹ on the rows it was "
    "found on: they hold if the formula is right and what is left is independent noise of one "
    "size. That the formula was itself chosen by these rows is not in them.",
)


def check_folder(folder: str | Path, job: FormulaJob) -> Path:
    """Where results may go: a folder that is new, empty, or holds formulas of the same columns.

    Raises:
        InputError: If it is a file or holds anything else.

    Example:
        >>> import tempfile
        >>> check_folder(tempfile.mkdtemp(), FormulaJob("a.csv", ("y",))).is_dir()
        True

    """
    folder = Path(folder)
    if folder.exists() and not folder.is_dir():
        raise InputError(f"--out {folder} is a file: name a folder")
    if not folder.exists() or not any(folder.iterdir()):
        return folder
    kept = folder / "formula.json"
    found = read_json(kept) if kept.is_file() else None
    if not isinstance(found, dict) or found.get("kind") != KIND:
        raise InputError(f"--out {folder} holds something else: choose a new folder")
    if found["config"]["targets"] != list(job.targets):
        raise InputError(
            f"--out {folder} holds formulas of {', '.join(found['config']['targets'])}: choose "
            f"a new folder"
        )
    return folder


def write_formulas(formulas: Formulas, folder: str | Path) -> list[Path]:
    """Writes formulas as JSON, Python and LaTeX, the figures, and ``report.html``.

    Args:
        formulas: What was found.
        folder: Where to (:func:`check_folder`).

    Returns:
        What was written, ``report.html`` last.

    Raises:
        InputError: If the folder holds something else.

    """
    folder = check_folder(folder, formulas.job)
    paths = [
        write_json(folder / "formula.json", record(formulas)),
        write_atomically(folder / "formula.py", as_python(formulas)),
        write_atomically(folder / "formula.tex", as_latex(formulas)),
    ]
    parts = []
    for found in formulas.found:
        made = network(formulas, found)
        figures = {"fit": fit(formulas, found), "front": front(found)}
        if made.figure is not None:
            figures["diagram"] = made.figure
        pictures = {
            name: Picture(f"{found.symbol}_{name}", CAPTIONS[name], figure)
            for name, figure in figures.items()
        }
        paths += [
            write_atomically(folder / f"{picture.name}.png", picture.png)
            for picture in pictures.values()
        ]
        parts.append(_part(formulas, found, made, pictures))
    return [*paths, write_atomically(folder / "report.html", _page(formulas, parts))]


def record(formulas: Formulas) -> dict[str, Any]:
    """Everything as JSON holds it; ``sympy.sympify`` reads the texts of formulas back.

    Columns may be called like things of SymPy's, such as E: pass their symbols as ``locals``.
    """
    table = formulas.table
    return {
        "kind": KIND,
        "version": version("edgewise"),
        "config": formulas.job.as_dict(),
        "data": {
            "sha256": table.sha256,
            "rows": len(table.x),
            "train": len(formulas.train),
            "test": len(formulas.test),
        },
        "symbols": formulas.symbols,
        "ranges": {name: [low, high] for name, low, high in ranges(formulas)},
        "formulas": [_formula(formulas, found) for found in formulas.found],
        "cpu_seconds": formulas.seconds,
    }


def _formula(formulas: Formulas, found: Found) -> dict[str, Any]:
    return {
        "target": found.target,
        "symbol": found.symbol,
        "formula": as_text(found.expression),
        "latex": latex(found.expression),
        "python": to_python(found.expression, formulas.names, found.symbol),
        "exact": found.exact,
        "complexity": found.complexity,
        "train": found.train._asdict(),
        "test": found.test._asdict(),
        "constants": [c._asdict() | {"simple": c.simple} for c in found.constants],
        "front": [
            {
                "formula": as_text(candidate.expression),
                "complexity": candidate.complexity,
                "train_relative": candidate.error,
                "test_relative": score.relative,
                "how": candidate.how,
            }
            for candidate, score in found.front
        ],
        "how": found.discovery.best.how,
        "cpu_seconds": found.discovery.seconds,
    }


def _part(
    formulas: Formulas, found: Found, made: Network, pictures: dict[str, Picture]
) -> dict[str, Any]:
    scores = [
        {"rows": f"{len(rows):,} {kind}"}
        | dict(zip(("error", "relative", "R²"), score_words(score), strict=True))
        for kind, rows, score in (
            ("held out", formulas.test, found.test),
            ("it was found on", formulas.train, found.train),
        )
    ]
    candidates = [
        {
            "length": str(candidate.complexity),
            "formula": str(rounded(candidate.expression)),
            "relative error": short(candidate.error),
            "held out": short(score.relative),
            "found by": candidate.how,
        }
        for candidate, score in found.front
    ]
    return {
        "target": found.target,
        "symbol": found.symbol,
        "mathml": as_mathml(found.expression, found.symbol),
        "verdict": verdict(found),
        "scores": scores,
        "constants": [constant_words(c, len(formulas.train)) for c in found.constants],
        "candidates": candidates,
        "diagram": pictures.get("diagram"),
        "fit": pictures["fit"],
        "front": pictures["front"],
        # In the page as large as on paper, not as wide as the column.
        "width": 0 if made.figure is None else round(6 * made.figure.get_figwidth()),
        "edges": made.edges,
        "no_diagram": made.reason,
        "importances": made.inputs,
        "text": as_text(found.expression),
        "python": to_python(found.expression, formulas.names, found.symbol),
    }


def _page(formulas: Formulas, parts: Sequence[dict[str, Any]]) -> str:
    job, table = formulas.job, formulas.table
    where = Path(job.data).name
    content = {
        "title": f"Formulas found in {where}",
        "headline": "; ".join(_headline(found) for found in formulas.found),
        "facts": (
            f"{len(table.x):,} rows, {len(formulas.test):,} of them held out to judge. "
            f"{formulas.seconds:.1f} CPU-seconds in all."
        ),
        "parts": parts,
        "inputs": _inputs(formulas, parts),
        "warnings": outside(formulas),
        "method": METHOD,
        "data": _data(formulas),
        "config": json.dumps(job.as_dict(), indent=2, ensure_ascii=False),
    }
    return render(Path(__file__).with_name("formula.html.j2"), content)


def _headline(found: Found) -> str:
    kind = "an exact formula" if found.exact else f"R² {score_words(found.test)[2]}"
    return f"{found.target}: {kind}"


def _inputs(formulas: Formulas, parts: Sequence[dict[str, Any]]) -> list[dict[str, str]]:
    rows = []
    for k, (name, low, high) in enumerate(ranges(formulas)):
        row = {"input": formulas.table.features[k], "in formulas": name}
        row |= {"from": f"{low:.6g}", "to": f"{high:.6g}"}
        for part in parts:
            if part["importances"]:
                row[f"importance for {part['target']}"] = short(part["importances"][k])
        rows.append(row)
    return rows


def _data(formulas: Formulas) -> list[dict[str, str]]:
    said = {
        "file": formulas.job.data,
        "SHA-256": formulas.table.sha256,
        "Edgewise": version("edgewise"),
    }
    return [{"what": key, "value": value} for key, value in said.items()]
