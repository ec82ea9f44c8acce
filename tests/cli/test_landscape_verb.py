import json

import pytest
import torch

import edgewise as ew
from edgewise.cli.main import run
from edgewise.jobs.landscape import run as landscape_run

SMALL = ["--samples", "60", "--alphas=-0.5:1.5:5", "--top", "2", "--probes", "2", "--steps", "5"]


@pytest.fixture
def table(tmp_path):
    """Rows of two numbers, a product to predict, and its sign as a class from 1."""
    torch.manual_seed(0)
    x = torch.rand(80, 2) * 2 - 1
    lines = ["a,b,ab,sign"]
    lines += [f"{a:.6f},{b:.6f},{a * b:.6f},{1 + int(a * b > 0)}" for a, b in x.tolist()]
    path = tmp_path / "table.csv"
    path.write_text("\n".join(lines) + "\n")
    return path


@pytest.fixture
def small(tmp_path):
    torch.manual_seed(0)
    return ew.save(ew.models.MLP([3, 3, 1]), tmp_path / "small.safetensors")


def complaint(capsys, *arguments: object) -> str:
    """What a refused command says: one line, status 2."""
    assert run(["landscape", *(str(a) for a in arguments)]) == 2
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err.startswith("edgewise: ")
    assert said.err.count("\n") == 1
    return said.err.removeprefix("edgewise: ").rstrip("\n")


def test_a_whole_landscape_is_left_and_said(small, table, tmp_path, capsys):
    out = tmp_path / "out"
    words = [small, "--dataset", table, "--target", "ab", "--standardize", "--out", out, *SMALL]
    assert run(["landscape", *map(str, words)]) == 0
    said = capsys.readouterr().out.splitlines()
    assert said[0].startswith("The curvature at the model runs from ")
    assert said[1] == f"written: {out / 'report.html'}"
    names = {p.name for p in out.iterdir()}
    figures = {f"{stem}.{kind}" for stem in ("spectrum", "path") for kind in ("png", "pdf", "html")}
    assert names == figures | {"parts", "landscape.json", "report.html"}
    page = (out / "report.html").read_text()
    assert "https://" not in page
    assert "http://" not in page
    found = json.loads((out / "landscape.json").read_text())
    assert (found["loss_name"], found["examples"]) == ("mse", {"train": 60, "test": 16})
    assert found["path"]["from"] == "a fresh model"
    assert len(found["path"]["alphas"]) == 5


def test_the_other_end_of_the_path(small, table, tmp_path, monkeypatch):
    monkeypatch.setattr(landscape_run, "write_landscape_report", lambda out, *found: out)
    model = ew.load(small)
    with torch.no_grad():
        for p in model.parameters():
            p.zero_()
    start = ew.save(model, tmp_path / "zero.safetensors")
    words = [small, "--from", start, "--dataset", table, "--target", "ab", *SMALL]
    assert run(["landscape", *map(str, [*words, "--out", tmp_path / "out"])]) == 0
    found = json.loads((tmp_path / "out" / "landscape.json").read_text())["path"]
    assert found["from"] == "zero.safetensors"
    # α = 0: the model says 0, so that the loss is the mean square of the targets.
    middle = found["alphas"].index(0.0)
    y = torch.tensor([float(row.split(",")[2]) for row in table.read_text().splitlines()[1:]])
    sizes = {"train": 60, "test": 16}
    mean = sum(found["losses"][s][middle] * sizes[s] for s in sizes) / 76
    assert mean == pytest.approx(float(y.square().mean()), rel=0.2)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--loss", "mes"], "unknown loss 'mes': did you mean 'mse'?"),
        (["--split", "tset"], "unknown split 'tset': did you mean 'test'?"),
        (["--dtype", "float16"], "unknown dtype 'float16': did you mean 'float64'?"),
        (["--top", "17"], "17 eigenvalues were asked for, but the model in "),
        (["--top", "0"], "top must be a whole number of at least 1, got 0"),
        (["--probes", "1"], "probes must be a whole number of at least 2, got 1"),
        (["--slice-points", "4"], "slice_points must be odd, got 4"),
        (["--alphas=1:0:5"], "alphas must go up from START to END in at least 3 points, got '1:0"),
        (["--alphas", "many"], "alphas must read START:END:COUNT, got 'many'"),
        (["--loss", "cross_entropy"], "cross_entropy is for classes, and the targets here are"),
        (["--target", "c"], "{table} has no column 'c': known: a, b, ab, sign"),
        (["--alpha", "1"], "Unknown option: --alpha."),
        (["--from", "missing.safetensors"], "there is no file missing.safetensors"),
    ],
)
def test_bad_requests_are_one_line_and_leave_nothing(
    words, message, small, table, tmp_path, capsys
):
    out = tmp_path / "out"
    base = [small, "--dataset", table, "--out", out]
    target = [] if "--target" in words else ["--target", "ab"]
    said = complaint(capsys, *base, *target, *words)
    assert said.startswith(message.format(table=table))
    assert not out.exists()


def test_models_and_data_that_do_not_fit(small, table, tmp_path, capsys):
    out = ["--out", tmp_path / "out"]
    assert complaint(capsys, tmp_path / "none", *out) == f"there is no file {tmp_path / 'none'}"
    said = complaint(capsys, small, *out)
    assert said == f"{small} does not say what it was trained on: give --dataset"
    said = complaint(capsys, small, "--dataset", table, *out)
    assert said == f"{table} is a table: say which column the model predicts by --target"
    said = complaint(capsys, small, "--dataset", "digits", *out)
    assert said == f"the network in {small} takes 3 numbers, but 'digits' has 64 numbers"
    other = ew.save(ew.models.MLP([3, 4, 1]), tmp_path / "other.safetensors")
    words = ["--dataset", table, "--target", "ab", "--from", other]
    said = complaint(capsys, small, *words, *out)
    assert said == f"{other} holds another model than {small}: a path joins two states of one"
    wide = ew.save(ew.models.MLP([3, 3]), tmp_path / "wide.safetensors")
    said = complaint(capsys, wide, "--dataset", table, "--target", "sign", *out)
    assert said == f"the model tells 3 classes apart, but 'sign' of {table} has 2 values"
    narrow = ew.save(ew.models.MLP([2, 1]), tmp_path / "narrow.safetensors")
    said = complaint(capsys, narrow, "--dataset", table, "--target", "ab", *out)
    assert said.startswith(f"the model does not take the rows of 3 numbers in {table}: ")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("cell", "message"), [("nan", "a is missing in row 1"), ("inf", "a is inf in row 1")]
)
def test_nan_and_holes_in_a_table(cell, message, small, table, tmp_path, capsys):
    lines = table.read_text().splitlines()
    lines[1] = ",".join([cell, *lines[1].split(",")[1:]])
    table.write_text("\n".join(lines) + "\n")
    words = ["--dataset", table, "--target", "ab", "--out", tmp_path / "out"]
    assert complaint(capsys, small, *words).startswith(f"{table}: {message}")


def test_an_out_that_is_a_file(small, table, tmp_path, capsys):
    words = ["--dataset", table, "--target", "ab", "--out", table]
    assert complaint(capsys, small, *words) == f"--out {table} is a file: name a folder"
