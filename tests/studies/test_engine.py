"""Who runs trials: choices, refusals, and what a worker tells."""

import os
from dataclasses import replace

import pytest
import torch
from small_study import kept_files, small_study

from edgewise.cli.main import run
from edgewise.cli.run_flags import RunFlags
from edgewise.core import InputError, RunError, read_json
from edgewise.studies import Variant, run_study
from edgewise.studies.running.attempt import is_full
from edgewise.studies.running.engine import halting, make_engine
from edgewise.studies.running.processes import LocalEngine
from edgewise.studies.running.study_folder import check_variants
from edgewise.train.loggers import LOGGERS


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("rya", {}, "unknown engine 'rya': did you mean 'ray'? (known: local, ray)"),
        ("local", {"cpus": 2}, "--cpus goes with --engine ray only: leave it out"),
        ("local", {"retries": -1}, "retries must be at least 0, got -1"),
        ("local", {"threads": -2}, "threads must be at least 0, got -2"),
        ("local", {"speed": 2}, "no engine has the option 'speed'"),
    ],
)
def test_bad_engines_are_refused(name, options, message):
    with pytest.raises(InputError) as error:
        make_engine(name, **options)
    assert str(error.value) == message


def test_flags_make_the_engine_and_leave_its_choices():
    assert RunFlags().make_engine() == LocalEngine()
    assert RunFlags(threads=0, retries=1).make_engine() == LocalEngine(threads=0, retries=1)
    assert RunFlags(engine="ray", cpus=2.0).make_engine().cpus == 2.0


def test_the_command_refuses_an_engine_before_anything_is_written(tmp_path, capsys):
    out = tmp_path / "out"
    for words, message in (
        (["--engine", "slurm"], "unknown engine 'slurm': known: local, ray"),
        (["--address", "auto"], "--address goes with --engine ray only: leave it out"),
        (["--loggers", "wandb"], "unknown logger 'wandb': known: tensorboard, mlflow"),
    ):
        assert run(["compare", *words, "--out", str(out)]) == 2
        assert capsys.readouterr().err == f"edgewise: {message}\n"
    assert not out.exists()


def test_cores_are_divided_among_workers():
    cores = os.cpu_count() or 1
    assert LocalEngine(threads=0)._share(1) == cores
    assert LocalEngine(threads=0)._share(10_000) == 1
    assert LocalEngine(threads=3)._share(2) == 3


def test_threads_here_are_as_asked_and_as_before_afterwards(tmp_path):
    before = torch.get_num_threads()
    study = small_study(encoders=("raw",), seeds=1)
    run_study(study, tmp_path, engine=LocalEngine(threads=2))
    assert torch.get_num_threads() == before
    assert read_json(next(tmp_path.rglob("timing.json")))["threads"] == 2


def test_a_halt_ends_the_run_with_its_words():
    seen = []
    tell = halting(seen.append)
    tell({"kind": "epoch"})
    with pytest.raises(RunError) as error:
        tell({"kind": "halted", "message": "no room"})
    assert str(error.value) == "no room"
    assert seen == [{"kind": "epoch"}]


def test_data_that_a_worker_can_not_load_end_the_run(tmp_path):
    path = tmp_path / "events.csv"
    rows = [f"{s},{t},{'ab'[s % 2]}" for s in range(40) for t in range(3)]
    path.write_text("\n".join(["sequence,time,label", *rows, ""]))
    study = small_study(encoders=("raw",), dataset=str(path), limit=0, workers=1)

    def remove(event):
        if event["kind"] == "plan":
            path.unlink()

    with pytest.raises(RunError) as error:
        run_study(study, tmp_path / "out", on_event=remove)
    assert str(error.value).startswith("a worker can't load the data: InputError: ")
    assert str(path) in str(error.value)


@pytest.mark.parametrize(
    ("variants", "message"),
    [
        ([".."], "the variant '..' can't name a folder: give it a name that begins with a "),
        ([""], "the variant '' can't name a folder: "),
        ([".hidden"], "the variant '.hidden' can't name a folder: "),
        (["a b", "a_b"], "the variants 'a b' and 'a_b' would share the folder 'a_b'; rename one"),
        (["KAN", "kan"], "the variants 'KAN' and 'kan' would share the folder 'kan'; rename one"),
        (
            ["x" * 300],
            f"the variant {'x' * 40!r}… can't name a folder: with 300 bytes its name is ",
        ),
    ],
)
def test_names_that_would_leave_the_folder_or_meet_in_one(variants, message, tmp_path):
    made = [Variant(name, "raw") for name in variants]
    with pytest.raises(InputError) as error:
        check_variants(made)
    assert str(error.value).startswith(message)
    with pytest.raises(InputError):
        run_study(small_study(), tmp_path / "out", variants=made)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("name", ["../../evil", "/etc/passwd", "a\\b", "c:evil", "a\0b"])
def test_other_names_stay_in_the_folder(name, tmp_path):
    variant = Variant(f"v{name}", "raw")
    check_variants([variant])
    assert (tmp_path / variant.slug).resolve().parent == tmp_path.resolve()
    assert "\0" not in variant.slug


def test_what_a_full_disk_says_in_other_words():
    assert is_full(RuntimeError("I/O error: No space left on device (os error 28)"))
    assert not is_full(RuntimeError("shapes do not fit"))


def test_loggers_follow_every_trial(tmp_path):
    seen = []

    @LOGGERS.register("seen")
    class Seen:
        def __init__(self, folder, run):
            self.run = run

        def __call__(self, row, model=None):
            seen.append((self.run, row["epoch"]))

        def close(self):
            seen.append((self.run, "end"))

    try:
        study = small_study(encoders=("raw",), seeds=2)
        run_study(study, tmp_path / "a", loggers=["seen"])
    finally:
        del LOGGERS._entries["seen"]
    runs = [(f"raw_seed-{s}", what) for s in (0, 1) for what in (1, 2, "end")]
    assert [entry for entry in seen if entry[0] != "check"] == runs
    run_study(replace(study), tmp_path / "b")
    assert kept_files(tmp_path / "a") == kept_files(tmp_path / "b")
