"""Does what the page "parts of your own" says, in a folder of its own."""

import shlex
import sys

import pytest
from page_blocks import blocks

from edgewise.cli.main import run
from edgewise.core import read_json

PAGE = "own_parts.md"
NAMES = ("my_activation", "my_layer", "my_model", "my_analysis")
SHORT = ("--seeds", "1", "--epochs", "1", "--parameters", "150", "--workers", "0")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    path = tmp_path_factory.mktemp("reader")
    found = {block.splitlines()[0]: block for block in blocks(PAGE, "python")}
    for name, start in zip(
        NAMES, ('"""An activation', '"""Layers', '"""A model', '"""An analysis'), strict=True
    ):
        (text,) = [block for first, block in found.items() if first.startswith(start)]
        (path / f"{name}.py").write_text(text)
    return path


@pytest.fixture(autouse=True)
def _there(folder, monkeypatch):
    """In the reader's folder; his modules are forgotten afterwards."""
    monkeypatch.chdir(folder)
    monkeypatch.setattr(sys, "path", [str(folder), *sys.path])
    yield
    for name in NAMES:
        sys.modules.pop(name, None)


def shortened(block):
    program, *words = shlex.split(block)
    assert program == "edgewise"
    words = [word.replace("mlp,kan,", "mlp,") for word in words]
    at = words.index("--seeds")
    words[at : at + 2] = SHORT
    return words


def compare(place):
    words = shortened(blocks(PAGE, "bash")[place])
    assert run(words) == 0
    return words[words.index("--out") + 1]


def test_parts_of_ones_own_join_studies(folder, capsys):
    for place, root in ((0, "runs/hinges"), (1, "runs/beside")):
        assert compare(place) == root
        failures = [read_json(p)["traceback"] for p in (folder / root).rglob("failure.json")]
        assert not failures, failures[0]
    capsys.readouterr()
    names: dict = {}
    for block in blocks(PAGE, "python"):
        if not block.startswith('"""'):
            exec(compile(block, PAGE, "exec"), names)
    assert capsys.readouterr().out.strip() == "torch.Size([5, 8])"
    assert (folder / "functions.png").stat().st_size > 10_000
    hinges = (folder / "runs/hinges/report.html").read_text(encoding="utf-8")
    assert "layers.0: Hinges, 2 → " in drawn_titles(names["figure"])
    assert "learned_functions_hybrid" in hinges
    beside = folder / "runs/beside"
    assert (beside / "my_model_Beside_best.safetensors").exists()
    page = (beside / "report.html").read_text(encoding="utf-8")
    assert "How few edges matter" in page
    assert "This analysis failed" not in page


def drawn_titles(figure):
    return " ".join(part.get_suptitle() for part in figure.subfigs)


@pytest.mark.parametrize(
    ("command", "said"),
    [
        (
            "--study functions --models hybrid --num-layers 1 "
            '--model-options \'hybrid.kinds=["my_layer:Hings","linear"]\'',
            "the kind of layer 'my_layer:Hings' is not in the module 'my_layer': it has no 'Hings'",
        ),
        (
            "--study tabular --models my_modle:Beside",
            "the model of rows 'my_modle:Beside' names the module 'my_modle', which can't be "
            "imported; run from its folder or install it",
        ),
        (
            "--study tabular --models mlp --analyses few_edges",
            "the analysis 'few_edges' must be given as module:function",
        ),
    ],
)
def test_a_part_that_is_not_there_is_one_line(command, said, capsys):
    assert run(["compare", *shlex.split(command), "--workers", "0", "--out", "runs/no"]) == 2
    assert capsys.readouterr().err == f"edgewise: {said}\n"
