import itertools
import math

import numpy as np
import pytest
from scipy import stats
from statsmodels.stats.contingency_tables import mcnemar as mcnemar_of_statsmodels
from statsmodels.stats.multitest import multipletests

from edgewise.core import InputError
from edgewise.studies.statistics import (
    bootstrap_interval,
    crossed_difference,
    crossed_differences,
    crossed_mean,
    expected_calibration_error,
    hedges_g,
    holm,
    mcnemar,
    mean_interval,
    sign_flip,
    smallest_sign_flip_p,
    superiority,
)


def slow_crossed(a, b, level=0.95):
    """The textbook's two-way table without replication, cell by cell."""
    d = np.asarray(a, float) - np.asarray(b, float)
    s, i = d.shape
    mean, of_seed, of_item = d.mean(), d.mean(1), d.mean(0)
    residual = sum(
        (d[r, c] - of_seed[r] - of_item[c] + mean) ** 2 for r in range(s) for c in range(i)
    )
    seed = np.var(of_seed, ddof=1) / s
    item = np.var(of_item, ddof=1) / i
    both = residual / ((s - 1) * (i - 1)) / (s * i)
    variance = max(seed + item - both, seed, item)
    dof = variance**2 / (seed**2 / (s - 1) + item**2 / (i - 1) + both**2 / ((s - 1) * (i - 1)))
    error = math.sqrt(variance)
    half = stats.t.ppf(0.5 + level / 2, dof) * error
    p = 2 * stats.t.sf(abs(mean) / error, dof)
    return mean, error, dof, mean - half, mean + half, p


@pytest.mark.parametrize(("seeds", "items"), [(2, 2), (3, 63), (10, 100)])
@pytest.mark.parametrize("binary", [True, False])
def test_crossed_difference_is_the_textbooks(seeds, items, binary):
    rng = np.random.default_rng(seeds * items)
    a, b = rng.normal(size=(2, seeds, items))
    if binary:
        a, b = (a > -1).astype(np.uint8), (b > 0).astype(np.uint8)
    found = crossed_difference(a, b, level=0.9)
    np.testing.assert_allclose(list(vars(found).values()), slow_crossed(a, b, 0.9), rtol=1e-9)


def test_all_pairs_at_once_are_the_pairs_one_by_one():
    rng = np.random.default_rng(0)
    # More items than a chunk of the Gram matrix holds.
    scores = (rng.random((2, 4, 5, 2500)) < 0.8).astype(np.uint8)
    pairs = crossed_differences(scores)
    for study, v, w in itertools.product(range(2), range(4), range(4)):
        if v != w:
            one = slow_crossed(scores[study, v], scores[study, w])
            many = [value[study, v, w] for value in vars(pairs).values()]
            np.testing.assert_allclose(many, one, rtol=1e-8)


def test_swapping_variants_turns_the_sign_only():
    rng = np.random.default_rng(1)
    a, b = rng.random((2, 6, 40)) < 0.7
    one, other = crossed_difference(a, b), crossed_difference(b, a)
    assert (one.mean, one.low, one.p) == (-other.mean, -other.high, other.p)


def test_no_variance():
    rng = np.random.default_rng(2)
    a = rng.random((4, 30))
    same = crossed_difference(a, a)
    assert (same.mean, same.low, same.high, same.p) == (0.0, 0.0, 0.0, 1.0)
    shifted = crossed_difference(np.ones((4, 30)), np.zeros((4, 30)))
    assert (shifted.mean, shifted.low, shifted.high, shifted.p) == (1.0, 1.0, 1.0, 0.0)


def test_only_seeds_vary_gives_the_paired_t_test():
    rng = np.random.default_rng(3)
    d = rng.normal(0.1, 1, 8)
    a = np.repeat(d[:, None], 20, 1)
    found = crossed_difference(a, np.zeros_like(a))
    expected = stats.ttest_1samp(d, 0)
    assert found.p == pytest.approx(expected.pvalue, rel=1e-9)
    assert found.dof == pytest.approx(7)


def test_crossed_mean_of_one_variant():
    x = np.random.default_rng(4).random((5, 30)) < 0.7
    found = crossed_mean(x.astype(float))
    assert found.mean == pytest.approx(x.mean())
    assert found.low < found.mean < found.high


def test_mean_interval_is_scipys():
    values = np.array([0.91, 0.93, 0.90, 0.97])
    expected = stats.ttest_1samp(values, 0).confidence_interval(0.9)
    assert mean_interval(values, 0.9) == pytest.approx((values.mean(), *expected), rel=1e-12)
    assert mean_interval(np.array([0.3, 0.3])) == (0.3, 0.3, 0.3)


@pytest.mark.parametrize("seeds", [2, 5, 9])
def test_sign_flip_counts_every_sign_vector(seeds):
    d = np.random.default_rng(seeds).normal(0.3, 1, seeds)
    sums = [abs(np.dot(signs, d)) for signs in itertools.product((1, -1), repeat=seeds)]
    expected = np.mean(np.array(sums) >= abs(d.sum()) - 1e-12)
    assert sign_flip(d) == pytest.approx(expected, abs=1e-15)


