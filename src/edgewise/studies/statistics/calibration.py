"""Does the comparison keep its promise? Simulated studies of which the truth is known."""

from collections.abc import Sequence
from typing import Literal

import numpy as np
from scipy import stats

from edgewise.core import InputError, did_you_mean
from edgewise.studies.statistics.crossed import crossed_differences
from edgewise.studies.statistics.measures import holm

SEED_EFFECTS = ("normal", "skewed", "unequal")


def simulate(
    rng: np.random.Generator,
    studies: int,
    variants: int = 4,
    seeds: int = 6,
    items: int = 300,
    difference: float = 0.0,
    seed_effects: Literal["normal", "skewed", "unequal"] = "normal",
    seed_sd: float = 0.01,
    interaction_sd: float = 0.02,
) -> np.ndarray:
    """Draws the 0/1 correctness of studies with crossed seeds and items.

    P(right) = q_i + h_i·(δ_v + u_vs + w_vi), h_i = q_i(1-q_i)/E[q(1-q)]: items differ in
    difficulty, q ~ Beta(1.8, 0.2) with mean 0.9, shared by all variants and seeds; u is what a
    seed adds to a variant, w what a variant finds easy. h keeps P within 0 and 1 and has mean 1, so
    that δ is the true difference in accuracy, whatever the spread of u and w.

    Args:
        rng: Draws everything.
        studies: How many independent studies, N.
        variants: V; they are identical but for ``difference``.
        seeds: S.
        items: I.
        difference: δ of the first variant, as a fraction of all items.
        seed_effects: "normal"; "skewed": most seeds a little better, some much worse (minus an
            exponential); "unequal": the last variant's seeds spread three times as much.
        seed_sd: Standard deviation of u.
        interaction_sd: Standard deviation of w.

    Returns:
        Correctness (N, V, S, I), uint8.

    Raises:
        InputError: If ``seed_effects`` is unknown.

    Example:
        >>> right = simulate(np.random.default_rng(0), studies=20)
        >>> right.shape, bool(abs(right.mean() - 0.9) < 0.02)
        ((20, 4, 6, 300), True)

    """
    if seed_effects not in SEED_EFFECTS:
        raise InputError(
            f"unknown seed effects {seed_effects!r}: {did_you_mean(seed_effects, SEED_EFFECTS)}"
        )
    a, b = 1.8, 0.2
    q = rng.beta(a, b, (studies, 1, 1, items))
    h = q * (1 - q) * (a + b) * (a + b + 1) / (a * b)
    shape = (studies, variants, seeds, 1)
    u = 1 - rng.exponential(size=shape) if seed_effects == "skewed" else rng.normal(size=shape)
    if seed_effects == "unequal":
        u[:, -1] *= 3
    w = rng.normal(scale=interaction_sd, size=(studies, variants, 1, items))
    delta = np.zeros((variants, 1, 1))
    delta[0] = difference
    chance = q + h * (delta + seed_sd * u + w)
    return (rng.random(chance.shape, dtype=np.float32) < chance).astype(np.uint8)


def calibrate(
    rng: np.random.Generator,
    studies: int = 1000,
    differences: Sequence[float] = (0.0, 0.02, 0.04),
    variants: int = 4,
    seeds: int = 6,
    items: int = 300,
    seed_effects: Literal["normal", "skewed", "unequal"] = "normal",
    seed_sd: float = 0.01,
    interaction_sd: float = 0.02,
) -> list[dict[str, float]]:
    """How often a study claims what is not so, and how often it finds what is.

    A claim is made by Holm's p over all pairs below 0.05 and a 95 % interval without 0, as in
    `edgewise.studies.statistics.verdicts`, but here also below its six seeds, to show what that
    rule is for.
    Under a difference of 0 every claim is false; otherwise those among the variants that are alike
    are, as are those that call the first variant the worse.

    Args:
        rng: Draws the studies.
        studies: How many for each difference.
        differences: Planted advantages of the first variant, as fractions; 0 is the null.
        variants: V.
        seeds: S.
        items: I.
        seed_effects: As in `simulate`.
        seed_sd: As in `simulate`.
        interaction_sd: As in `simulate`.

    Returns:
        A row for each difference: ``difference``; ``false_alarms``, the share of studies with any
        false claim, with its exact 95 % binomial interval ``low`` to ``high``; ``power``, how often
        the claim "the first is better than the second" is made (None under the null); and
        ``coverage`` of the 95 % interval of that pair.

    Example:
        >>> rows = calibrate(np.random.default_rng(0), studies=50, differences=(0.0, 0.1))
        >>> rows[0]["low"] <= 0.05, rows[1]["power"] > 0.9
        (True, True)

    """
    rows = []
    for difference in differences:
        tallies = []
        # In blocks, as a thousand studies of float64 at once would fill the memory.
        for start in range(0, studies, 100):
            scores = simulate(
                rng,
                min(100, studies - start),
                variants,
                seeds,
                items,
                difference,
                seed_effects,
                seed_sd,
                interaction_sd,
            )
            tallies.append(_tally(scores, difference))
        false, found, covered = np.concatenate(tallies, axis=1).sum(-1)
        interval = stats.binomtest(int(false), studies).proportion_ci(method="exact")
        rows.append(
            {
                "difference": difference,
                "false_alarms": float(false / studies),
                "low": float(interval.low),
                "high": float(interval.high),
                "power": float(found / studies) if difference else None,
                "coverage": float(covered / studies),
            }
        )
    return rows


def _tally(scores: np.ndarray, difference: float) -> np.ndarray:
    """For each study: a false claim, the true claim, the interval holds the truth; (3, N)."""
    first, second = np.triu_indices(scores.shape[1], 1)
    pairs = crossed_differences(scores)
    mean, low, high, p = (
        getattr(pairs, name)[:, first, second] for name in ("mean", "low", "high", "p")
    )
    claimed = (holm(p) < 0.05) & ((low > 0) | (high < 0))
    true = (first == 0) & (mean > 0) & (difference > 0)
    false = (claimed & ~true).any(-1)
    found = claimed[:, 0] & (mean[:, 0] > 0)
    covered = (low[:, 0] <= difference) & (difference <= high[:, 0])
    return np.stack([false, found, covered])
