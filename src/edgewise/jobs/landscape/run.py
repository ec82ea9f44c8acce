"""The loss around a saved model: numbers, figures and a report, kept part by part."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import nn

from edgewise.core import InputError, write_json
from edgewise.curvature import Density, Functional
from edgewise.export import load, read_notes
from edgewise.jobs.landscape.data import load_examples
from edgewise.jobs.landscape.job import LandscapeJob
from edgewise.jobs.landscape.losses import loss_for
from edgewise.jobs.landscape.parts import Parts, unpack_density
from edgewise.jobs.landscape.report import write_landscape_report
from edgewise.jobs.landscape.work import Tell, Work
from edgewise.landscape import Path as Line
from edgewise.landscape import Slice


@dataclass(frozen=True, eq=False)
class Landscape:
    """What was found.

    Attributes:
        summary: All numbers, as ``landscape.json`` has them.
        density: The spectrum.
        line: The path.
        plane: The slice, where it was asked for.

    """

    summary: dict[str, Any]
    density: Density
    line: Line
    plane: Slice | None


def run_landscape(
    path: str | Path,
    out: str | Path,
    job: LandscapeJob | None = None,
    start: str | Path | None = None,
    tell: Tell | None = None,
) -> Path:
    """Computes the landscape around a saved model, and writes numbers, figures and a report.

    Each part is kept in ``out/parts`` as it is finished: the same call goes on where a killed one
    stopped, and a call that asks for more parts adds them.

    Args:
        path: The model, as `edgewise train`, a study or `edgewise.save` wrote it.
        out: The folder of the results.
        job: What is computed; None is all defaults.
        start: Another file of the same model, for the path's first state; None is a model that is
            made anew from the recipe and the job's seed.
        tell: Called with each part's progress.

    Returns:
        The path of ``report.html``.

    Raises:
        InputError: Before any work, if the model, the data or a setting does not fit.

    """
    path, out, job = Path(path), Path(out), job or LandscapeJob()
    model = load(path).eval()
    examples = load_examples(path, model, read_notes(path), job)
    name, loss = loss_for(job.loss, examples.classes)
    work = Work(path, model, examples, name, loss, job, tell or (lambda part, done, total: None))
    first = work.first(start)
    functional = work.functional()
    if job.top > functional.size:
        raise InputError(
            f"{job.top} eigenvalues were asked for, but the model in {path} has only "
            f"{functional.size} parameters"
        )
    # What the loss or the data have against a second derivative shows here, before the work.
    functional.second()
    parts = Parts(out / "parts", work.identity())
    begun = "a fresh model" if start is None else Path(start).name
    found = _compute(work, functional, parts, first, begun)
    write_json(out / "landscape.json", found.summary)
    return write_landscape_report(out, found.summary, found.density, found.line, found.plane)


def _compute(
    work: Work, functional: Functional, parts: Parts, first: nn.Module, start: str
) -> Landscape:
    """All parts; those that are there are read."""
    job = work.job
    summary = work.about(functional)
    summary["eigenvalues"] = parts.keep("eigenvalues", {"top": job.top}, work.eigenvalues)
    summary["trace"] = parts.keep("trace", {"products": job.products}, work.trace)
    settings = {"steps": job.steps, "probes": job.probes}
    density = unpack_density(parts.keep("density", settings, work.density))
    summary["density"] = _about_density(density)
    if job.by_layer:
        summary |= parts.keep("layers", {"products": job.products}, work.layers)
    line = work.line(parts.folder, first)
    summary["path"] = _about_line(line, start)
    plane = work.plane(parts.folder) if job.slice else None
    if plane is not None:
        summary["slice"] = {"lowest": float(plane.loss.min()), "highest": float(plane.loss.max())}
    return Landscape(summary, density, line, plane)


def _about_density(density: Density) -> dict[str, Any]:
    low, high = density.ends()
    moments = {
        str(k): dict(zip(("value", "standard_error"), density.moment(k), strict=True))
        for k in (1, 2, 3, 4)
    }
    return {
        "size": density.size,
        "smallest": low,
        "largest": high,
        "exact": not len(density.nodes),
        "moments": moments,
        "products": density.products,
    }


def _about_line(line: Line, start: str) -> dict[str, Any]:
    certificate = line.certificate
    return {
        "from": start,
        "alphas": list(line.alphas),
        "losses": {name: list(values) for name, values in line.losses.items()},
        "curvature_along": list(line.bends),
        "smallest_eigenvalues": None if line.leasts is None else [vars(x) for x in line.leasts],
        "barrier": line.barrier,
        "transfer_error": list(line.transfer),
        "verdict": certificate.verdict,
        "chord": None if certificate.chord is None else vars(certificate.chord),
    }
