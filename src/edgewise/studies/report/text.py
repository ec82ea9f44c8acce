"""The words and formatted numbers of a report, shared by its Markdown and its HTML."""

import json
import math
from collections.abc import Mapping, Sequence
from typing import Any

from edgewise.studies.kinds.metric import CLASSES, NUMBERS
from edgewise.studies.report.analysis import DEAD_EXPERT
from edgewise.studies.report.variant import CONVERGED_WITHIN
from edgewise.studies.statistics.verdicts import ALPHA, MIN_SEEDS, too_few_seeds

Cells = list[dict[str, str]]

READING = (
    "Test {metric} is that of the model chosen on the validation set, as a mean over seeds. The "
    "interval says where the mean of many more seeds would be expected. “Last epoch” is "
    "the {metric} of the weights that training ended with, which nobody chose.",
    f"“Converged at” is the first epoch within {100 * CONVERGED_WITHIN:g} points of the "
    "run's best validation {metric}. “Wobble” is the standard deviation of the validation "
    "{metric} over the last third of the epochs, in points. “Gap” is training minus "
    "validation {metric} at the chosen epoch, in points: large is over-fitted. Seconds are the "
    "median over epochs on the machine named below.",
)
EXPLAINED = (
    "Explained variance is R² = 1 − mean (y − ŷ)² / var y: 100 % is a perfect prediction, 0 % that "
    "of the test set's mean, and below 0 it is worse than that.",
)

METHOD = (
    "All variants see the same training, validation and test items and, for one seed, the same "
    "order of batches. Nothing is chosen on the test set.",
    "Two variants are compared item by item and seed by seed. The difference in {metric} varies "
    "with the seed and with the items that happen to be in the test set; both are counted, as "
    "crossed random effects, in a Student t test with Satterthwaite's degrees of freedom. It "
    "speaks of new seeds and new test items from the same source, not of other training data.",
    f"A difference is called established when its p, adjusted for all pairs by Holm's method, is "
    f"below {ALPHA:g}, its interval leaves out 0, and there are at least {MIN_SEEDS} seeds that "
    "both variants share. Taken together, studies of variants that do not differ then make any "
    f"false claim in about {100 * ALPHA:g} % of cases at most. “Not established” does not "
    "mean equal: the interval says how large a difference may still be.",
    "Effect size is Hedges' g of the paired differences over seeds. “Wins” is the share of "
    "seeds on which the first variant is ahead, a tie counting half. The sign-flip p is an exact "
    "check that sees the seeds only.",
)


def page(analysis: Mapping[str, Any], config: Mapping[str, Any]) -> dict[str, Any]:
    """All that the templates show, but for the figures."""
    study = analysis["study"]
    return {
        "title": f"{study['dataset']}: {len(analysis['ranking'])} variants compared",
        "headline": analysis["headline"],
        "facts": _facts(study),
        "notes": analysis["notes"],
        "metric": study["metric"],
        "reading": _worded(READING + (EXPLAINED if study["task"] == NUMBERS else ()), study),
        "method": _worded(METHOD, study),
        "budget": _budget(analysis),
        "variants": [_variant(n, analysis["variants"][n], study) for n in analysis["ranking"]],
        "pairs": [_pair(pair) for pair in analysis["pairs"]],
        "telling": _telling(analysis),
        "common": _common(analysis),
        "common_text": _common_text(analysis["mistakes"]["common"]["count"]),
        "experts": _experts(analysis),
        "dead": [
            f"{name}: {', '.join(entry['dead'])}"
            for name, entry in analysis["experts"].items()
            if entry["dead"]
        ],
        "dead_share": f"{100 * DEAD_EXPERT:g} %",
        "failures": analysis["failures"],
        "card": {str(k): _plain(v) for k, v in (config.get("data_card") or {}).items()},
        "machines": [f"{m['device']}, {_count(m['threads'], 'thread')}" for m in study["machines"]],
        "config": json.dumps(config, indent=2, ensure_ascii=False),
    }


def _worded(lines: Sequence[str], study: Mapping[str, Any]) -> list[str]:
    return [line.format(metric=study["metric"]) for line in lines]


def _budget(analysis: Mapping[str, Any]) -> list[str]:
    """What is equal between the variants: parameters, time."""
    study, equal = analysis["study"], analysis["equal_time"]
    sizes = [entry["parameters"] for entry in analysis["variants"].values()]
    if not sizes:
        return []
    lines = [
        f"Equal parameters: each variant's width was chosen to come closest to "
        f"{study['budget']:,}; they have {min(sizes):,} to {max(sizes):,}."
        if study["budget"]
        else f"The variants have {min(sizes):,} to {max(sizes):,} parameters: sizes were not made "
        f"equal (--parameters does)."
    ]
    ranked = sorted(
        equal["scores"].items(), key=lambda pair: -math.inf if pair[1] is None else -pair[1]
    )
    told = ", ".join(
        f"{name} {'no epoch yet' if score is None else percent(score) + ' %'}"
        for name, score in sorted(ranked, key=lambda pair: pair[1] is None)
    )
    lines.append(
        f"Equal time: after the {equal['seconds']:.1f} seconds of training that the quickest "
        f"variant took, validation {study['metric']} was {told}."
    )
    return lines


def percent(value: float | None, digits: int = 2) -> str:
    """A fraction in percent, or a dash.

    Example:
        >>> percent(0.91234), percent(None)
        ('91.23', '–')
    """
    return "–" if value is None else f"{100 * value:.{digits}f}"


def span(entry: Mapping[str, float | None]) -> str:
    """An interval of fractions in percent, or a dash.

    Example:
        >>> span({"low": 0.9, "high": 0.95})
        '90.00 to 95.00'
    """
    if entry["low"] is None:
        return "–"
    return f"{percent(entry['low'])} to {percent(entry['high'])}"


