"""Writes a study's report: figures, tables, a page of Markdown and one offline page of HTML."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from rich.box import SIMPLE_HEAD
from rich.table import Table

from edgewise.activations.figures import function_figure
from edgewise.core import write_atomically, write_json
from edgewise.drawing import Picture, render
from edgewise.studies.kinds.encoder_study import EncoderStudy
from edgewise.studies.kinds.metric import CLASSES
from edgewise.studies.records.custom import Section, resolve_analyses, run_analysis
from edgewise.studies.records.records import StudyRecords, read_study
from edgewise.studies.report import figures
from edgewise.studies.report.analysis import analyse
from edgewise.studies.report.tables import (
    histories,
    summary,
    write_predictions,
    write_summary_csv,
)
from edgewise.studies.report.text import page, percent, span

HERE = Path(__file__).parent

CAPTIONS = {
    "accuracy_overview": "Each variant's test {metric} beside what it costs. The model is the one "
    "that did best on the validation set; the test set chose nothing.",
    "statistical_significance": "Left: how far the variant in the lead is ahead. An interval that "
    "reaches 0 leaves the sign open. Right: p of each pair, adjusted for the number of pairs.",
    "training_curves": "A run that stopped early keeps its last value. A single seed has no band.",
    "convergence_analysis": "Left: validation {metric} for the time it took. Right: when the runs "
    "were within half a point of their best validation {metric}.",
    "temporal_patterns": "Top: lengths are cut so that each bin holds about as many test items. "
    "Below: what the encoders learned as functions of time; where there are no events a function "
    "was never asked for anything.",
    "confusion_matrices": "Rows are true classes. Colour is for mistakes only, on one scale.",
    "expert_usage": "An event may be routed to several experts; each of these choices counts, and "
    "they add up to 100 %. An expert that gets fewer than 1 % of them is called dead.",
}

FUNCTIONS = (
    "A row a layer: the functions that vary most over the training data, of one seed. Spread is "
    "the standard deviation of a function's values over the data; one of spread 0 tells the next "
    "layer nothing. Grey: where its inputs lie in the trained model; a curve means nothing where "
    "there are none. Functions that are summed are drawn without their means. Inputs and outputs "
    "are counted from 0."
)
MAX_FUNCTION_FIGURES = 12


def write_report(folder: str | Path, analyses: Sequence[str] = ()) -> Path:
    """Analyses a study and writes all of its results; nothing is trained.

    The same records give the same bytes.

    Args:
        folder: The study, as `edgewise compare --out` wrote it; the results go there too.
        analyses: Analyses of your own, each ``module:function``; the function takes the
            `StudyRecords` and returns ``{"title": …}`` with any of ``text``, ``table`` (a list of
            dictionaries) and ``figure`` (of matplotlib). One that raises is reported and left out.

    Returns:
        The path of ``report.html``.

    Raises:
        InputError: If the folder is no study, a record is damaged, or an analysis can't be found.

    Example:
        >>> write_report("nowhere")
        Traceback (most recent call last):
        edgewise.core.errors.InputError: nowhere is not a study: it has no config.json; give the folder that `edgewise compare --out` wrote
    """  # noqa: E501
    own_analyses = resolve_analyses(analyses)
    records = read_study(folder)
    analysis = analyse(records)
    sections = [run_analysis(name, function, records) for name, function in own_analyses.items()]
    pictures = _pictures(records, analysis)
    functions = _functions(records, analysis)
    own = [_own(place, section) for place, section in enumerate(sections, 1)]
    _write_numbers(records, analysis)
    for drawn in [*pictures, *functions, *filter(None, own)]:
        write_atomically(records.folder / f"{drawn.name}.png", drawn.png)
    sections = list(zip(sections, own, strict=True))
    return _write_pages(records, analysis, pictures, functions, sections)


def summary_table(analysis: Mapping[str, Any]) -> Table:
    """The summary for a terminal.

    Example:
        >>> study = {"dataset": "digits", "level": 0.95, "metric": "accuracy"}
        >>> summary_table({"study": study, "ranking": [], "variants": {}}).row_count
        0
    """
    level = f"{100 * analysis['study']['level']:g} %"
    study = analysis["study"]
    title = f"Test {study['metric']} on {study['dataset']}, %, with {level} intervals"
    # Narrow enough for a terminal of 80 columns.
    table = Table(title=title, title_justify="left", box=SIMPLE_HEAD, padding=(0, 1))
    table.add_column("variant", no_wrap=True)
    for heading in (study["metric"], "parameters", "s/epoch", "seeds"):
        table.add_column(heading, justify="right", no_wrap=True)
    for name in analysis["ranking"]:
        entry = analysis["variants"][name]
        seconds = entry["seconds_per_epoch"]
        score = entry["test_score"]
        table.add_row(
            name,
            f"{percent(score['mean'])} ({span(score).replace(' to ', '–')})",
            f"{entry['parameters']:,}",
            "–" if seconds is None else f"{seconds:.2f}",
            str(len(entry["seeds"])),
        )
    return table


def _write_numbers(records: StudyRecords, analysis: Mapping[str, Any]) -> None:
    write_json(records.folder / "training_histories.json", histories(records))
    write_summary_csv(analysis, records.folder / "results_summary.csv")
    write_json(records.folder / "summary.json", summary(analysis))
    write_json(records.folder / "detailed_analysis.json", analysis)
    write_predictions(records, records.folder / "predictions.parquet")


def _pictures(records: StudyRecords, analysis: Mapping[str, Any]) -> list[Picture]:
    """All figures, in the order of the page."""
    shown = _shown(analysis)
    made = {
        name: getattr(figures, name)(analysis)
        for name in figures.__all__
        if name in shown and name != "temporal_patterns"
    }
    if "temporal_patterns" in shown:
        made["temporal_patterns"] = figures.temporal_patterns(analysis, _curves(records))
    metric = analysis["study"]["metric"]
    return [Picture(name, CAPTIONS[name].format(metric=metric), made[name]) for name in shown]


def _shown(analysis: Mapping[str, Any]) -> list[str]:
    """The figures that this study has something to show in; one of encoders has all."""
    if analysis["study"]["kind"] == EncoderStudy.kind:
        return list(CAPTIONS)
    has = {
        "temporal_patterns": bool(analysis["by_length"]["bins"]),
        "confusion_matrices": analysis["study"]["task"] == CLASSES,
        "expert_usage": bool(analysis["experts"]),
    }
    return [name for name in CAPTIONS if has.get(name, True)]


def _curves(records: StudyRecords) -> dict[str, dict[str, np.ndarray]]:
    # One trial a variant is enough to look at; the first that kept its curves.
    return {
        name: next((found for trial in trials if (found := trial.curves())), {})
        for name, trials in records.by_variant.items()
    }


def _functions(records: StudyRecords, analysis: Mapping[str, Any]) -> list[Picture]:
    """What each variant learned, the best first; of the first seed that kept its functions."""
    drawn = []
    for name in analysis["ranking"][:MAX_FUNCTION_FIGURES]:
        trials = records.by_variant[name]
        trial, found = next(((t, f) for t in trials if (f := t.functions())), (None, ()))
        if trial is not None:
            figure = function_figure(found, f"{name}, seed {trial.seed}: learned functions")
            drawn.append(Picture(f"learned_functions_{trial.folder.parent.name}", "", figure))
    return drawn


def _own(place: int, section: Section) -> Picture | None:
    """The figure of a user's analysis, if it has one."""
    if section.figure is None:
        return None
    return Picture(f"analysis_{place}", "", section.figure)


def _write_pages(
    records: StudyRecords,
    analysis: Mapping[str, Any],
    pictures: Sequence[Picture],
    functions: Sequence[Picture],
    own: Sequence[tuple[Section, Picture | None]],
) -> Path:
    content = page(analysis, records.config) | {
        "pictures": {drawn.name: drawn for drawn in pictures},
        "functions": functions,
        "functions_caption": FUNCTIONS,
        "own": own,
        "time_title": "Time" if analysis["study"]["kind"] == EncoderStudy.kind else "Length",
    }
    for name in ("analysis_report.md", "report.html"):
        source = "report.html.j2" if name.endswith("html") else "report.md.j2"
        path = write_atomically(records.folder / name, render(HERE / source, content))
    return path
