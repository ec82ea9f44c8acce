"""Where KANs win and where they lose: one table of all committed studies of models.

    python benchmarks/models.py [results/text_imdb results/tabular_adult …]

Without arguments it takes every folder of ``results/`` that ``edgewise compare --study images``,
``text``, ``functions`` or ``tabular`` left there. For each it sets the model without functions that
is best on validation beside the best one with functions; both numbers are those of the test split.
The last column is validation after the time that the quickest model took.
"""

import sys
from pathlib import Path

from edgewise.core import read_json

PLAIN = {"mlp", "cnn", "bag", "rnn", "gru", "lstm", "transformer"}
KINDS = ("images", "text", "functions", "tabular")
RESULTS = Path(__file__).parents[1] / "results"


def main() -> None:
    folders = [Path(name) for name in sys.argv[1:]] or [
        path.parent
        for path in sorted(RESULTS.glob("*/detailed_analysis.json"))
        if read_json(path.with_name("config.json"))["study"] in KINDS
    ]
    print(
        "| study | best without functions, % | best with functions, % | ahead | … at equal time |"
    )
    print("|---|---|---|---|---|")
    for folder in folders:
        print(line(folder))


def line(folder: Path) -> str:
    found = read_json(folder / "detailed_analysis.json")
    inside, scores = (
        {name: v[f"{part}_score"]["mean"] for name, v in found["variants"].items()}
        for part in ("validation", "test")
    )
    plain, bent = (best(inside, with_functions) for with_functions in (False, True))
    early = {name: score for name, score in found["equal_time"]["scores"].items() if score}
    ahead = verdict(scores[plain], scores[bent])
    at_once = verdict(*(early[best(early, with_functions)] for with_functions in (False, True)))
    return (
        f"| [{folder.name}]({folder.name}/analysis_report.md) | {plain} {100 * scores[plain]:.2f} "
        f"| {bent} {100 * scores[bent]:.2f} | {ahead} | {at_once} |"
    )


def best(scores: dict[str, float], with_functions: bool) -> str:
    return max((n for n in scores if (n not in PLAIN) == with_functions), key=scores.get)


def verdict(plain: float, bent: float) -> str:
    points = 100 * (bent - plain)
    return f"{'functions' if points > 0 else 'plain'} by {abs(points):.2f}"


if __name__ == "__main__":
    main()
