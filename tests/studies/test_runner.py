import json
import multiprocessing
import os
import random
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from filelock import FileLock
from small_study import kept_files, small_study

from edgewise.core import InputError, read_json
from edgewise.data import load_dataset
from edgewise.encoders import ENCODERS, RawTime
from edgewise.export import load
from edgewise.models import count_parameters
from edgewise.studies import run_study
from edgewise.studies.running.trial import make_trial
from edgewise.studies.running.trial_model import build_model


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory):
    root = tmp_path_factory.mktemp("undisturbed")
    return run_study(small_study(), root)


def test_a_study_leaves_what_it_promises(undisturbed):
    trial = undisturbed / "trials" / "kmote" / "seed-1"
    record = read_json(trial / "record.json")
    assert record["variant"] == "kmote"
    assert record["seed"] == 1
    assert record["epochs"] == 2
    assert 0 <= record["test"]["accuracy"] <= 1
    assert record["parameters"] > record["encoder_parameters"] > 0
    assert abs(sum(record["expert_usage"]["selected"]) - 1) < 1e-5
    assert len((trial / "history.jsonl").read_text().splitlines()) == 2
    assert read_json(trial / "timing.json")["peak_memory_bytes"] > 0
    assert not (trial / "checkpoint.safetensors").exists()
    assert (undisturbed / "logs" / "kmote_seed-1.csv").read_text().count("\n") == 3
    assert read_json(undisturbed / "config.json")["data_card"]["sizes"]["train"] == 120
    assert isinstance(load(undisturbed / "kmote_best.safetensors"), torch.nn.Module)


def test_the_same_study_again_gives_the_same_files(undisturbed, tmp_path):
    run_study(small_study(), tmp_path / "again")
    assert kept_files(tmp_path / "again") == kept_files(undisturbed)


def test_processes_give_the_same_files(undisturbed, tmp_path):
    run_study(small_study(workers=2), tmp_path / "processes")
    assert kept_files(tmp_path / "processes") == kept_files(undisturbed)


def test_a_finished_study_is_not_run_again(undisturbed):
    events = []
    run_study(small_study(), undisturbed, on_event=events.append)
    assert events == [{"kind": "plan", "trials": 4, "finished": 4}]


def test_seeds_and_encoders_can_be_added(tmp_path):
    run_study(small_study(encoders=("learned",), seeds=1), tmp_path)
    before = kept_files(tmp_path)
    run_study(small_study(encoders=("learned", "raw"), seeds=2), tmp_path)
    after = kept_files(tmp_path)
    assert before.items() <= after.items()
    assert len([name for name in after if name.endswith("record.json")]) == 4


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"epochs": 3}, "there epochs is 2, here it is 3; choose another folder for --out"),
        ({"dataset_options": {"threshold": 0.5}}, "there threshold is None, here it is 0.5"),
        ({"encoder_options": {"kmote": {"top_k": 1}}}, "there top_k is None, here it is 1"),
    ],
)
def test_a_folder_with_another_study_is_refused(undisturbed, changes, message):
    before = kept_files(undisturbed)
    with pytest.raises(InputError) as error:
        run_study(small_study(**changes), undisturbed)
    assert f"{undisturbed} holds another study: " in str(error.value)
    assert message in str(error.value)
    assert kept_files(undisturbed) == before


def test_a_folder_with_something_else_is_refused(tmp_path):
    (tmp_path / "thesis.tex").write_text("dear")
    with pytest.raises(InputError, match="is not empty and holds no study"):
        run_study(small_study(), tmp_path)
    assert not (tmp_path / "config.json").exists()


def test_two_drivers_in_one_folder_are_refused(tmp_path):
    with (
        FileLock(tmp_path / ".lock"),
        pytest.raises(InputError, match="another edgewise process is running the study"),
    ):
        run_study(small_study(), tmp_path)


@pytest.fixture
def broken_encoder():
    @ENCODERS.register("broken")
    class Broken(RawTime):
        def encode(self, tau, counts, features=None):
            return super().encode(tau, counts, features) * float("nan")

    yield
    del ENCODERS._entries["broken"]


