import json
import subprocess
import sys
from pathlib import Path

import pytest

from edgewise.cli import bench
from edgewise.cli.main import run

SMALL = [
    *("--encoders", "learned,kmote", "--seeds", "2", "--epochs", "2", "--limit", "120"),
    *("--dim", "8", "--hidden-dim", "8", "--batch-size", "32", "--workers", "0"),
]


def complaint(capsys, *arguments: object) -> str:
    """What a refused command says; it must be one line, exit with 2 and print nothing else."""
    assert run([str(a) for a in arguments]) == 2
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err.startswith("edgewise: ")
    assert said.err.count("\n") == 1
    return said.err.removeprefix("edgewise: ").rstrip("\n")


@pytest.fixture
def out(tmp_path):
    return tmp_path / "out"


def test_compare_report_and_compare_again(out, capsys):
    assert run(["compare", *SMALL, "--out", str(out)]) == 0
    said = capsys.readouterr().out
    assert "kmote" in said
    assert "learned" in said
    assert "2 seeds are too few" in " ".join(said.split())
    promised = {
        *("config.json", "training_histories.json", "results_summary.csv", "summary.json"),
        *("detailed_analysis.json", "predictions.parquet", "analysis_report.md", "report.html"),
        *("training_curves.png", "convergence_analysis.png", "temporal_patterns.png"),
        *("confusion_matrices.png", "statistical_significance.png", "expert_usage.png"),
        *("kmote_best.safetensors", "learned_best.safetensors", "logs"),
    }
    assert promised <= {path.name for path in out.iterdir()}
    page = (out / "report.html").read_bytes()
    assert run(["report", str(out)]) == 0
    assert (out / "report.html").read_bytes() == page
    # The resolved configuration is accepted back, and nothing is trained again.
    assert run(["compare", str(out / "config.json"), "--out", str(out)]) == 0
    assert "4 of 4 trials are finished already" in capsys.readouterr().err


def test_flags_overrule_the_file_and_both_spellings_work(tmp_path, out):
    config = tmp_path / "study.json"
    config.write_text(json.dumps({"encoders": ["raw"], "epochs": 5, "limit": 60, "workers": 0}))
    flags = ["--epochs", "1", "--hidden_dim", "8", "--seeds=1", "--dim", "4"]
    assert run(["compare", "--config", str(config), *flags, "--out", str(out)]) == 0
    kept = json.loads((out / "config.json").read_text())
    assert (kept["epochs"], kept["hidden_dim"], kept["encoders"]) == (1, 8, ["raw"])


def test_ablate_makes_a_grid(tmp_path, out, capsys):
    config = tmp_path / "grid.json"
    values = {"encoders": ["learned"], "hidden_dim": [4, 8], "epochs": 1, "seeds": 1}
    config.write_text(json.dumps(values | {"limit": 60, "workers": 0}))
    assert run(["ablate", str(config), "--out", str(out)]) == 0
    assert sorted(p.name for p in (out / "trials").iterdir()) == [
        "learned_hidden_dim=4",
        "learned_hidden_dim=8",
    ]
    assert "hidden_dim=4" in capsys.readouterr().out


