import math

import numpy as np
import pytest

from edgewise.core import InputError
from edgewise.studies.statistics.calibration import SEED_EFFECTS, calibrate, simulate


def ceiling(studies):
    """5 % and three standard errors of the simulation itself."""
    return 0.05 + 3 * math.sqrt(0.05 * 0.95 / studies)


def test_the_planted_difference_is_the_true_one():
    for kind in SEED_EFFECTS:
        right = simulate(
            np.random.default_rng(0), 400, items=100, difference=0.03, seed_effects=kind
        )
        of_variant = right.mean((0, 2, 3))
        error = right.mean((2, 3)).std(0).max() / math.sqrt(400)
        assert of_variant[0] - of_variant[1:].mean() == pytest.approx(0.03, abs=5 * error)


def test_false_alarms_and_power_quickly():
    null, planted = calibrate(np.random.default_rng(1), studies=200, differences=(0.0, 0.05))
    assert null["false_alarms"] <= ceiling(200)
    assert null["low"] <= null["false_alarms"] <= null["high"]
    assert null["power"] is None
    assert planted["power"] > 0.5
    assert planted["false_alarms"] <= ceiling(200)
    assert min(null["coverage"], planted["coverage"]) > 0.9


def test_a_test_without_the_item_or_the_adjustment_would_be_caught():
    # The ceiling can fail: the plain t test over all answers of a pair, taken for independent.
    right = simulate(np.random.default_rng(2), 200, seed_sd=0.03).astype(float)
    d = right[:, 0] - right[:, 1]
    flat = d.reshape(200, -1)
    t = flat.mean(1) / (flat.std(1, ddof=1) / math.sqrt(flat.shape[1]))
    assert (np.abs(t) > 1.96).mean() > ceiling(200)


@pytest.mark.slow
@pytest.mark.parametrize("seed_effects", SEED_EFFECTS)
@pytest.mark.parametrize("seeds", [6, 10])
@pytest.mark.parametrize("seed_sd", [0.003, 0.01, 0.02])
def test_false_alarms_of_a_thousand_studies(seed_effects, seeds, seed_sd):
    (null,) = calibrate(
        np.random.default_rng(3),
        studies=1000,
        differences=(0.0,),
        seeds=seeds,
        seed_effects=seed_effects,
        seed_sd=seed_sd,
    )
    assert null["false_alarms"] <= ceiling(1000)
    assert null["coverage"] >= 0.95 - 3 * math.sqrt(0.05 * 0.95 / 1000)


@pytest.mark.slow
def test_power_grows_with_seeds_and_difference():
    power = {
        seeds: [
            row["power"]
            for row in calibrate(np.random.default_rng(4), 1000, (0.02, 0.04), seeds=seeds)
        ]
        for seeds in (6, 10)
    }
    assert power[6][0] < power[6][1]
    assert power[6][0] < power[10][0]
    assert power[10][1] > 0.9


def test_unknown_seed_effects():
    with pytest.raises(InputError) as caught:
        simulate(np.random.default_rng(0), 1, seed_effects="skewd")
    assert str(caught.value) == (
        "unknown seed effects 'skewd': did you mean 'skewed'? (known: normal, skewed, unequal)"
    )
