"""The notebook "hello, KAN" runs from top to bottom and ends in the law; the committed one is whole."""

import json
import re

import pytest
from page_blocks import DOCS

NOTEBOOK = DOCS / "notebooks" / "hello_kan.ipynb"


@pytest.fixture(scope="module")
def committed() -> dict:
    return json.loads(NOTEBOOK.read_text(encoding="utf-8"))


def said(notebook: dict) -> str:
    """All text that the cells wrote."""
    outputs = [output for cell in notebook["cells"] for output in cell.get("outputs", [])]
    texts = [output.get("text") or output.get("data", {}).get("text/plain") for output in outputs]
    return "\n".join("".join(text) for text in texts if text)


def check_story(text: str) -> None:
    """What the words of the notebook lean on."""
    assert "widths [2, 5, 1] -> [2, 1, 1]" in text
    assert "[['sin', 'x^2']] [['spline']]" in text
    functions = re.findall(r"^\(\d, 0, \d\) (\S+) missed", text, flags=re.MULTILINE)
    assert functions == ["sin", "x^2", "exp"]
    by_hand = float(re.search(r"with exp, after \d+ steps:  (\S+)", text).group(1))
    gaussian = float(re.search(r"a Gaussian: mean squared error (\S+)", text).group(1))
    assert by_hand < 1e-25 < 1e-10 < gaussian
    # Once by tidy, once as the estimator's formula_.
    assert text.count("exp(x2**2 + sin(pi*x1))") == 2
    assert float(re.search(r"largest relative error .*: (\S+)", text).group(1)) < 1e-12


@pytest.mark.slow
def test_it_runs_with_a_tiny_budget(tmp_path, monkeypatch):
    nbformat = pytest.importorskip("nbformat", reason="nbformat is not installed")
    nbclient = pytest.importorskip("nbclient", reason="nbclient is not installed")
    pytest.importorskip("ipykernel", reason="ipykernel is not installed")
    monkeypatch.setenv("EDGEWISE_NOTEBOOK_BUDGET", "tiny")
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    client = nbclient.NotebookClient(
        notebook, timeout=120, resources={"metadata": {"path": str(tmp_path)}}
    )
    client.execute()
    check_story(said(notebook))
    assert list(tmp_path.iterdir()) == []


def test_the_committed_one_was_executed(committed):
    cells = [cell for cell in committed["cells"] if cell["cell_type"] == "code"]
    assert [cell["execution_count"] for cell in cells] == list(range(1, len(cells) + 1))
    outputs = [output for cell in cells for output in cell["outputs"]]
    assert not [output for output in outputs if output["output_type"] == "error"]
    assert sum("image/png" in output.get("data", {}) for output in outputs) >= 7
    check_story(said(committed))


def test_the_committed_one_is_small_and_names_no_place_of_the_machine(committed):
    assert NOTEBOOK.stat().st_size < 1_000_000
    for cell in committed["cells"]:
        for output in cell.get("outputs", []):
            output.get("data", {}).pop("image/png", None)
    places = re.findall(r"(?:/work|/tmp|/home|/root|/Users)[\w/]*", json.dumps(committed))
    assert places == []
