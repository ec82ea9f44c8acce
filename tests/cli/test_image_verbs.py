import json
import os

import pytest
import torch

import edgewise as ew
from edgewise.cli.main import run

TRAIN = ["train", "--limit", "100", "--cpu", "--dataset", "digits", "--hidden-dim", "6"]


@pytest.fixture
def path(tmp_path):
    return tmp_path / "m.safetensors"


def complaint(capsys, *arguments: object) -> str:
    """What a refused command says: one line, status 2."""
    assert run([str(a) for a in arguments]) == 2
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err.startswith("edgewise: ")
    assert said.err.count("\n") == 1
    return said.err.removeprefix("edgewise: ").rstrip("\n")


def test_the_whole_line_of_the_contract_then_evaluate(path, capsys):
    words = ["--num-layers", "2", "--num_epochs", "3", "--batch-size", "64"]
    more = ["--learning-rate", "1e-3", "--weight_decay", "1e-4", "--eval-report-count", "2"]
    last = ["--save-path", str(path), "--seed", "0", "--backend", "torch"]
    assert run([*TRAIN, *words, *more, *last]) == 0
    said = capsys.readouterr().out.splitlines()
    assert said[0] == (
        "KAN [64, 6, 10], 4,012 parameters, on digits: 100 / 360 / 360 images, on cpu"
    )
    assert [line.split(":")[0] for line in said[1:3]] == ["epoch 2/3", "epoch 3/3"]
    assert said[3].startswith("kept epoch ")
    tested = said[3].partition("; ")[2]
    assert said[4] == "written: " + ", ".join(
        str(path.with_name(name))
        for name in ("m_history.json", "m_learning_curves.png", "m_confusion.png", "m.safetensors")
    )
    assert run(["evaluate", str(path), "--dataset", "digits"]) == 0
    assert capsys.readouterr().out == f"{path} on digits: {tested}\n"


def test_flags_overrule_the_file_and_a_history_is_one(path, tmp_path):
    config = tmp_path / "job.json"
    config.write_text(json.dumps({"hidden_dim": 5, "num_epochs": 4, "model": "mlp"}))
    words = ["--config", str(config), "--num-epochs", "1", "--save-path", str(path)]
    assert run([*TRAIN[:-2], *words]) == 0
    kept = json.loads((tmp_path / "m_history.json").read_text())
    assert (kept["job"]["hidden_dim"], len(kept["history"])) == (5, 1)
    assert ew.load(path).widths == [64, 5, 10]
    weights = ew.load(path).state_dict()
    os.remove(path)
    assert run(["train", "--config", str(tmp_path / "m_history.json")]) == 0
    again = ew.load(path).state_dict()
    assert all(torch.equal(again[name], weights[name]) for name in weights)


def test_the_convolution_flag(path):
    words = ["--use-kan-convolution", "--num-layers", "3", "--num-epochs", "1"]
    assert run([*TRAIN, *words, "--save-path", str(path)]) == 0
    assert type(ew.load(path)).__name__ == "ConvKAN"


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--model", "kam"], "unknown model 'kam': did you mean 'kan'?"),
        (["--dataset", "mnst"], "unknown image data set 'mnst': did you mean 'mnist'?"),
        (["--backend", "torhc"], "unknown backend 'torhc': did you mean 'torch'?"),
        (["--basis", "bsplin"], "unknown basis 'bsplin': did you mean 'bspline'?"),
        (["--epochs", "3"], "Unknown option: --epochs."),
        (["--num-epochs", "three"], 'Invalid value for --num-epochs: unable to convert "three"'),
        (["--num-epochs", "0"], "num_epochs must be at least 1, got 0"),
        (["--config", "missing.json"], "there is no file missing.json"),
        (["--save-path", "m.pt"], "--save-path must end in .safetensors, got m.pt"),
        (
            ["--save-path", "nowhere/m.safetensors"],
            "--save-path nowhere/m.safetensors: there is no folder nowhere; make it first",
        ),
        (["--dataset", "mnist", "--data-dir", "nowhere"], "the data set 'mnist' needs the file"),
    ],
)
def test_bad_requests_are_one_line_and_leave_nothing(words, message, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    start = TRAIN[:4] if "--dataset" in words else TRAIN
    assert complaint(capsys, *start, *words).startswith(message)
    assert list(tmp_path.iterdir()) == []


def test_a_save_path_that_is_a_folder(tmp_path, capsys):
    (tmp_path / "m.safetensors").mkdir()
    said = complaint(capsys, *TRAIN, "--save-path", tmp_path / "m.safetensors")
    assert said == f"--save-path {tmp_path / 'm.safetensors'} is a folder; name a file"


def test_a_save_path_that_can_not_be_written(path, capsys, monkeypatch):
    monkeypatch.setattr(os, "access", lambda folder, mode: False)
    said = complaint(capsys, *TRAIN, "--save-path", path)
    assert said == f"--save-path {path}: the folder {path.parent} can't be written in"


def evaluate(capsys, path):
    return complaint(capsys, "evaluate", path, "--dataset", "digits")


def test_evaluate_takes_what_save_wrote(path, capsys):
    ew.save(ew.models.MLP([64, 10]), path)
    assert run(["evaluate", str(path), "--dataset", "digits"]) == 0
    assert "% of 360 images" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: ew.models.KAN([784, 10]), "takes 784 numbers, but 'digits' has 64 numbers"),
        (lambda: ew.models.MLP([64, 3]), "tells 3 classes apart, but 'digits' has 10"),
        (
            lambda: ew.models.vision.CNN((1, 28, 28), channels=(2,)),
            "takes images of shape (1, 28, 28), but 'digits' has images of shape (1, 8, 8)",
        ),
    ],
)
def test_evaluate_refuses_what_does_not_fit(make, message, path, capsys):
    ew.save(make(), path)
    assert evaluate(capsys, path) == f"the network in {path} {message}"


def test_evaluate_refuses_other_models_and_files(path, capsys):
    assert evaluate(capsys, path) == f"there is no file {path}"
    ew.save(ew.models.SequenceClassifier("lete", hidden_dim=4), path)
    assert evaluate(capsys, path) == (
        f"{path} holds a SequenceClassifier, which does not take images: "
        f"give a KAN, MLP, ConvKAN or CNN"
    )
    path.write_text("nonsense")
    assert evaluate(capsys, path).startswith(f"{path} is damaged or no safetensors file: ")


@pytest.mark.parametrize("keep", [0, 7, 100, 0.5, -1])
def test_evaluate_refuses_truncated_files(keep, path, capsys):
    whole = ew.save(ew.models.KAN([64, 10]), path).read_bytes()
    path.write_bytes(whole[: int(len(whole) * keep) if isinstance(keep, float) else keep])
    assert evaluate(capsys, path).startswith(f"{path} is damaged or no safetensors file: ")


def test_evaluate_refuses_a_foreign_safetensors_file(path, capsys):
    from safetensors.torch import save_file

    save_file({"weight": torch.zeros(2)}, path)
    said = evaluate(capsys, path)
    assert said == f"{path} was not written by edgewise.save: it has no recipe"
