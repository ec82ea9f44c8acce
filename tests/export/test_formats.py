"""Every cell of the table of formats, in both directions: what goes there, and what is refused."""

import re
from pathlib import Path

import numpy as np
import pytest
import torch
from format_cases import CASES, made
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

import edgewise as ew
from edgewise.core import InputError
from edgewise.export.example import inputs_for
from edgewise.export.formats import FORMATS, MODELS, REFUSALS, table

ESTIMATORS = "KANRegressor, KANClassifier"
PAGE = Path(__file__).parents[2] / "docs" / "formats.md"

# Tracing a model takes seconds: these cells stand for the others in the quick tests.
QUICK = {
    ("KAN", "onnx"),
    ("MLP", "program"),
    ("KAF", "program"),
    ("KernelActivation", "program"),
    ("TextClassifier", "program"),
}


def cells(*formats):
    """A row, one of its variants and a format; the first variant is quick."""
    found = []
    for row, goes in MODELS.items():
        for place, variant in enumerate(CASES.get(row, ())):
            for form in formats:
                if form not in goes:
                    continue
                traced = form in ("program", "onnx")
                slow = traced and (place or (row, form) not in QUICK)
                marks = [pytest.mark.slow] if slow else []
                name = f"{row}-{variant}-{form}"
                found.append(pytest.param(row, variant, form, marks=marks, id=name))
    return found


def example(model):
    """Inputs to trace with, for what `inputs_for` does not know."""
    return torch.rand(2, 2) if type(model).__name__ == "SymbolicKAN" else None


def check(model, run, sizes):
    """The format's numbers are the model's, to 1e-5 of the largest, at sizes of its own."""
    inputs = inputs_for(model, example(model))
    for own in sizes:
        named = {name: own[name] for name in inputs.sizes()}
        tensors = inputs.resized(**named)
        with torch.no_grad():
            expected, found = model(*tensors), run(tensors)
        assert found.dtype == expected.dtype
        atol = 1e-5 * float(expected.abs().max())
        torch.testing.assert_close(found, expected, rtol=0, atol=atol)


SIZES = [{"batch": 2, "length": 4}, {"batch": 1, "length": 1}, {"batch": 5, "length": 9}]


def test_every_row_has_a_case():
    assert list(CASES) == [row for row in MODELS if row != ESTIMATORS]
    assert {form for goes in MODELS.values() for form in goes} == set(FORMATS) == set(REFUSALS)


@pytest.mark.parametrize(("row", "variant", "form"), cells("file", "folder"))
def test_weights_and_recipe_make_the_model_again(row, variant, form, tmp_path):
    model = made(row, variant)
    if form == "file":
        again = ew.load(ew.save(model, tmp_path / "model.safetensors"))
    else:
        again = ew.export.from_pretrained(ew.export.save_pretrained(model, tmp_path))
    check(model, lambda tensors: again.eval()(*tensors), SIZES)


@pytest.mark.parametrize(("row", "variant", "form"), cells("program"))
def test_a_traced_program_says_the_same(row, variant, form, tmp_path):
    model, path = made(row, variant), tmp_path / "model.pt2"
    ew.export.program(model, example(model), path)
    graph = torch.export.load(path).module()
    check(model, lambda tensors: graph(*tensors), SIZES)


@pytest.mark.parametrize(("row", "variant", "form"), cells("onnx"))
def test_onnxruntime_says_the_same(row, variant, form, tmp_path):
    onnxruntime = pytest.importorskip("onnxruntime", reason="pip install 'edgewise[export]'")
    model = made(row, variant)
    path = ew.export.onnx(model, tmp_path / "model.onnx", example(model))
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(path, options)
    names = [entry.name for entry in session.get_inputs()]

    def run(tensors):
        feed = {name: t.numpy() for name, t in zip(names, tensors, strict=True)}
        return torch.from_numpy(session.run(None, feed)[0])

    check(model, run, SIZES)


@pytest.mark.parametrize(("row", "variant", "form"), cells("mlx"))
def test_mlx_says_the_same(row, variant, form, tmp_path):
    mx = pytest.importorskip("mlx.core", reason="MLX is not installed: pip install 'edgewise[mlx]'")
    model = made(row, variant).float()
    twin = ew.export.to_mlx(ew.export.from_mlx(ew.export.mlx(model, tmp_path / "m.safetensors")))
    check(model, lambda tensors: torch.tensor(twin(mx.array(tensors[0].numpy())).tolist()), SIZES)


# A no is tested too


def refused(form, model, tmp_path):
    if form == "mlx":
        pytest.importorskip("mlx.core", reason="MLX is not installed: pip install 'edgewise[mlx]'")
        return ew.export.to_mlx(model)
    return {
        "file": lambda: ew.save(model, tmp_path / "m"),
        "folder": lambda: ew.export.save_pretrained(model, tmp_path / "m"),
        "program": lambda: ew.export.program(model),
        "onnx": lambda: ew.export.onnx(model, tmp_path / "m"),
        "skops": lambda: ew.export.save_pipeline(model, tmp_path / "m"),
    }[form]()


@pytest.mark.parametrize("form", FORMATS)
@pytest.mark.parametrize("row", MODELS)
def test_what_does_not_go_there_is_refused(row, form, tmp_path):
    if form in MODELS[row]:
        return
    model = ew.KANRegressor() if row == ESTIMATORS else made(row, next(iter(CASES[row])))
    kinds = {type(module).__name__ for module in getattr(model, "modules", lambda: [model])()}
    with pytest.raises(InputError) as caught:
        refused(form, model, tmp_path)
    assert any(str(caught.value).startswith(REFUSALS[form].format(kind=kind)) for kind in kinds)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("kind", [ew.KANRegressor, ew.KANClassifier])
def test_a_pipeline_comes_back_from_its_file(kind, tmp_path):
    X = np.random.default_rng(0).uniform(0.5, 2, (60, 2))
    y = X[:, 0] if kind is ew.KANRegressor else np.where(X[:, 0] > 1, "high", "low")
    estimator = kind(hidden=(1,), smoothness=(1e-2,), max_iter=1, random_state=0)
    pipeline = make_pipeline(StandardScaler(), estimator).fit(X, y)
    again = ew.export.load_pipeline(ew.export.save_pipeline(pipeline, tmp_path / "p.skops"))
    assert np.array_equal(again.predict(X), pipeline.predict(X))
    assert again[-1].get_params() == pipeline[-1].get_params()


def test_the_page_prints_the_table():
    assert table() in PAGE.read_text(encoding="utf-8"), (
        "print edgewise.export.table() into the page"
    )


def test_the_page_names_functions_that_are_there():
    for text in FORMATS.values():
        for name in re.findall(r"`(\w+)`", text):
            assert hasattr(ew.export, name), name
