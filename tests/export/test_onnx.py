import json
import sys

import pytest
import torch

import edgewise as ew
from edgewise.core import InputError, MissingExtraError, RunError
from edgewise.export import onnx as _  # noqa: F401 - the function of the same name hides the file

file = sys.modules["edgewise.export.onnx"]
needed = pytest.importorskip("onnx", reason="pip install 'edgewise[export]'")


def small():
    return ew.models.MLP([2, 1])


def test_the_file_tells_what_it_is(tmp_path):
    steps = []
    path = ew.export.onnx(small(), tmp_path / "deep" / "m.onnx", on_step=steps.append)
    assert steps == [
        "tracing",
        "comparing with the model",
        "translating to ONNX",
        "comparing with onnxruntime",
    ]
    made = needed.load(path)
    assert [(e.domain, e.version) for e in made.opset_import] == [("", 20)]
    assert made.producer_name == "edgewise"
    assert made.graph.name == "MLP"
    assert json.loads(made.metadata_props[0].value) == {
        "class": "MLP",
        "opset": 20,
        "inputs": ["x"],
        "axes": [{"0": "batch"}],
    }
    dims = made.graph.input[0].type.tensor_type.shape.dim
    assert [d.dim_param or d.dim_value for d in dims] == ["batch", 2]
    assert list(path.parent.iterdir()) == [path]


@pytest.mark.slow
@pytest.mark.parametrize("opset", [18, 23])
def test_the_operator_set_can_be_asked_for(opset, tmp_path):
    path = ew.export.onnx(ew.models.KAN([2, 1]), tmp_path / "m.onnx", opset=opset)
    assert needed.load(path).opset_import[0].version == opset


@pytest.mark.parametrize(
    ("model", "options", "message"),
    [
        (small(), {"opset": 17}, "opset must lie between 18 and 23, got 17"),
        (
            small().bfloat16(),
            {},
            "ONNX is written in float32 or float64, got torch.bfloat16: use .float()",
        ),
        (
            torch.nn.Linear(2, 1),
            {},
            "Linear is traced with an example of its inputs: give one",
        ),
    ],
)
def test_what_can_not_be_written_is_refused(model, options, message, tmp_path):
    with pytest.raises(InputError) as caught:
        ew.export.onnx(model, tmp_path / "m.onnx", **options)
    assert str(caught.value) == message
    assert not list(tmp_path.iterdir())


def test_weights_beyond_protobufs_end_are_refused(monkeypatch, tmp_path):
    monkeypatch.setattr(file, "LARGEST", 8)
    with pytest.raises(InputError) as caught:
        ew.export.onnx(small(), tmp_path / "m.onnx")
    assert str(caught.value) == "the weights are 12 bytes, an ONNX file holds at most 8"


def test_a_file_that_says_something_else_is_not_written(monkeypatch, tmp_path):
    path = tmp_path / "m.onnx"
    path.write_text("old")
    model = small()
    monkeypatch.setattr(file, "_translated", lambda *arguments: b"")
    monkeypatch.setattr(file, "_runtime", lambda made: lambda tensors: [model(*tensors) + 1])
    with pytest.raises(RunError, match=r"^the ONNX file differs from the model by \S+ of its "):
        ew.export.onnx(model, path)
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("module", ["onnx", "onnxscript", "onnxruntime"])
def test_without_the_packages_the_extra_is_named(module, monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(MissingExtraError) as caught:
        ew.export.onnx(small(), tmp_path / "m.onnx")
    assert str(caught.value) == (
        f"this needs the package {module!r}: pip install 'edgewise[export]'"
    )
