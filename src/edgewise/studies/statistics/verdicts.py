"""From numbers to sentences: what a study may claim, and what it may not."""

from collections.abc import Mapping, Sequence
from typing import Any

from edgewise.studies.statistics.measures import smallest_sign_flip_p

MIN_SEEDS = 6
"""Fewer paired seeds can't reach p < 0.05 in an exact test, whatever the data: 2^(1-5) = 0.0625."""

ALPHA = 0.05
"""Chance of any false claim that a study allows itself over all of its comparisons."""


def too_few_seeds(seeds: int) -> str:
    """Why nothing is claimed from so few seeds.

    Example:
        >>> too_few_seeds(5)
        '5 seeds are too few to tell: the smallest p that 5 paired seeds can give is 0.0625'

    """
    if seeds < 2:
        return (
            f"{_count(seeds, 'seed')} {'is' if seeds == 1 else 'are'} too few to tell: "
            f"how much a result moves from seed to seed is unknown"
        )
    return (
        f"{seeds} seeds are too few to tell: "
        f"the smallest p that {seeds} paired seeds can give is {smallest_sign_flip_p(seeds):g}"
    )


def established(pair: Mapping[str, Any]) -> bool:
    """Whether a difference may be claimed: six seeds, adjusted p below 0.05, interval without 0.

    Args:
        pair: A comparison with ``seeds`` (how many), ``p_holm``, ``low_points``, ``high_points``.

    Example:
        >>> established({"seeds": 6, "p_holm": 0.01, "low_points": 0.2, "high_points": 0.9})
        True
        >>> established({"seeds": 5, "p_holm": 0.01, "low_points": 0.2, "high_points": 0.9})
        False

    """
    if pair["seeds"] < MIN_SEEDS or pair["p_holm"] is None:
        return False
    return pair["p_holm"] < ALPHA and (pair["low_points"] > 0 or pair["high_points"] < 0)


def verdict(pair: Mapping[str, Any]) -> str:
    """One sentence on one comparison.

    Args:
        pair: As for `established`, with the names ``a`` and ``b`` and ``difference_points``.

    Example:
        >>> pair = {"a": "kmote", "b": "raw", "seeds": 6, "p_holm": 0.01, "low_points": 0.24,
        ...         "difference_points": 0.55, "high_points": 0.86}
        >>> verdict(pair)
        'kmote is better than raw by 0.55 points (95 % interval 0.24 to 0.86)'
        >>> verdict(pair | {"p_holm": 0.2})
        'no difference established: the 95 % interval is 0.24 to 0.86 points, adjusted p 0.2'

    """
    if pair["seeds"] < MIN_SEEDS:
        return too_few_seeds(pair["seeds"])
    level, low, high = _level(pair), pair["low_points"], pair["high_points"]
    if not established(pair):
        return (
            f"no difference established: the {level} interval is {low:.2f} to {high:.2f} points, "
            f"adjusted p {pair['p_holm']:.2g}"
        )
    names, sizes = (pair["a"], pair["b"]), (low, high)
    if pair["difference_points"] < 0:
        names, sizes = names[::-1], (-high, -low)
    return (
        f"{names[0]} is better than {names[1]} by {abs(pair['difference_points']):.2f} points "
        f"({level} interval {sizes[0]:.2f} to {sizes[1]:.2f})"
    )


def headline(
    ranking: Sequence[str],
    scores: Mapping[str, Mapping[str, Any]],
    lead: Sequence[Mapping[str, Any]],
    dataset: str,
    metric: str = "accuracy",
) -> str:
    """What the study says, in a few plain sentences.

    Args:
        ranking: Variants from the best mean test score down.
        scores: Of each variant ``mean``, ``low`` and ``high`` as fractions (the last two may be
            None).
        lead: Comparisons of the leader with each of the others, in the order of the ranking.
        dataset: Its name.
        metric: What the score is called.

    Example:
        >>> headline(["lete"], {"lete": {"mean": 0.9, "low": None, "high": None}}, [], "digits")
        'lete reaches 90.00 % on the test set of digits. There is nothing to compare it with.'

    """
    if not ranking:
        return f"No trial on {dataset} finished, so there is nothing to compare."
    leader = ranking[0]
    reached = _reached(scores[leader])
    if not lead:
        return (
            f"{leader} reaches {reached} on the test set of {dataset}. "
            f"There is nothing to compare it with."
        )
    first = f"{leader} has the highest mean test {metric} on {dataset}, {reached}."
    few = [pair for pair in lead if pair["seeds"] < MIN_SEEDS]
    if len(few) == len(lead):
        most = max(pair["seeds"] for pair in lead)
        return f"{first} But {too_few_seeds(most)}. No variant is shown to be better than another."
    return " ".join([first, *_leads(leader, lead)])


def _leads(leader: str, lead: Sequence[Mapping[str, Any]]) -> list[str]:
    """Over whom the leader's lead is established, over whom not, and where nothing can be said."""
    sure = [_other(pair, leader) for pair in lead if established(pair)]
    few = [_other(pair, leader) for pair in lead if pair["seeds"] < MIN_SEEDS]
    open_ = [
        _other(pair, leader)
        for pair in lead
        if pair["seeds"] >= MIN_SEEDS and not established(pair)
    ]
    sentences = []
    if sure:
        whom = _listing(sure) if open_ or few else _all_of(sure)
        sentences.append(f"Its lead over {whom} is established.")
    if open_:
        sentences.append(f"Its lead over {_listing(open_)} is not established: it may be chance.")
    if few:
        sentences.append(f"For {_listing(few)} there are too few common seeds to tell.")
    return sentences


def _other(pair: Mapping[str, Any], name: str) -> str:
    return pair["b"] if pair["a"] == name else pair["a"]


def _all_of(names: Sequence[str]) -> str:
    return names[0] if len(names) == 1 else f"every other variant ({', '.join(names)})"


def _listing(names: Sequence[str], most: int = 8) -> str:
    """Names in a sentence; a long list is cut and counted."""
    if len(names) > most:
        return f"{', '.join(names[:most])} and {len(names) - most} others"
    return " and ".join(filter(None, [", ".join(names[:-1]), names[-1]]))


def _reached(score: Mapping[str, Any]) -> str:
    text = f"{100 * score['mean']:.2f} %"
    if score["low"] is None:
        return text
    ends = f"{100 * score['low']:.2f} to {100 * score['high']:.2f}"
    return f"{text} ({_level(score)} interval {ends})"


def _level(of: Mapping[str, Any]) -> str:
    return f"{100 * of.get('level', 0.95):g} %"


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"
