import io
import sys
import zipfile

import numpy as np
import pytest
from sklearn.compose import TransformedTargetRegressor
from sklearn.exceptions import NotFittedError
from sklearn.linear_model import Ridge
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, StandardScaler

import edgewise as ew
from edgewise.core import InputError, MissingExtraError
from edgewise.export import load_pipeline, save_pipeline
from edgewise.export.pipeline import ESTIMATORS

skops = pytest.importorskip("skops.io", reason="pip install 'edgewise[skops]'")

X = np.random.default_rng(0).uniform(0.5, 2, (60, 2))
Y = X[:, 0] / X[:, 1]


def regressor():
    return ew.KANRegressor(hidden=(1,), smoothness=(1e-2,), max_iter=1, random_state=0)


def doubled(X):
    return 2 * X


class Evil:
    """What pickle would run when it is loaded; skops names it instead."""

    def __init__(self):
        self.command = "exit 1"


@pytest.fixture(scope="module")
def fitted():
    return make_pipeline(StandardScaler(), regressor()).fit(X, Y)


@pytest.fixture
def path(fitted, tmp_path):
    return save_pipeline(fitted, tmp_path / "deep" / "p.skops")


def test_saving_changes_nothing(fitted, path):
    model = fitted[-1].model_
    assert np.array_equal(load_pipeline(path).predict(X), fitted.predict(X))
    assert fitted[-1].model_ is model


def test_an_estimator_alone_comes_back_with_all_it_knows(fitted, tmp_path):
    estimator = fitted[-1]
    again = load_pipeline(save_pipeline(estimator, tmp_path / "e.skops"))
    assert type(again) is ew.KANRegressor
    assert set(vars(again)) == set(vars(estimator))
    assert again.n_iter_ == estimator.n_iter_
    assert again.hidden == estimator.hidden
    # The table that formulas are found from.
    assert all(np.array_equal(a, b) for a, b in zip(again._data, estimator._data, strict=True))


def test_it_can_be_fitted_again(path):
    again = load_pipeline(path)
    assert np.isfinite(again.fit(X, -Y).predict(X)).all()


@pytest.mark.parametrize(
    ("pipeline", "kind"),
    [(make_pipeline(StandardScaler(), Ridge()), "Ridge"), (Ridge(), "Ridge"), (3, "int")],
)
def test_a_pipeline_that_ends_in_something_else_is_refused(pipeline, kind, tmp_path):
    with pytest.raises(InputError) as caught:
        save_pipeline(pipeline, tmp_path / "p.skops")
    assert str(caught.value) == (
        f"the pipeline must end in a KANRegressor or a KANClassifier, it ends in a {kind}"
    )


def test_one_that_is_not_fitted_is_refused(tmp_path):
    with pytest.raises(NotFittedError):
        save_pipeline(make_pipeline(StandardScaler(), regressor()), tmp_path / "p.skops")
    assert not list(tmp_path.iterdir())


def test_a_step_with_code_of_the_users_is_refused(tmp_path):
    pipeline = make_pipeline(FunctionTransformer(doubled), regressor()).fit(X, Y)
    with pytest.raises(InputError) as caught:
        save_pipeline(pipeline, tmp_path / "p.skops")
    assert str(caught.value) == (
        f"the pipeline holds {doubled.__module__}.doubled, which is not trusted: replace that step"
    )
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("thing", [Evil(), FunctionTransformer(doubled), {"a": Evil()}])
def test_a_file_that_holds_anything_else_is_refused(thing, tmp_path):
    path = tmp_path / "p.skops"
    skops.dump(thing, path)
    with pytest.raises(InputError, match=r"which is not trusted: it is not loaded$") as caught:
        load_pipeline(path)
    assert str(caught.value).startswith(f"{path} holds {__name__}.")


def test_what_skops_trusts_but_is_no_pipeline_is_refused(tmp_path):
    path = tmp_path / "p.skops"
    skops.dump(TransformedTargetRegressor(Ridge()), path)
    with pytest.raises(InputError, match="is damaged or no file of save_pipeline: "):
        load_pipeline(path)


@pytest.mark.parametrize(
    "damage",
    [
        lambda data: b"",
        lambda data: data[: len(data) // 2],
        lambda data: data[:-30],
        lambda data: b"\x80\x04K\x01." + data[5:40],
    ],
)
def test_a_damaged_file_is_named(path, damage):
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(InputError) as caught:
        load_pipeline(path)
    assert str(caught.value).startswith(f"{path} is damaged or no file of save_pipeline: ")


def test_any_flipped_bit_is_noticed_or_changes_nothing(fitted, path):
    whole, expected = path.read_bytes(), fitted.predict(X)
    for bit in np.random.default_rng(0).integers(8 * len(whole), size=40):
        damaged = bytearray(whole)
        damaged[bit // 8] ^= 1 << bit % 8
        path.write_bytes(damaged)
        try:
            again = load_pipeline(path)
        except InputError:
            continue
        assert np.array_equal(again.predict(X), expected), bit


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(InputError) as caught:
        load_pipeline(tmp_path / "none.skops")
    assert str(caught.value) == f"there is no file {tmp_path / 'none.skops'}"


def test_an_archive_that_unpacks_to_too_much_is_refused_unread(tmp_path, monkeypatch):
    monkeypatch.setattr("edgewise.export.pipeline.LARGEST", 1000)
    data = io.BytesIO()
    with zipfile.ZipFile(data, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("schema.json", b"0" * 5000)
    path = tmp_path / "bomb.skops"
    path.write_bytes(data.getvalue())
    with pytest.raises(InputError) as caught:
        load_pipeline(path)
    assert str(caught.value) == f"{path} unpacks to 5000 bytes, more than the 1000 allowed"


def test_the_trusted_names_are_those_of_the_estimators():
    kinds = (ew.KANClassifier, ew.KANRegressor)
    assert tuple(f"{kind.__module__}.{kind.__name__}" for kind in kinds) == ESTIMATORS


def test_without_the_package_the_extra_is_named(fitted, monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "skops.io", None)
    for use in (lambda: save_pipeline(fitted, tmp_path / "p"), lambda: load_pipeline("p")):
        with pytest.raises(MissingExtraError) as caught:
            use()
        assert str(caught.value) == "this needs the package 'skops': pip install 'edgewise[skops]'"
