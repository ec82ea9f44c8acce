"""The pages on landscapes and optimisers run, and so does the notebook; the committed one is whole."""

import json
import re

import matplotlib as mpl
import pytest
from page_blocks import DOCS, blocks

NOTEBOOK = DOCS / "notebooks" / "is_a_kan_convex.ipynb"


@pytest.mark.parametrize("page", ["landscape.md", "optim.md"])
def test_python_blocks_run(page, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    names: dict = {}
    for block in blocks(page, "python"):
        exec(compile(block, page, "exec"), names)


@pytest.fixture(scope="module")
def cells() -> list[dict]:
    return json.loads(NOTEBOOK.read_text(encoding="utf-8"))["cells"]


@pytest.mark.slow
def test_the_notebook_runs_with_a_tiny_budget(cells, tmp_path, monkeypatch, capsys):
    """In this process: a kernel takes longer to start than the cells to run."""
    plt = pytest.importorskip("matplotlib.pyplot")
    mpl.use("agg")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("EDGEWISE_NOTEBOOK_BUDGET", "tiny")
    monkeypatch.setattr(plt, "show", lambda: plt.close("all"))
    names: dict = {}
    with mpl.rc_context():
        for place, cell in enumerate(cells):
            if cell["cell_type"] == "code":
                exec(compile("".join(cell["source"]), f"cell {place}", "exec"), names)
    said = capsys.readouterr().out
    assert "densities_kan.pdf: 4 pages" in said
    apart = float(re.search(r"the dense one: at most (\S+)", said).group(1))
    assert apart < 1e-6
    assert (tmp_path / "runs" / "is_a_kan_convex_tiny" / "densities_mlp.pdf").stat().st_size > 1000


def test_the_committed_one_was_executed(cells):
    code = [cell for cell in cells if cell["cell_type"] == "code"]
    assert [cell["execution_count"] for cell in code] == list(range(1, len(code) + 1))
    outputs = [output for cell in code for output in cell["outputs"]]
    assert not [o for o in outputs if o["output_type"] == "error" or o.get("name") == "stderr"]
    assert sum("image/png" in output.get("data", {}) for output in outputs) >= 7
    text = "".join("".join(output.get("text", "")) for output in outputs)
    assert "densities_kan.pdf: 50 pages" in text
    assert text.count("not convex along the line") == 2


def test_the_committed_one_is_small_and_names_no_place_of_the_machine(cells):
    assert NOTEBOOK.stat().st_size < 1_000_000
    for cell in cells:
        for output in cell.get("outputs", []):
            output.get("data", {}).pop("image/png", None)
    assert re.findall(r"(?:/work|/tmp|/home|/root|/Users)[\w/]*", json.dumps(cells)) == []