def test_options_of_data_and_encoders_from_the_command_line(out):
    words = ["--dataset-options", "threshold=0.5,normalise=true"]
    more = ["--encoder-options", 'kmote.top_k=1,kmote.experts=["spline","fourier"]']
    assert run(["compare", *SMALL, *words, *more, "--out", str(out)]) == 0
    kept = json.loads((out / "config.json").read_text())
    assert kept["dataset_options"] == {"threshold": 0.5, "normalise": True}
    assert kept["encoder_options"] == {"kmote": {"top_k": 1, "experts": ["spline", "fourier"]}}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["compare", "--encoders", "kmot"], "unknown encoder 'kmot': did you mean 'kmote'? (known"),
        (["compare", "--epoch", "3"], "Unknown option: --epoch. Did you mean --epochs?"),
        (["compare", "--epochs", "three"], 'Invalid value for --epochs: unable to convert "three"'),
        (["compare", "--dataset", "digitz"], "there is no data set and no file 'digitz': did you"),
        (["compare", "missing.json"], "there is no file missing.json"),
        (["compare", "--dataset-options", "treshold=1"], "data set 'digits' has no option 'tresh"),
        (["compare", "--dataset-options", "threshold"], "--dataset-options takes name=value pairs"),
        (["compare", "--encoder-options", "top_k=1"], "--encoder-options takes encoder.option="),
        (["compare", "--encoder-options", "kmote.topk=1"], "encoder 'kmote' can't be made"),
        (
            ["compare", "--encoders", "nowhere:Thing"],
            "the encoder 'nowhere:Thing' names the module",
        ),
        (["compare", "--model", "sequenc"], "unknown model 'sequenc': did you mean 'sequence'?"),
        (["compare", "--backbone", "lstmm"], "unknown backbone 'lstmm': did you mean 'lstm'?"),
        (["compare", "--device", "tpu"], "device 'tpu' can't be used here"),
        (["compare", "--analyses", "mine"], "the analysis 'mine' must be given as module:function"),
        (["report", "nowhere"], "nowhere holds no study: it has no config.json"),
        (["repot", "x"], 'Unknown command "repot". Did you mean "report"?'),
    ],
)
def test_bad_requests_are_one_line_and_leave_nothing(arguments, message, out, capsys, tmp_path):
    if arguments[0] == "compare":
        arguments = [*arguments, "--out", out]
    assert complaint(capsys, *arguments).startswith(message)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('{"epoch": 3}', "has an unknown key 'epoch': did you mean 'epochs'?"),
        ('{"epochs": "3"}', "epochs must be a whole number, got '3'"),
        ('{"epochs": 3,}', "is not valid JSON: "),
        ("[1]", "must hold one JSON object, got list"),
    ],
)
def test_bad_configuration_files(text, message, out, capsys, tmp_path):
    (tmp_path / "study.json").write_text(text)
    assert message in complaint(capsys, "compare", tmp_path / "study.json", "--out", out)
    assert not out.exists()


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ("", "has a header but no rows"),
        ("a,1,x\na,nan,x\nb,1,y\n", "row 2"),
        ("a,2,x\na,1,x\nb,1,y\n", "decrease"),
        ("a,1,x\na,2,y\n", "label"),
    ],
)
def test_bad_event_tables(rows, message, out, capsys, tmp_path):
    path = tmp_path / "events.csv"
    path.write_text("sequence,time,label\n" + rows)
    said = complaint(capsys, "compare", "--dataset", path, "--out", out)
    assert str(path) in said
    assert message in said
    assert not out.exists()


def test_a_truncated_data_file_is_named(out, capsys, tmp_path):
    folder = tmp_path / "data" / "mnist"
    folder.mkdir(parents=True)
    for name in ("train-images-idx3", "train-labels-idx1", "t10k-images-idx3", "t10k-labels-idx1"):
        (folder / f"{name}-ubyte.gz").write_bytes(b"\x1f\x8b\x08 broken")
    arguments = ["compare", "--dataset", "mnist", "--data-dir", tmp_path / "data", "--out", out]
    assert "train-images-idx3-ubyte.gz" in complaint(capsys, *arguments)
    assert not out.exists()


def test_another_study_is_refused(out, capsys):
    one = ["compare", "--encoders", "raw", "--seeds", "1", "--limit", "60", "--workers", "0"]
    assert run([*one, "--epochs", "1", "--out", str(out)]) == 0
    capsys.readouterr()
    said = complaint(capsys, *one, "--epochs", "3", "--out", out)
    assert said == (
        f"{out} holds another study: there epochs is 1, here it is 3; "
        f"choose another folder for --out"
    )


def test_data_list_names_every_set(capsys):
    assert run(["data", "list"]) == 0
    said = capsys.readouterr().out
    assert all(name in said for name in ("digits", "mnist", "fashion_mnist", "nmnist"))


def test_help_lists_the_verbs_with_defaults_and_an_example():
    def said(*words: str) -> str:
        command = [sys.executable, "-m", "edgewise", *words, "--help"]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        assert done.stderr == ""
        return done.stdout

    top = said()
    assert all(verb in top for verb in ("compare", "report", "ablate", "data", "bench"))
    verb = said("compare")
    assert "For example: edgewise compare" in " ".join(verb.split())
    assert "default: digits" in verb


def test_a_command_outside_the_process_shows_no_traceback(tmp_path):
    command = [sys.executable, "-m", "edgewise", "compare", "--encoders", "kmot"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=tmp_path)
    assert done.returncode == 2
    assert "Traceback" not in done.stderr
    assert list(Path(tmp_path).iterdir()) == []


@pytest.mark.parametrize("kept", [True, False])
def test_the_bench_table_says_whether_freed_memory_was_kept(capsys, monkeypatch, kept):
    monkeypatch.setattr(bench, "keep_freed_memory", lambda: kept)
    few = [
        "bench",
        "layers",
        "--widths",
        "3,2",
        "--batch",
        "2",
        "--rounds",
        "1",
        "--only",
        "linear",
    ]
    assert run(few) == 0
    assert "memory kept" not in capsys.readouterr().out
    assert run([*few, "--keep-memory"]) == 0
    assert ("freed memory kept" in capsys.readouterr().out) == kept


def test_the_bench_table_has_every_encoder(capsys):
    assert run(["bench", "encoders", "--batch", "4", "--mean-length", "8", "--rounds", "1"]) == 0
    said = capsys.readouterr().out
    assert "kan-mammote" in said
    assert "1.00" in said