def test_sign_flip_counts_ties():
    assert sign_flip(np.array([0.1, 0.2, -0.3])) == 1.0
    assert sign_flip(np.zeros(4)) == 1.0


@pytest.mark.parametrize("seeds", [3, 6, 10])
def test_the_smallest_sign_flip_p_is_reached(seeds):
    assert sign_flip(np.arange(1.0, seeds + 1)) == smallest_sign_flip_p(seeds) == 2 / 2**seeds


def test_sign_flip_by_drawing_agrees_with_counting():
    d = np.random.default_rng(5).normal(0.4, 1, (3, 24))
    drawn = sign_flip(d, np.random.default_rng(0), draws=20_000)
    assert drawn.shape == (3,)
    for row, p in zip(d, drawn, strict=True):
        exact = stats.permutation_test(
            (row,), np.mean, permutation_type="samples", n_resamples=20_000, rng=1
        ).pvalue
        assert p == pytest.approx(exact, abs=4 * math.sqrt(exact / 20_000) + 1e-3)


def test_hedges_g_is_unbiased():
    rng = np.random.default_rng(6)
    for seeds in (4, 8):
        draws = [hedges_g(row) for row in rng.normal(0.5, 1, (4000, seeds))]
        assert np.mean(draws) == pytest.approx(0.5, abs=4 * np.std(draws) / math.sqrt(4000))


def test_hedges_g_without_spread():
    assert hedges_g(np.zeros(3)) == 0.0
    assert hedges_g(np.full(3, 0.1)) == math.inf
    assert hedges_g(np.full(3, -0.1)) == -math.inf


def test_superiority_and_its_mirror_image():
    d = np.array([0.1, -0.2, 0.0, 0.3])
    assert superiority(d) == 0.625
    assert superiority(-d) == 1 - superiority(d)


def test_mcnemar_is_that_of_statsmodels():
    a, b = np.random.default_rng(7).random((2, 4, 50)) < np.array([0.9, 0.7])[:, None, None]
    for row, p in enumerate(mcnemar(a, b)):
        table = [[(x & y).sum() for y in (b[row], ~b[row])] for x in (a[row], ~a[row])]
        assert p == pytest.approx(mcnemar_of_statsmodels(table, exact=True).pvalue, rel=1e-12)
    assert mcnemar(a, a).tolist() == [1.0] * 4


@pytest.mark.parametrize("count", [0, 1, 2, 63])
def test_holm_is_that_of_statsmodels(count):
    p = np.random.default_rng(count).random(count) ** 4
    expected = multipletests(p, method="holm")[1] if count else p
    np.testing.assert_allclose(holm(p), expected, rtol=1e-12)


def test_holm_takes_rows_as_families():
    p = np.random.default_rng(8).random((3, 6)) ** 3
    np.testing.assert_array_equal(holm(p), np.stack([holm(row) for row in p]))
    assert p.max() <= 1


def test_bootstrap_interval_holds_the_mean_and_repeats():
    d = np.random.default_rng(9).normal(1, 1, 30)
    one = bootstrap_interval(d, np.random.default_rng(0), resamples=999)
    assert one == bootstrap_interval(d, np.random.default_rng(0), resamples=999)
    t = mean_interval(d)
    np.testing.assert_allclose(one, t[1:], atol=0.15)
    assert bootstrap_interval(np.full(3, 2.0), np.random.default_rng(0)) == (2.0, 2.0)


def test_expected_calibration_error_bin_by_bin():
    rng = np.random.default_rng(10)
    probability = rng.random(500)
    correct = rng.random(500) < probability**2
    error = 0.0
    for low in np.arange(15) / 15:
        inside = (probability >= low) & (probability < low + 1 / 15)
        if inside.any():
            gap = correct[inside].mean() - probability[inside].mean()
            error += inside.mean() * abs(gap)
    assert expected_calibration_error(correct, probability) == pytest.approx(error, rel=1e-9)
    assert expected_calibration_error(np.ones(3), np.ones(3)) == 0.0


@pytest.mark.parametrize(
    ("call", "text"),
    [
        (
            lambda: crossed_difference(np.ones((2, 3)), np.ones((3, 3))),
            "the scores of the two variants have the shapes (2, 3) and (3, 3): "
            "give both on the same seeds and the same items",
        ),
        (
            lambda: crossed_differences(np.ones((2, 1, 30))),
            "the scores have the shape (2, 1, 30): a crossed comparison needs (seeds, items) "
            "with at least 2 seeds and 2 items",
        ),
        (
            lambda: mean_interval(np.array([0.5])),
            "an uncertainty over seeds needs at least 2 of them, not 1: run more seeds",
        ),
        (
            lambda: sign_flip(np.ones(21)),
            "21 seeds have too many sign vectors to count: pass rng to draw some",
        ),
    ],
)
def test_messages(call, text):
    with pytest.raises(InputError) as caught:
        call()
    assert str(caught.value) == text
