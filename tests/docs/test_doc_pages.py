"""The code blocks of the other pages run, and what the pages show is what is there."""

import json

import pytest
from page_blocks import DOCS, ROOT, blocks

from edgewise.core import InputError, write_atomically
from edgewise.data import DATASETS, load_table
from edgewise.encoders import ENCODERS
from edgewise.studies import ALL_ENCODERS, grid

PAGES = ("index.md", "encoders.md", "data.md", "studies.md", "decisions/0002-crossed-t-test.md")


@pytest.mark.parametrize("page", PAGES)
def test_python_blocks_run(page, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    found = blocks(page, "python")
    assert found
    names: dict = {}
    for block in found:
        exec(compile(block, page, "exec"), names)


def test_every_encoder_has_its_row():
    rows = (DOCS / "encoders.md").read_text(encoding="utf-8").splitlines()
    named = [row.split("`")[1] for row in rows if row.startswith("| `") and "$" in row]
    assert named == list(ALL_ENCODERS)
    assert set(named) <= set(ENCODERS)


def test_every_data_set_has_its_row():
    text = (DOCS / "data.md").read_text(encoding="utf-8")
    assert all(f"| `{name}` |" in text for name in DATASETS)


def test_the_ablation_on_the_page_is_the_example():
    (shown,) = blocks("studies.md", "json")
    kept = (ROOT / "examples" / "ablation.json").read_text()
    assert shown == kept
    _, variants = grid(json.loads(kept))
    assert len(variants) == 4


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        (["sequence,time,lable", "a,1,x"], "has no column 'label': did you mean 'lable'?"),
        (
            ["sequence,time,label", "a,2.0,x", "b,1.0,y", "a,1.0,x"],
            "times must not decrease within a sequence, but in 'a' row 3 is at 1.0, "
            "after 2.0 in row 1",
        ),
        (
            ["sequence,time,label", "a,1,x", "b,1,x", "b,2,x", "a,2,y"],
            "a sequence has one label, but 'a' has 'x' in row 1 and 'y' in row 4",
        ),
        (
            ["sequence,time,label", *(f"x{i},1,x" for i in range(4)), "a,1,z", "b,1,z"],
            "the class 'z' has 2 sequences, but a split 60/20/20 takes 4 of each",
        ),
        (
            ["sequence,time,label,city", "a,1,x,Rome", "b,1,y,Oslo"],
            "the column 'city' would be a feature, but it holds string",
        ),
    ],
)
def test_the_messages_on_the_data_page(rows, message, tmp_path):
    path = write_atomically(tmp_path / "events.csv", "\n".join(rows) + "\n")
    with pytest.raises(InputError) as raised:
        load_table(path)
    assert message in str(raised.value)
    assert message in " ".join((DOCS / "data.md").read_text(encoding="utf-8").split())