@pytest.mark.usefixtures("broken_encoder")
def test_a_variant_that_fails_does_not_take_the_rest_down(tmp_path):
    events = []
    study = small_study(encoders=("broken", "learned"), seeds=1)
    run_study(study, tmp_path, on_event=events.append)
    assert [e["kind"] for e in events if e["kind"] in ("done", "failed")] == ["failed", "done"]
    failure = read_json(tmp_path / "trials" / "broken" / "seed-0" / "failure.json")
    assert "epoch 1, batch 1" in failure["message"]
    assert "RunError" in failure["traceback"]
    assert (tmp_path / "trials" / "learned" / "seed-0" / "record.json").exists()


@pytest.mark.slow
def test_a_worker_that_dies_costs_its_own_trial_only(tmp_path):
    killed = []

    def kill_first(event):
        if event["kind"] == "epoch" and event["epoch"] == 1 and not killed:
            killed.append(event["trial"])
            os.kill(multiprocessing.active_children()[0].pid, signal.SIGKILL)

    study = small_study(workers=1, epochs=3)
    run_study(study, tmp_path, on_event=kill_first)
    records = list(tmp_path.rglob("record.json"))
    failures = [read_json(path) for path in tmp_path.rglob("failure.json")]
    assert len(records) == 3
    assert [f["message"].startswith("the worker process died with exit code -9") for f in failures]
    run_study(study, tmp_path)
    run_study(small_study(epochs=3), tmp_path / "undisturbed")
    assert kept_files(tmp_path) == kept_files(tmp_path / "undisturbed")
    assert not list(tmp_path.rglob("failure.json"))


def test_an_equal_budget_is_met_within_one_unit_of_width():
    dataset = load_dataset("digits", limit=100)
    study = small_study(parameters=5000, encoders=("sinusoidal", "raw", "kmote"))
    for variant in study.variants():
        model = build_model(make_trial(study, variant, 0), dataset)
        width = model.head.in_features
        per_unit = 4 * (2 * width + 8 + 2) + 10
        assert abs(count_parameters(model) - 5000) <= per_unit, variant.name


def test_a_budget_that_is_too_small_is_refused():
    study = small_study(parameters=50)
    with pytest.raises(InputError, match="parameters=50 is too small a budget for learned"):
        build_model(make_trial(study, study.variants()[0], 0), load_dataset("digits", limit=100))


def test_every_variant_sees_the_same_batches_and_splits():
    study = small_study()
    first, second = (make_trial(study, v, 1) for v in study.variants())
    assert replace(first, variant=second.variant).identity() == second.identity()


def _command(root: Path) -> list[str]:
    study = small_study(workers=2)
    words = {
        name: getattr(study, name)
        for name in ("seeds", "epochs", "limit", "dim", "hidden_dim", "batch_size", "workers")
    }
    flags = [f"--{name.replace('_', '-')}={value}" for name, value in words.items()]
    encoders = ",".join(study.encoders)
    command = [sys.executable, "-m", "edgewise", "compare", f"--encoders={encoders}"]
    return [*command, *flags, f"--out={root}"]


def _kill_and_rerun(tmp_path: Path, undisturbed: Path, kills: int, longest: float) -> None:
    draw = random.Random(0)
    root, finished_early = tmp_path / "killed", 0
    for _ in range(kills):
        process = subprocess.Popen(
            _command(root), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        time.sleep(draw.uniform(0.5, longest))
        finished_early += process.poll() is not None
        process.kill()
        process.wait()
    done = subprocess.run(_command(root), capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert finished_early < kills, "no kill came in time: the test tells nothing"
    assert kept_files(root) == kept_files(undisturbed)
    assert (root / "report.html").stat().st_size > 10_000
    json.loads((root / "summary.json").read_text())


def test_a_killed_study_ends_with_the_same_records(tmp_path, undisturbed):
    _kill_and_rerun(tmp_path, undisturbed, kills=2, longest=12.0)


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_a_study_killed_ten_times_ends_with_the_same_records(tmp_path, undisturbed):
    _kill_and_rerun(tmp_path, undisturbed, kills=10, longest=25.0)
