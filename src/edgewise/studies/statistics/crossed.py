"""Comparing variants when both seeds and test items are samples: crossed random effects.

Letters: S seeds, I test items, V variants, D the differences of scores, p two-sided.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy import stats

from edgewise.core import InputError


@dataclass(frozen=True)
class Difference:
    """A mean difference with its uncertainty; the fields are floats, or arrays of one shape."""

    mean: Any
    standard_error: Any
    dof: Any
    low: Any
    high: Any
    p: Any


def crossed_difference(a: np.ndarray, b: np.ndarray, level: float = 0.95) -> Difference:
    """Mean difference of two variants when both seeds and test items are samples.

    With D = a - b and crossed random effects, D_si = μ + seed_s + item_i + (seed·item)_si,

        Var(mean D) = σ²_seed/S + σ²_item/I + σ²_si/(S·I).

    The variance of the S seed means divided by S, A, estimates the first and the last term; that
    of the I item means divided by I, B, the second and the last. The last is thus in both and is
    subtracted once, as C = MS_si/(S·I), but never below the larger part:
    V = max(A + B - C, A, B). The test is Student's t with Satterthwaite's degrees of freedom
    V² / (A²/(S-1) + B²/(I-1) + C²/((S-1)(I-1))): the quasi-F of Clark (1973, "The
    language-as-fixed-effect fallacy") with one degree of freedom above, Satterthwaite (1946).

    The training set is one and the same for all seeds, so this speaks of new seeds and new test
    items, not of new training data.

    Args:
        a: Scores of one variant, (S, I), for instance 1 where the answer is right and 0 elsewhere.
        b: Scores of the other on the same seeds and items, (S, I).
        level: Coverage of the interval.

    Returns:
        Mean, standard error, degrees of freedom, interval and p. Without any variance (identical
        variants, or a constant difference) the interval is the mean and p is 1 or 0.

    Raises:
        InputError: If the shapes differ, or there are fewer than two seeds or items.

    Example:
        >>> a = np.array([[1, 1, 1, 0], [1, 1, 0, 1], [1, 1, 1, 1]])
        >>> b = np.array([[1, 0, 0, 0], [1, 0, 0, 1], [1, 0, 1, 0]])
        >>> d = crossed_difference(a, b)
        >>> round(d.mean, 3), round(d.standard_error, 3), round(d.p, 3)
        (0.417, 0.21, 0.151)
        >>> crossed_difference(a, a).p
        1.0

    """
    a, b = np.asarray(a), np.asarray(b)
    if a.shape != b.shape:
        raise InputError(
            f"the scores of the two variants have the shapes {a.shape} and {b.shape}: "
            f"give both on the same seeds and the same items"
        )
    pairs = crossed_differences(np.stack([a, b]), level)
    return Difference(**{name: float(value[0, 1]) for name, value in vars(pairs).items()})


def crossed_mean(x: np.ndarray, level: float = 0.95) -> Difference:
    """Mean of one variant's scores (S, I) with the same uncertainty: `crossed_difference` from 0.

    Example:
        >>> x = np.array([[1, 1, 0], [1, 0, 0]])
        >>> crossed_mean(x).mean == float(x.mean())
        True

    """
    return crossed_difference(x, np.zeros_like(x), level)


def crossed_differences(scores: np.ndarray, level: float = 0.95) -> Difference:
    """`crossed_difference` of all pairs of variants at once, from three products of matrices.

    Every sum of squares of a - b is a² + b² - 2ab of sums over seeds, over items or over neither,
    so the pairs need the Gram matrices only: a thousand variants take seconds.

    Args:
        scores: (..., V, S, I); leading dimensions are independent studies.
        level: Coverage of the intervals.

    Returns:
        Arrays (..., V, V); entry (v, w) is about v - w.

    Raises:
        InputError: If there are fewer than two seeds or items.

    Example:
        >>> scores = np.array([[[1, 1, 0], [1, 0, 1]], [[1, 0, 0], [0, 0, 1]]])
        >>> pairs = crossed_differences(scores)
        >>> bool((pairs.mean == -pairs.mean.T).all() and (np.diag(pairs.p) == 1).all())
        True

    """
    scores = np.asarray(scores)
    if scores.ndim < 3 or min(scores.shape[-2:]) < 2:
        raise InputError(
            f"the scores have the shape {scores.shape}: a crossed comparison needs "
            f"(seeds, items) with at least 2 seeds and 2 items"
        )
    s, i = scores.shape[-2:]
    over_items = scores.sum(-1, dtype=np.float64)
    over_seeds = scores.sum(-2, dtype=np.float64)
    total = over_items.sum(-1)
    mean = (total[..., :, None] - total[..., None, :]) / (s * i)
    correction = mean**2 * (s * i)
    seed = _between(over_items, s) / i
    item = _between(over_seeds, i) / s
    raw = _squares_of_pairs(_gram(scores))
    both = _cut(raw - correction - seed - item, raw)
    a = seed / (s - 1) / (s * i)
    b = item / (i - 1) / (s * i)
    c = both / ((s - 1) * (i - 1)) / (s * i)
    variance = np.maximum(np.maximum(a, b), a + b - c)
    spread = a**2 / (s - 1) + b**2 / (i - 1) + c**2 / ((s - 1) * (i - 1))
    dof = np.divide(variance**2, spread, out=np.full_like(mean, s - 1.0), where=spread > 0)
    return _student(mean, np.sqrt(variance), dof, level)


def _between(sums: np.ndarray, groups: int) -> np.ndarray:
    """Σ_g (sum_g of D)² - (total of D)²/groups for all pairs, from each variant's sums."""
    raw = _squares_of_pairs(sums @ sums.swapaxes(-1, -2))
    total = sums.sum(-1)
    return _cut(raw - (total[..., :, None] - total[..., None, :]) ** 2 / groups, raw)


def _squares_of_pairs(gram: np.ndarray) -> np.ndarray:
    """|a - b|² for all pairs, from the products a·b."""
    own = np.diagonal(gram, axis1=-2, axis2=-1)
    return own[..., :, None] + own[..., None, :] - 2 * gram


def _gram(scores: np.ndarray, chunk: int = 2048) -> np.ndarray:
    """Products (..., V, V) summed over seeds and items, in chunks of items to save memory."""
    v = scores.shape[-3]
    gram = np.zeros((*scores.shape[:-3], v, v))
    for start in range(0, scores.shape[-1], chunk):
        part = scores[..., start : start + chunk].astype(np.float64)
        flat = part.reshape(*part.shape[:-2], -1)
        gram += flat @ flat.swapaxes(-1, -2)
    return gram


def _cut(squares: np.ndarray, scale: np.ndarray) -> np.ndarray:
    """Zero where only rounding is left, so that identical variants have exactly no variance."""
    return np.where(squares <= 1e-12 * scale, 0.0, squares)


def _student(mean: np.ndarray, error: np.ndarray, dof: np.ndarray, level: float) -> Difference:
    """Interval and two-sided p of Student's t; certain where the standard error is 0."""
    t = np.divide(np.abs(mean), error, out=np.zeros_like(mean), where=error > 0)
    p = np.where(error > 0, 2 * stats.t.sf(t, dof), np.where(mean == 0, 1.0, 0.0))
    half = stats.t.ppf(0.5 + level / 2, dof) * error
    return Difference(mean, error, dof, mean - half, mean + half, p)
