"""Does what the page "compare your own" says, in a folder of its own."""

import json
import os
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from page_blocks import ROOT, blocks

from edgewise.cli.main import run
from edgewise.core import read_json

PAGE = "compare_your_own.md"
SHORT = ("--seeds", "2", "--epochs", "1", "--batch-size", "16")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The reader's folder: the page's files, and events."""
    path = tmp_path_factory.mktemp("reader")
    encoder, _, model, analysis = blocks(PAGE, "python")
    (path / "my_encoder.py").write_text(encoder)
    (path / "my_model.py").write_text(model)
    (path / "my_analysis.py").write_text(analysis)
    rng = np.random.default_rng(0)
    rows = ["sequence,time,label"]
    for visitor in range(40):
        label = ("stays", "leaves")[visitor % 2]
        times = np.cumsum(rng.exponential(1 + 3 * (visitor % 2), size=rng.integers(2, 9)))
        rows += [f"visitor-{visitor},{time:.3f},{label}" for time in times]
    (path / "events.csv").write_text("\n".join(rows) + "\n")
    return path


def shortened(block: str) -> list[str]:
    """The page's command, with fewer seeds and epochs."""
    program, *words = shlex.split(block)
    assert program == "edgewise"
    seeds = words.index("--seeds")
    words[seeds : seeds + 2] = SHORT
    return words


@pytest.fixture(scope="module")
def compared(folder: Path) -> Path:
    """The study of the first command, run as the reader runs it: the program, a worker process."""
    program = str(Path(sys.executable).with_name("edgewise"))
    words = [*shortened(blocks(PAGE, "bash")[0]), "--workers", "1"]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [program, *words], cwd=folder, env=environment, capture_output=True, text=True, timeout=240
    )
    assert done.returncode == 0, done.stderr
    return folder / "runs" / "mine"


@pytest.fixture
def there(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """In the reader's folder; his modules are forgotten afterwards."""
    monkeypatch.chdir(folder)
    monkeypatch.setattr(sys, "path", [str(folder), *sys.path])
    yield
    for name in ("my_encoder", "my_model", "my_analysis"):
        sys.modules.pop(name, None)


def test_the_example_is_the_file_in_the_repository():
    kept = ROOT / "examples" / "own_encoder" / "my_encoder.py"
    assert blocks(PAGE, "python")[0] == kept.read_text()


def test_the_command_leaves_a_report(compared):
    assert "my_encoder:MyEncoder" in (compared / "report.html").read_text()
    analysis = read_json(compared / "detailed_analysis.json")
    assert sorted(analysis["ranking"]) == ["learned", "my_encoder:MyEncoder"]
    assert "2 seeds are too few to tell" in analysis["headline"]


@pytest.mark.usefixtures("there")
def test_the_same_study_from_python_trains_nothing_again(compared, capsys):
    records = sorted(compared.glob("trials/*/seed-*/record.json"))
    assert len(records) == 4
    before = [path.stat().st_mtime_ns for path in records]
    code = blocks(PAGE, "python")[1]
    code = code.replace('"seeds": 6', '"seeds": 2, "epochs": 1, "batch_size": 16')
    names: dict = {}
    exec(compile(code, PAGE, "exec"), names)
    assert capsys.readouterr().out.strip() == str(Path("runs/mine/report.html"))
    assert type(names["model"].encoder).__name__ == "MyEncoder"
    assert [path.stat().st_mtime_ns for path in records] == before


@pytest.mark.usefixtures("there")
def test_a_model_and_an_analysis_of_ones_own(folder):
    assert run([*shortened(blocks(PAGE, "bash")[1]), "--workers", "0"]) == 0
    study = folder / "runs" / "mine-mean"
    assert "Do the seeds agree?" in (study / "report.html").read_text()
    # The model is kept with its recipe, so that it can be loaded again.
    assert (study / "my_encoder_MyEncoder_best.safetensors").exists()
    assert json.loads((study / "config.json").read_text())["model"] == "my_model:MeanOfEvents"


def test_the_table_on_the_page_has_the_columns_of_the_file(folder):
    shown = next(b for b in blocks(PAGE, "text") if b.startswith("sequence"))
    assert shown.splitlines()[0] == (folder / "events.csv").read_text().splitlines()[0]
