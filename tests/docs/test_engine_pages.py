"""The pages on engines and faults: their code runs, and what they quote is what is said."""

import json

import pytest
from page_blocks import DOCS, ROOT, blocks

from edgewise.studies.running.engine import ENGINES
from edgewise.studies.search.space import make_space


def test_python_blocks_run(capsys):
    names: dict = {}
    for block in blocks("engines.md", "python"):
        exec(compile(block, "engines.md", "exec"), names)
    assert capsys.readouterr().out == '{"epoch": 1, "train_loss": 0.5}\n\n0 1\n'


def test_the_search_on_the_page_is_the_example():
    (shown,) = blocks("engines.md", "json")
    kept = (ROOT / "examples" / "search.json").read_text(encoding="utf-8")
    assert shown == kept
    space = make_space(json.loads(kept))
    assert [part.name for part in space.fields] == ["learning_rate", "dropout", "dim"]


def test_the_options_of_ray_are_on_the_page():
    text = (DOCS / "engines.md").read_text(encoding="utf-8")
    ray = ENGINES["ray"]()
    for name, default in (("cpus", ray.cpus), ("gpus", ray.gpus), ("retries", ray.retries)):
        row = next(line for line in text.splitlines() if line.startswith(f"| `--{name}`"))
        assert row.endswith(f"| {default:g} |")


@pytest.mark.parametrize(
    ("place", "words"),
    [
        ("studies/running/processes.py", "the worker process died with exit code"),
        ("studies/running/processes.py", ", perhaps for want of memory: try fewer workers"),
        ("cli/main.py", "interrupted; what was finished is kept, the same command goes on"),
        ("studies/running/attempt.py", "can't be written any more ("),
        ("studies/running/attempt.py", "): try fewer workers, a smaller batch_size or hidden_dim"),
        ("studies/running/study_folder.py", "another edgewise process is running the study in"),
        ("train/checkpoint.py", "is damaged or not a checkpoint: delete it to start the run again"),
        ("studies/running/study_folder.py", "was begun on other data: "),
    ],
)
def test_what_the_table_quotes_is_what_is_said(place, words):
    assert words in (ROOT / "src" / "edgewise" / place).read_text(encoding="utf-8")
    assert words.strip(" :(") in (DOCS / "faults.md").read_text(encoding="utf-8").replace("\n", " ")
