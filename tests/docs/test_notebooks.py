"""The notebook runs from top to bottom, and the committed one is whole."""

import json
import re

import pytest
from page_blocks import DOCS

NOTEBOOK = DOCS / "notebooks" / "event_mnist_kmote.ipynb"


@pytest.fixture(scope="module")
def committed() -> dict:
    return json.loads(NOTEBOOK.read_text(encoding="utf-8"))


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
    assert "predictions equal to the last bit" in said(notebook)
    left = {path.name for path in (tmp_path / "runs" / "event_mnist_kmote_tiny").iterdir()}
    assert left == {"checkpoint.safetensors", "history.jsonl", "log.csv", "model.safetensors"}


def test_the_committed_one_was_executed_on_mnist(committed):
    cells = [cell for cell in committed["cells"] if cell["cell_type"] == "code"]
    assert [cell["execution_count"] for cell in cells] == list(range(1, len(cells) + 1))
    outputs = [output for cell in cells for output in cell["outputs"]]
    assert not [output for output in outputs if output["output_type"] == "error"]
    assert sum("image/png" in output.get("data", {}) for output in outputs) >= 7
    assert "MNIST handwritten digits, 28 × 28" in said(committed)


def test_the_committed_one_is_small_and_names_no_place_of_the_machine(committed):
    assert NOTEBOOK.stat().st_size < 1_000_000
    # Pictures are base64, where any four letters may occur.
    for cell in committed["cells"]:
        for output in cell.get("outputs", []):
            output.get("data", {}).pop("image/png", None)
    places = re.findall(
        r"(?:/work|/tmp|/home|/root|/Users|[A-Z]:\\\\)[\w/]*", json.dumps(committed)
    )
    assert places == []


def said(notebook: dict) -> str:
    """All text that the cells wrote."""
    outputs = [output for cell in notebook["cells"] for output in cell.get("outputs", [])]
    texts = [output.get("text") or output.get("data", {}).get("text/plain") for output in outputs]
    return "\n".join("".join(text) for text in texts if text)
