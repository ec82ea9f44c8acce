import numpy as np
import pytest

from edgewise.cli.main import run


@pytest.fixture
def table(tmp_path):
    source = np.random.default_rng(0)
    m, r = source.uniform(1, 5, 60), source.uniform(1, 3, 60)
    path = tmp_path / "fall.csv"
    lines = [f"{a!r},{b!r},{3 * a / b**2!r}" for a, b in zip(m.tolist(), r.tolist(), strict=True)]
    path.write_text("\n".join(["m,r,F", *lines]))
    return path


def complaint(capsys, *arguments: object) -> str:
    """What a refused command says: one line, status 2."""
    assert run(["formula", *map(str, arguments)]) == 2
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err.startswith("edgewise: ")
    assert said.err.count("\n") == 1
    return said.err.removeprefix("edgewise: ").rstrip("\n")


def test_a_table_in_a_formula_out(table, tmp_path, capsys):
    out = tmp_path / "out"
    words = ["--target", "F", "--budget", "5", "--out", str(out)]
    assert run(["formula", str(table), *words]) == 0
    said = capsys.readouterr()
    assert said.err == ""
    lines = said.out.splitlines()
    assert lines[0] == "F = 3*m/r**2"
    assert "Judged on 12 held-out rows of 60" in said.out
    assert "Shorter and longer formulas of F" in said.out
    assert lines[-1].startswith("written: ")
    assert lines[-1].endswith("report.html")
    assert "F: an exact formula" in (out / "report.html").read_text()


def test_without_out_nothing_is_written(table, capsys):
    before = set(table.parent.iterdir())
    assert run(["formula", str(table), "--target", "F", "--budget", "5"]) == 0
    assert set(table.parent.iterdir()) == before
    assert "written" not in capsys.readouterr().out


def test_targets_may_be_listed_or_repeated(table, capsys):
    for words in (["--target", "F,m"], ["--target", "F", "--target", "m"]):
        message = complaint(capsys, table, *words, "--features", "r,F")
        assert message == "the column 'F' is named 2 times: a column is one target or one input"


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--target", "f"], "{0} has no column 'f': known: m, r, F"),
        (
            ["--target", "F", "--features", "m,rr"],
            "{0} has no column 'rr': did you mean 'r'? (known: m, r, F)",
        ),
        (
            ["--target", "F", "--budget", "-1"],
            "budget must be a positive number of CPU-seconds, got -1.0",
        ),
        (
            ["--target", "F", "--workers", "-2"],
            "workers must be a whole number of at least 1, got -2",
        ),
        (
            ["--target", "F", "--test-fraction", "0.9"],
            "{0} has 60 rows, of which 54 are held out to judge: a formula needs at least 10 "
            "others to be found on",
        ),
        (["--target", "F", "--out", "{1}"], "--out {1} holds something else: choose a new folder"),
    ],
)
def test_requests_that_are_refused(words, message, table, capsys):
    places = str(table), str(table.parent)
    said = complaint(capsys, table, *(word.format(*places) for word in words))
    assert said == message.format(*places)


def test_an_unknown_function_and_a_missing_file(table, tmp_path, capsys):
    said = complaint(capsys, table, "--target", "F", "--functions", "x,coss")
    assert said.startswith("unknown function 'coss': did you mean 'cos'? (known: 0, x, x^2")
    said = complaint(capsys, tmp_path / "fell.csv", "--target", "F")
    assert said == f"there is no file {tmp_path / 'fell.csv'}"


def test_a_target_that_is_no_function_of_the_inputs(tmp_path, capsys):
    source = np.random.default_rng(0)
    path = tmp_path / "noise.csv"
    rows = source.standard_normal((300, 2))
    path.write_text("\n".join(["a,y", *(f"{a},{y}" for a, y in rows.tolist())]))
    said = complaint(capsys, path, "--target", "y", "--budget", "1")
    assert said.startswith(f"no formula of 'y' in {path}: nothing about y can be told from x: ")
