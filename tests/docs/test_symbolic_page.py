"""The page on formulas: its code runs, and its table is the library."""

from page_blocks import DOCS, blocks

from edgewise.symbolic.functions import _OWN, ABSENT, FUNCTIONS, USUAL

PAGE = "symbolic.md"


def test_python_blocks_run(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    names: dict = {}
    try:
        for block in blocks(PAGE, "python"):
            exec(compile(block, PAGE, "exec"), names)
    finally:
        FUNCTIONS._entries.pop("sinc", None)
    said = capsys.readouterr().out
    assert "3*x1/x2**2" in said
    assert "[2, 3, 1] [2, 1, 1]" in said
    assert "sin" in said


def test_every_function_of_the_library_has_its_row():
    rows = (DOCS / PAGE).read_text(encoding="utf-8").splitlines()
    start = rows.index("| name | function | complexity | usual |") + 2
    functions = [FUNCTIONS.resolve(name) for name in FUNCTIONS if name in _OWN - {ABSENT}]
    assert len(functions) >= 29
    assert rows[start : start + len(functions) + 1] == [
        *(
            f"| `{f.name}` | `{f.text}` | {f.complexity} | {'yes' if f.name in USUAL else ''} |"
            for f in functions
        ),
        "",
    ]
