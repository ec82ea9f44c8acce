"""``edgewise export``, as it is typed."""

import pytest
import torch

import edgewise as ew
from edgewise.cli.main import run


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    path = tmp_path_factory.mktemp("saved") / "m.safetensors"
    return ew.save(ew.models.MLP([2, 1]), path, {"test": {"accuracy": 0.5}, "dataset": "digits"})


def export(saved, form, out, *rest):
    return run(["export", str(saved), "--format", form, "--out", str(out), *rest])


@pytest.mark.parametrize(
    ("form", "name"),
    [
        pytest.param("onnx", "m.onnx", marks=pytest.mark.slow),
        ("program", "m.pt2"),
        ("mlx", "m_mlx.safetensors"),
    ],
)
def test_a_file_is_written(saved, form, name, tmp_path, capsys):
    if form == "onnx":
        pytest.importorskip("onnxruntime", reason="pip install 'edgewise[export]'")
    out = tmp_path / name
    assert export(saved, form, out) == 0
    said = capsys.readouterr()
    assert said.out == f"written: {out}\n"
    assert "Traceback" not in said.err
    assert [path.name for path in tmp_path.iterdir()] == [name]


def test_a_folder_for_the_hub_has_a_card_with_what_the_notes_say(saved, tmp_path, capsys):
    assert export(saved, "hub-folder", tmp_path / "kan", "--licence", "mit") == 0
    card = (tmp_path / "kan" / "README.md").read_text(encoding="utf-8")
    assert "| accuracy | 0.5 |" in card
    assert "Trained on `digits`." in card
    assert 'license: "mit"' in card
    x = torch.rand(3, 2)
    again = ew.export.from_pretrained(tmp_path / "kan")
    assert torch.equal(again(x), ew.load(saved)(x))


@pytest.mark.parametrize(
    ("form", "out", "rest", "message"),
    [
        ("mlx", "x", ["--opset", "20"], "--opset goes with --format onnx, not with mlx"),
        (
            "onnx",
            "x",
            ["--licence", "mit"],
            "--licence goes with --format hub-folder, not with onnx",
        ),
        ("onnx", ".", [], "--out {out} is a folder; name a file"),
        ("hub-folder", "file", [], "--out {out} is a file; hub-folder writes a folder"),
        ("program", "x", [], "the file of a traced program ends in .pt2, got {out}"),
        ("onnx", "x", ["--opset", "9"], "opset must lie between 18 and 23, got 9"),
    ],
)
def test_what_makes_no_sense_is_one_line(saved, form, out, rest, message, tmp_path, capsys):
    (tmp_path / "file").touch()
    assert export(saved, form, tmp_path / out, *rest) == 2
    assert capsys.readouterr().err == f"edgewise: {message.format(out=tmp_path / out)}\n"
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_a_missing_model_is_one_line(tmp_path, capsys):
    assert export(tmp_path / "none", "mlx", tmp_path / "x") == 2
    assert capsys.readouterr().err == f"edgewise: there is no file {tmp_path / 'none'}\n"
