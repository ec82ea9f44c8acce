"""Statistics of paired comparisons: the same seeds and the same test items for every variant.

Letters: S seeds, I test items, d the paired differences, p a two-sided p value. Every function is
pure: arrays in, numbers out; what is random takes a generator. The comparison that claims rest on
is in `edgewise.studies.statistics.crossed`.
"""

import math
from functools import lru_cache

import numpy as np
from scipy import special, stats

from edgewise.core import InputError

EXACT_SEEDS = 20
"""Up to this many seeds `sign_flip` counts every sign vector instead of drawing some."""


def mean_interval(values: np.ndarray, level: float = 0.95) -> tuple[float, float, float]:
    """Mean over seeds and its Student t interval, x̄ ± t_(S-1) · s/√S.

    Args:
        values: One number a seed, (S,).
        level: Coverage.

    Returns:
        Mean, lower and upper end.

    Raises:
        InputError: If there are fewer than two values.

    Example:
        >>> [round(v, 3) for v in mean_interval(np.array([0.90, 0.92, 0.94]))]
        [0.92, 0.87, 0.97]

    """
    values = _paired(values)
    error = values.std(ddof=1) / math.sqrt(values.size) if np.ptp(values) else 0.0
    half = _quantile(level, values.size - 1) * float(error)
    mean = float(values.mean())
    return mean, mean - half, mean + half


def bootstrap_interval(
    d: np.ndarray, rng: np.random.Generator, level: float = 0.95, resamples: int = 9999
) -> tuple[float, float]:
    """Bias-corrected and accelerated bootstrap interval of the mean of paired differences.

    Efron (1987, "Better bootstrap confidence intervals"), as SciPy computes it. It is too narrow
    for a handful of seeds; the comparisons of this room rest on `crossed_difference` instead.

    Args:
        d: Paired differences, (S,).
        rng: Draws the resamples.
        level: Coverage.
        resamples: How many.

    Raises:
        InputError: If there are fewer than two differences.

    Example:
        >>> d = np.array([1.0, 2.0, 3.0, 4.0, 5.0, 6.0])
        >>> low, high = bootstrap_interval(d, np.random.default_rng(0))
        >>> 1.0 < low < 3.5 < high < 6.0
        True

    """
    d = _paired(d)
    if np.ptp(d) == 0:
        return float(d[0]), float(d[0])
    found = stats.bootstrap(
        (d,), np.mean, confidence_level=level, n_resamples=resamples, method="BCa", rng=rng
    ).confidence_interval
    return float(found.low), float(found.high)


def sign_flip(
    d: np.ndarray, rng: np.random.Generator | None = None, draws: int = 9999
) -> float | np.ndarray:
    """Permutation p of paired differences: how often random signs give as large a mean, |Σ ±d|.

    Exact over all 2^S sign vectors up to S = 20 (Fisher 1935, The Design of Experiments, §21);
    above that from ``draws`` random ones, with the observed one counted in: (1 + hits)/(1 + draws).

    Args:
        d: Differences, (S,), or several comparisons at once, (P, S).
        rng: Needed above 20 seeds.
        draws: How many sign vectors to draw above 20 seeds.

    Returns:
        p, a float, or (P,) for several comparisons.

    Raises:
        InputError: If there are fewer than two differences, or more than 20 and no generator.

    Example:
        >>> sign_flip(np.array([1.0, 2.0, 3.0])) == smallest_sign_flip_p(3)
        True

    """
    rows = np.atleast_2d(_paired(d))
    if rows.shape[-1] <= EXACT_SEEDS:
        p = np.array([_exact_sign_flip(row) for row in rows])
    elif rng is None:
        raise InputError(
            f"{rows.shape[-1]} seeds have too many sign vectors to count: pass rng to draw some"
        )
    else:
        signs = 2.0 * rng.integers(0, 2, (draws, rows.shape[-1])) - 1.0
        observed = np.abs(rows.sum(-1))[:, None]
        hits = (np.abs(rows @ signs.T) >= observed * (1 - 1e-9)).sum(-1)
        p = (1 + hits) / (1 + draws)
    return p if np.ndim(d) > 1 else float(p[0])


def _exact_sign_flip(d: np.ndarray) -> float:
    """Share of all sign vectors; the first sign stays, as ±d and its mirror image tie."""
    sums = d[:1]
    for value in d[1:]:
        sums = np.concatenate([sums + value, sums - value])
    return float((np.abs(sums) >= abs(d.sum()) - 1e-9 * np.abs(d).sum()).mean())


def smallest_sign_flip_p(seeds: int) -> float:
    """The smallest two-sided p that S paired seeds can give at all, 2^(1-S).

    Example:
        >>> smallest_sign_flip_p(5), smallest_sign_flip_p(6)
        (0.0625, 0.03125)

    """
    return min(1.0, 2.0 ** (1 - seeds))


