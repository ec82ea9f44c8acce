import copy
import pickle

import numpy as np
import pytest
from sklearn.base import clone
from sklearn.datasets import load_diabetes, load_iris
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils.estimator_checks import check_estimator

from edgewise.core import InputError
from edgewise.symbolic import KANClassifier, KANRegressor

QUICK = {"hidden": (2,), "smoothness": (1e-3,), "max_iter": 1}


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::sklearn.exceptions.SkipTestWarning")
@pytest.mark.parametrize("estimator", [KANRegressor(**QUICK), KANClassifier(**QUICK)])
def test_scikit_learn_s_own_checks(estimator):
    failed = [c for c in check_estimator(estimator, on_fail=None) if c["status"] == "failed"]
    assert failed == []


def test_a_formula_with_the_columns_names():
    pandas = pytest.importorskip("pandas")
    X = np.random.default_rng(0).uniform(0.5, 2, (150, 2))
    frame = pandas.DataFrame(X, columns=["mass", "radius"])
    y = np.stack([X[:, 0] / X[:, 1] ** 2, X[:, 0] + 1], axis=1)
    estimator = KANRegressor(**QUICK, random_state=0).fit(frame, y)
    assert [str(e) for e in estimator.formula_] == ["mass/radius**2", "mass + 1"]
    scope = {}
    exec(estimator.to_python(), scope)
    np.testing.assert_allclose(scope["formula_1"](*X.T), y[:, 0])
    assert estimator.to_latex().splitlines()[0] == r"\frac{mass}{radius^{2}}"


def test_names_that_are_no_python_names():
    X = np.random.default_rng(0).uniform(0.5, 2, (150, 2))
    estimator = KANRegressor(**QUICK, random_state=0).fit(X, 3 * X[:, 0] * X[:, 1])
    assert str(estimator.formula_) == "3*x1*x2"


def test_it_learns_and_repeats_itself():
    X, y = load_diabetes(return_X_y=True)
    first, second = (KANRegressor(random_state=0).fit(X[:300], y[:300]) for _ in range(2))
    assert first.score(X[300:], y[300:]) > 0.4
    np.testing.assert_array_equal(first.predict(X), second.predict(X))
    again = pickle.loads(pickle.dumps(copy.deepcopy(first)))
    np.testing.assert_array_equal(first.predict(X), again.predict(X))


def test_weights_count_as_repetition():
    source = np.random.default_rng(0)
    X, y = source.normal(size=(20, 2)), source.normal(size=20)
    weight = source.integers(0, 3, size=20)
    kwargs = {**QUICK, "random_state": 0}
    weighted = KANRegressor(**kwargs).fit(X, y, sample_weight=weight)
    repeated = KANRegressor(**kwargs).fit(X.repeat(weight, axis=0), y.repeat(weight))
    np.testing.assert_allclose(weighted.predict(X), repeated.predict(X), rtol=1e-6)


def test_three_classes():
    X, y = load_iris(return_X_y=True)
    estimator = KANClassifier(hidden=(3,), smoothness=(1e-3,), max_iter=2, random_state=0)
    estimator.fit(X[::2], y[::2])
    assert estimator.score(X[1::2], y[1::2]) > 0.9
    assert estimator.decision_function(X).shape == (150, 3)
    np.testing.assert_allclose(estimator.predict_proba(X).sum(1), 1)


def test_pipelines_and_grids():
    X = np.random.default_rng(0).normal(size=(60, 2))
    grid = {"kanregressor__hidden": [(1,), (2,)]}
    pipeline = make_pipeline(StandardScaler(), KANRegressor(**QUICK, random_state=0))
    search = GridSearchCV(pipeline, grid, cv=2).fit(X, X[:, 0] ** 2)
    assert search.best_score_ <= 1
    assert clone(search.best_estimator_[-1]).get_params()["smoothness"] == (1e-3,)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"hidden": (0,)}, "hidden must be whole numbers of at least 1, got (0,)"),
        (
            {"validation_fraction": 1.0},
            "validation_fraction must be at least 0 and below 1, got 1.0",
        ),
        ({"smoothness": ()}, "smoothness must be numbers that are not negative, got ()"),
        ({"max_iter": 0}, "max_iter must be at least 1, got 0"),
        ({"budget": 0}, "budget must be a positive number of CPU-seconds, got 0"),
    ],
)
def test_errors(options, message):
    with pytest.raises(InputError) as error:
        KANRegressor(**options).fit(np.ones((20, 1)), np.arange(20.0))
    assert str(error.value) == message


@pytest.mark.parametrize(
    ("X", "y", "message"),
    [
        (np.full((20, 1), np.nan), np.arange(20.0), "Input X contains NaN."),
        (np.ones((20, 1)), np.full(20, np.nan), "Input y contains NaN."),
        (np.array([["a"]] * 20), np.arange(20.0), "could not convert string to float: "),
        (
            np.ones((1, 1)),
            np.ones(1),
            "Found array with 1 sample(s) (shape=(1, 1)) while a minimum of 2 is required by "
            "KANRegressor.",
        ),
    ],
)
def test_bad_tables_are_refused(X, y, message):
    with pytest.raises(ValueError) as error:  # noqa: PT011, scikit-learn's own words follow
        KANRegressor(**QUICK).fit(X, y)
    assert str(error.value).startswith(message)


def test_an_unknown_function_is_refused_before_any_work():
    X = np.random.default_rng(0).normal(size=(20, 1))
    with pytest.raises(InputError, match=r"^unknown function 'sine': did you mean 'sin'"):
        KANRegressor(**QUICK, functions=["sine"]).fit(X, X[:, 0])


def test_no_formula_is_invented_for_a_target_that_is_none():
    X = np.random.default_rng(0).normal(size=(200, 2))
    y = np.random.default_rng(1).normal(size=200)
    estimator = KANRegressor(**QUICK, budget=0.5, random_state=0).fit(X, y)
    with pytest.raises(InputError, match=r"^nothing about y can be told from x: no formula"):
        _ = estimator.formula_
