"""The numbers of a study as files for other programs: CSV, JSON, Parquet."""

import csv
import io
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from edgewise.core import write_atomically
from edgewise.studies.kinds.metric import CLASSES, NUMBERS
from edgewise.studies.records.records import StudyRecords

SUMMARY_COLUMNS = (
    "variant",
    "parameters",
    "seeds",
    "best",
    "final",
    "interval_low",
    "interval_high",
    "convergence_epoch",
    "stability",
    "seconds_per_epoch",
    "overfitting_gap",
    "peak_memory_mb",
)

_ANSWER = {CLASSES: pa.int32(), NUMBERS: pa.float64()}
_STATED = {CLASSES: ("probability", "true_probability"), NUMBERS: ()}


def prediction_schema(task: str) -> pa.Schema:
    """The columns of the answers: whose, to which item, and what is right.

    Example:
        >>> prediction_schema("numbers").names
        ['variant', 'seed', 'item', 'label', 'predicted', 'length']

    """
    return pa.schema(
        [
            ("variant", pa.dictionary(pa.int32(), pa.string())),
            ("seed", pa.int64()),
            ("item", pa.int64()),
            ("label", _ANSWER[task]),
            ("predicted", _ANSWER[task]),
            ("length", pa.int32()),
            *((name, pa.float32()) for name in _STATED[task]),
        ]
    )


def summary_rows(analysis: Mapping[str, Any]) -> list[dict[str, Any]]:
    """A row a variant, the best first, under `SUMMARY_COLUMNS`; accuracies are fractions."""
    return [_summary_row(name, analysis["variants"][name]) for name in analysis["ranking"]]


def _summary_row(name: str, entry: Mapping[str, Any]) -> dict[str, Any]:
    test = entry["test_score"]
    return {
        "variant": name,
        "parameters": entry["parameters"],
        "seeds": len(entry["seeds"]),
        "best": test["mean"],
        "final": entry["final_score"]["mean"],
        "interval_low": test["low"],
        "interval_high": test["high"],
        "convergence_epoch": entry["convergence_epoch"]["mean"],
        "stability": entry["stability"]["mean"],
        "seconds_per_epoch": entry["seconds_per_epoch"],
        "overfitting_gap": entry["overfitting_gap"]["mean"],
        "peak_memory_mb": entry["peak_memory_mb"],
    }


def write_summary_csv(analysis: Mapping[str, Any], path: Path) -> Path:
    """Writes `summary_rows`; what is not known is an empty cell."""
    text = io.StringIO()
    table = csv.DictWriter(text, SUMMARY_COLUMNS, lineterminator="\n")
    table.writeheader()
    for row in summary_rows(analysis):
        table.writerow({key: _cell(value) for key, value in row.items()})
    return write_atomically(path, text.getvalue())


def _cell(value: Any) -> Any:
    return round(value, 6) if isinstance(value, float) else value


def summary(analysis: Mapping[str, Any]) -> dict[str, Any]:
    """What matters, for programs: the headline, the rows of the summary and the verdicts."""
    return {
        "headline": analysis["headline"],
        "dataset": analysis["study"]["dataset"],
        "seeds": analysis["study"]["seeds"],
        "enough_seeds": analysis["study"]["enough_seeds"],
        "ranking": analysis["ranking"],
        "variants": {row["variant"]: row for row in summary_rows(analysis)},
        "verdicts": [
            {"a": p["a"], "b": p["b"], "established": p["established"], "verdict": p["verdict"]}
            for p in analysis["pairs"]
        ],
        "notes": analysis["notes"],
        "failures": [
            {"variant": f["variant"], "seed": f["seed"], "message": f["message"]}
            for f in analysis["failures"]
        ],
    }


def histories(records: StudyRecords) -> dict[str, dict[str, dict[str, list[Any]]]]:
    """Every epoch of every trial, as columns: variant, then seed, then column."""
    return {
        variant: {str(trial.seed): _columns(trial.history) for trial in trials}
        for variant, trials in records.by_variant.items()
    }


def _columns(rows: tuple[Mapping[str, Any], ...]) -> dict[str, list[Any]]:
    names = dict.fromkeys(name for row in rows for name in row)
    return {name: [row.get(name) for row in rows] for name in names}


def write_predictions(records: StudyRecords, path: Path) -> Path:
    """Writes the answers of all trials as Parquet: a row an answer, a row group a variant."""
    task = records.trials[0].record["task"] if records.trials else CLASSES
    schema = prediction_schema(task)

    def write(temporary: Path) -> None:
        with pq.ParquetWriter(temporary, schema, compression="zstd") as file:
            for variant in records.by_variant:
                file.write_table(_answers(records, variant, schema))

    return write_atomically(path, write)


def _answers(records: StudyRecords, variant: str, schema: pa.Schema) -> pa.Table:
    table = records.predictions
    seeds = np.asarray(table.seeds[variant], dtype=np.int64)
    shared = {
        name: np.tile(getattr(table, name), seeds.size) for name in ("item", "label", "length")
    }
    own = {
        name: getattr(table, name)[variant].ravel() for name in ("predicted", *_STATED[table.task])
    }
    columns = shared | own | {"seed": np.repeat(seeds, table.item.size)}
    count = columns["seed"].size
    names = pa.DictionaryArray.from_arrays(pa.array(np.zeros(count, np.int32)), [variant])
    arrays = [
        names if field.name == "variant" else pa.array(columns[field.name]).cast(field.type)
        for field in schema
    ]
    return pa.Table.from_arrays(arrays, schema=schema)