def _facts(study: Mapping[str, Any]) -> str:
    what = f"{len(study['classes'])} classes, " if study["task"] == CLASSES else ""
    return (
        f"Data: {study['dataset']}, {what}{_count(study['items'], 'test item')}. "
        f"{_count(len(study['variants']), 'variant')}, {_count(len(study['seeds']), 'seed')}, "
        f"{_count(study['trials'], 'finished trial')}."
    )


def _variant(name: str, entry: Mapping[str, Any], study: Mapping[str, Any]) -> dict[str, str]:
    memory = entry["peak_memory_mb"]
    return {
        "variant": name,
        f"test {study['metric']} %": percent(entry["test_score"]["mean"]),
        f"{100 * study['level']:g} % interval": span(entry["test_score"]),
        **{
            f"{name} %": f"{percent(extra['mean'])} ({span(extra)})"
            for name, extra in entry["extra"].items()
        },
        "last epoch %": percent(entry["final_score"]["mean"]),
        "parameters": f"{entry['parameters']:,}",
        "seeds": str(len(entry["seeds"])),
        "converged at": _number(entry["convergence_epoch"]["mean"], 1),
        "wobble": percent(entry["stability"]["mean"]),
        "gap": percent(entry["overfitting_gap"]["mean"]),
        "s/epoch": _number(entry["seconds_per_epoch"], 2),
        "memory MB": "–" if memory is None else f"{memory:.0f}",
    }


def _pair(pair: Mapping[str, Any]) -> dict[str, str]:
    few = pair["seeds"] < MIN_SEEDS
    interval = "–"
    if pair["low_points"] is not None:
        interval = f"{pair['low_points']:.2f} to {pair['high_points']:.2f}"
    return {
        "pair": f"{pair['a']} − {pair['b']}",
        "points": _number(pair["difference_points"], 2),
        f"{100 * pair['level']:g} % interval": interval,
        # A p from a handful of seeds would be read as evidence; the file with all numbers has it.
        "p": "–" if few else p_text(pair["p"]),
        "adjusted p": "–" if few else p_text(pair["p_holm"]),
        "sign-flip p": p_text(pair["sign_flip_p"]),
        "effect g": _number(pair["hedges_g"], 2),
        "wins": percent(pair["superiority"], 0) + (" %" if pair["superiority"] is not None else ""),
        "verdict": _short_verdict(pair),
    }


def _short_verdict(pair: Mapping[str, Any]) -> str:
    """The verdict without the numbers that stand beside it in the table."""
    if pair["seeds"] < MIN_SEEDS:
        return too_few_seeds(pair["seeds"]).split(":")[0]
    if not pair["established"]:
        return "not established"
    return f"{pair['a'] if pair['difference_points'] > 0 else pair['b']} is better"


def p_text(p: float | None) -> str:
    """A p value with as many digits as it deserves.

    Example:
        >>> p_text(0.00002), p_text(0.0312), p_text(0.5), p_text(None)
        ('< 0.0001', '0.0312', '0.50', '–')
    """
    if p is None:
        return "–"
    return "< 0.0001" if p < 1e-4 else f"{p:.4f}" if p < 0.1 else f"{p:.2f}"


def _telling(analysis: Mapping[str, Any]) -> Cells:
    classes = analysis["study"]["classes"]
    return [
        {
            "variant": name,
            "item": str(row["item"]),
            **_length(row, analysis),
            "true class": str(classes[row["label"]]),
            "its answer": str(classes[row["answer"]]),
            "right on its seeds": f"{percent(row['right'], 0)} %",
            "right by the others": f"{percent(row['others_right'], 0)} %",
        }
        for name in analysis["ranking"]
        for row in analysis["mistakes"]["telling"].get(name, [])[:2]
    ]


def _common(analysis: Mapping[str, Any]) -> Cells:
    classes = analysis["study"]["classes"]
    return [
        {
            "item": str(row["item"]),
            **_length(row, analysis),
            "true class": str(classes[row["label"]]),
            "most frequent answer": str(classes[row["answer"]]),
            "stated probability": f"{percent(row['probability'], 0)} %",
        }
        for row in analysis["mistakes"]["common"]["items"]
    ]


def _length(row: Mapping[str, Any], analysis: Mapping[str, Any]) -> dict[str, str]:
    """How long the item is, where items differ in that."""
    known = analysis["by_length"]["bins"]
    return {analysis["study"]["length"]: str(row["length"])} if known else {}


def _common_text(count: int) -> str:
    if count == 0:
        return "Every test item is answered rightly by at least one trial."
    verb = "is" if count == 1 else "are"
    return (
        f"{_count(count, 'test item')} {verb} answered wrongly by every trial. The ones answered "
        f"with the most confidence, whose labels deserve a look:"
    )


def _experts(analysis: Mapping[str, Any]) -> Cells:
    return [
        {
            "variant": name,
            "expert": expert,
            "router's choices %": percent(selected["mean"], 1),
            "interval": span(selected),
            "mean weight %": percent(weight["mean"], 1),
            "": "dead" if expert in entry["dead"] else "",
        }
        for name, entry in analysis["experts"].items()
        for expert, selected, weight in zip(
            entry["experts"], entry["selected"], entry["weight"], strict=True
        )
    ]


def _number(value: float | None, digits: int) -> str:
    if value is None:
        return "–"
    if math.isinf(value):
        return "∞" if value > 0 else "−∞"
    return f"{value:.{digits}f}"


def _count(number: int, noun: str) -> str:
    return f"{number:,} {noun}" if number == 1 else f"{number:,} {noun}s"


def _plain(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
