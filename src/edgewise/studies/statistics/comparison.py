"""All pairs of variants compared on the seeds they share."""

from collections.abc import Iterator, Mapping, Sequence
from itertools import combinations, combinations_with_replacement
from typing import Any

import numpy as np

from edgewise.core import stream
from edgewise.studies.statistics.crossed import Difference, crossed_differences
from edgewise.studies.statistics.measures import (
    hedges_g,
    holm,
    mcnemar,
    sign_flip,
    superiority,
)
from edgewise.studies.statistics.verdicts import established, verdict

MAX_LISTED = 30
"""With more variants than this only the comparisons with the leader are listed."""

Pair = tuple[str, str]


def compare_pairs(
    correct: Mapping[str, np.ndarray],
    seeds: Mapping[str, Sequence[int]],
    ranking: Sequence[str],
    level: float = 0.95,
) -> list[dict[str, Any]]:
    """Compares all pairs of variants; the family for Holm's adjustment is all of them.

    Args:
        correct: Of each variant, what each answer is worth, (S, I): right or wrong as bool, or
            any number whose mean over items is the score.
        seeds: Of each variant, the seeds of its rows.
        ranking: All variants, the leader first; in a pair, a stands before b.
        level: Coverage of the intervals.

    Returns:
        A row a pair, with differences a - b in points (percent of the test items): ``a``, ``b``,
        ``seeds`` (how many they share), ``level``, ``difference_points``, ``low_points``,
        ``high_points``, ``standard_error_points``, ``dof``, ``p``, ``p_holm``, ``sign_flip_p``,
        ``hedges_g``, ``superiority``, ``mcnemar_p`` (each seed; of right and
        wrong only), ``established``, ``verdict``.
        What can't be known from so few seeds is None. With more than `MAX_LISTED` variants
        only the leader's pairs are listed.

    Example:
        >>> right = {"a": np.array([[1, 1, 1], [1, 1, 0]]), "b": np.array([[1, 0, 0], [0, 1, 0]])}
        >>> pair, = compare_pairs(right, {"a": (0, 1), "b": (0, 1)}, ["a", "b"])
        >>> round(pair["difference_points"], 1), pair["established"]
        (50.0, False)

    """
    tests = dict(_tests(correct, seeds, ranking, level))
    adjusted = dict(zip(tests, holm(np.array([test.p for test in tests.values()])), strict=True))
    pairs = list(combinations(ranking, 2))
    if len(ranking) > MAX_LISTED:
        pairs = [pair for pair in pairs if pair[0] == ranking[0]]
    rng = np.random.default_rng(stream(0, "sign-flip"))
    rows = [_row(a, b, correct, seeds, rng) for a, b in pairs]
    for pair, row in zip(pairs, rows, strict=True):
        row |= _tested(tests.get(pair), adjusted.get(pair), level)
        row["established"] = established(row)
        row["verdict"] = verdict(row)
    return rows


def _tests(
    correct: Mapping[str, np.ndarray],
    seeds: Mapping[str, Sequence[int]],
    ranking: Sequence[str],
    level: float,
) -> Iterator[tuple[Pair, Difference]]:
    """The crossed test of every pair that shares two seeds, in batches that share the same ones."""
    groups: dict[frozenset[int], list[str]] = {}
    for name in ranking:
        groups.setdefault(frozenset(seeds[name]), []).append(name)
    place = {name: rank for rank, name in enumerate(ranking)}
    for x, y in combinations_with_replacement(groups, 2):
        names = groups[x] if x == y else groups[x] + groups[y]
        common = sorted(x & y)
        if len(names) < 2 or len(common) < 2 or correct[names[0]].shape[1] < 2:
            continue
        pairs = crossed_differences(
            np.stack([_rows(correct[name], seeds[name], common) for name in names]), level
        )
        for i, j in combinations(range(len(names)), 2):
            if x != y and (i < len(groups[x])) == (j < len(groups[x])):
                continue
            i, j = (i, j) if place[names[i]] < place[names[j]] else (j, i)
            test = {name: float(value[i, j]) for name, value in vars(pairs).items()}
            yield (names[i], names[j]), Difference(**test)


def _rows(values: np.ndarray, seeds: Sequence[int], common: Sequence[int]) -> np.ndarray:
    place = {seed: row for row, seed in enumerate(seeds)}
    return values[[place[seed] for seed in common]]


def _row(
    a: str,
    b: str,
    correct: Mapping[str, np.ndarray],
    seeds: Mapping[str, Sequence[int]],
    rng: np.random.Generator,
) -> dict[str, Any]:
    """What a pair's seeds say without the crossed test."""
    common = sorted(set(seeds[a]) & set(seeds[b]))
    row: dict[str, Any] = {"a": a, "b": b, "seeds": len(common), "difference_points": None}
    row |= dict.fromkeys(("sign_flip_p", "hedges_g", "superiority"))
    row["mcnemar_p"] = []
    if not common:
        return row
    one, other = (_rows(correct[name], seeds[name], common) for name in (a, b))
    if one.dtype == bool:
        row["mcnemar_p"] = mcnemar(one, other).tolist()
    d = one.mean(-1) - other.mean(-1)
    row["difference_points"] = 100 * float(d.mean())
    row["superiority"] = superiority(d)
    if len(common) > 1:
        row["sign_flip_p"] = sign_flip(d, rng)
        row["hedges_g"] = hedges_g(d)
    return row


def _tested(test: Difference | None, adjusted: float | None, level: float) -> dict[str, Any]:
    """The fields of the crossed test, in points; None where it could not be made."""
    points = {"low": None, "high": None, "standard_error": None}
    if test is not None:
        points = {name: 100 * getattr(test, name) for name in points}
    return {
        **{f"{name}_points": value for name, value in points.items()},
        "dof": None if test is None else test.dof,
        "p": None if test is None else test.p,
        "p_holm": None if adjusted is None else float(adjusted),
        "level": level,
    }