def hedges_g(d: np.ndarray) -> float:
    """Effect size of paired differences, g_z = J(S-1) · mean(d)/std(d), free of small-sample bias.

    J(m) = Γ(m/2) / (√(m/2) · Γ((m-1)/2)), Hedges (1981, "Distribution theory for Glass's
    estimator of effect size"). Without spread it is 0 or ±∞.

    Raises:
        InputError: If there are fewer than two differences.

    Example:
        >>> round(hedges_g(np.array([1.0, 2.0, 3.0])), 4) == round(2 * 0.5642, 4)
        True

    """
    d = _paired(d)
    mean = float(d.mean())
    if np.ptp(d) == 0:
        return math.copysign(math.inf, mean) if mean else 0.0
    m = d.size - 1
    # Γ(0) is infinite: with two seeds the correction is 0, as nothing is known of the spread.
    j = math.exp(special.gammaln(m / 2) - special.gammaln((m - 1) / 2)) / math.sqrt(m / 2)
    return j * mean / float(d.std(ddof=1))


def superiority(d: np.ndarray) -> float:
    """Probability that the first does better on a seed, P(d > 0) + P(d = 0)/2.

    Vargha and Delaney (2000, "A critique and improvement of the CL common language effect size").

    Example:
        >>> superiority(np.array([0.1, 0.2, 0.0, -0.1]))
        0.625

    """
    d = np.asarray(d, dtype=float)
    return float((d > 0).mean() + 0.5 * (d == 0).mean())


def mcnemar(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Exact McNemar test, seed by seed, of two trained models on the same items.

    Of the n items that exactly one of the two gets right, k fall to the rarer side; under equal
    accuracy k is binomial, p = min(1, 2·P(Bin(n, ½) ≤ k)). McNemar (1947). It speaks of these two
    trained models, not of how another seed would do.

    Args:
        a: 0/1 correctness, (S, I).
        b: The same of the other variant.

    Returns:
        p of each seed, (S,).

    Example:
        >>> a, b = np.array([[1, 1, 1, 1, 1, 1, 0]]), np.array([[0, 0, 0, 0, 0, 0, 0]])
        >>> float(mcnemar(a, b)[0]) == 2 * 0.5**6
        True

    """
    a, b = np.asarray(a, dtype=bool), np.asarray(b, dtype=bool)
    only_a, only_b = (a & ~b).sum(-1), (b & ~a).sum(-1)
    return np.minimum(1.0, 2 * stats.binom.cdf(np.minimum(only_a, only_b), only_a + only_b, 0.5))


def holm(p: np.ndarray) -> np.ndarray:
    """Adjusted p values that keep the chance of any false alarm in the family.

    The k-th smallest of m becomes max over j ≤ k of min(1, (m - j + 1)·p_(j)). Holm (1979, "A
    simple sequentially rejective multiple test procedure").

    Args:
        p: (..., m); each row along the last dimension is a family, and may be empty.

    Example:
        >>> holm(np.array([0.01, 0.04, 0.03])).tolist()
        [0.03, 0.06, 0.06]

    """
    p = np.asarray(p, dtype=float)
    order = np.argsort(p, axis=-1, kind="stable")
    steps = np.arange(p.shape[-1], 0, -1) * np.take_along_axis(p, order, -1)
    adjusted = np.empty_like(p)
    np.put_along_axis(adjusted, order, np.maximum.accumulate(np.minimum(steps, 1.0), -1), -1)
    return adjusted


def expected_calibration_error(
    correct: np.ndarray, probability: np.ndarray, bins: int = 15
) -> float:
    """How far the stated probability of the answer is from how often it is right.

    ECE = Σ_b n_b/n · |accuracy_b - confidence_b| over equal bins of the probability; Guo et al.
    (2017, "On calibration of modern neural networks").

    Example:
        >>> expected_calibration_error(np.array([1, 1, 1, 0]), np.array([0.75] * 4))
        0.0

    """
    probability = np.asarray(probability, dtype=np.float64).ravel()
    which = np.minimum((probability * bins).astype(int), bins - 1)
    right = np.bincount(which, np.asarray(correct, dtype=np.float64).ravel(), minlength=bins)
    stated = np.bincount(which, probability, minlength=bins)
    return float(np.abs(right - stated).sum() / probability.size)


@lru_cache(maxsize=256)
def _quantile(level: float, dof: int) -> float:
    """Half-width of Student's interval in standard errors; SciPy takes 100 µs for it."""
    return float(stats.t.ppf(0.5 + level / 2, dof))


def _paired(d: np.ndarray) -> np.ndarray:
    """The values as floats, or an error when there is nothing to estimate a spread from."""
    d = np.asarray(d, dtype=float)
    if d.ndim < 1 or d.shape[-1] < 2:
        raise InputError(
            f"an uncertainty over seeds needs at least 2 of them, not {d.size}: run more seeds"
        )
    return d
