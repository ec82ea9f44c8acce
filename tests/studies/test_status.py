"""How far a study is: a living one, a killed one, one of an older version."""

import time

import pytest
from filelock import FileLock
from small_study import small_study

from edgewise.cli.main import run
from edgewise.core import InputError, write_json
from edgewise.studies import run_study
from edgewise.studies.running.status import (
    StudyStatus,
    TrialStatus,
    _remaining,
    _running,
    read_status,
)
from edgewise.studies.running.study_folder import is_driven

NOW = time.mktime(time.strptime("2026-11-22 10:01:40", "%Y-%m-%d %H:%M:%S"))
LOG = """2026-11-22 09:00:00 plan
2026-11-22 09:00:00 start b seed 0
2026-11-22 10:00:00 plan
2026-11-22 10:00:00 start a seed 0
2026-11-22 10:00:50 epoch a seed 0 epoch=1
2026-11-22 10:00:50 done a seed 0
2026-11-22 10:00:50 start a seed 1
2026-11-22 10:00:51 start b seed 0
2026-11-22 10:01:00 failed b seed 0 message=the loss is nan
2026-11-22 10:01:00 start b seed 1
2026-11-22 10:01:20 epoch b seed 1 epoch=1
"""


@pytest.fixture
def root(tmp_path):
    """A folder as a driver leaves it in the middle of its work."""
    names = [(v, s) for s in (0, 1, 2) for v in ("a", "b")]
    planned = [
        {"trial": f"{v} seed {s}", "variant": v, "folder": f"trials/{v}/seed-{s}", "epochs": 4}
        for v, s in names
    ]
    write_json(tmp_path / "config.json", {})
    write_json(tmp_path / "plan.json", {"trials": planned})
    note = {"host": "here", "pid": 7, "engine": "local", "started": "2026-11-22 10:00:00"}
    write_json(tmp_path / "driver.json", note)
    write_json(tmp_path / "trials/a/seed-0/record.json", {})
    write_json(tmp_path / "trials/a/seed-0/timing.json", {"seconds": 50.0})
    write_json(tmp_path / "trials/b/seed-0/failure.json", {"message": "the loss is nan"})
    (tmp_path / "trials/b/seed-1").mkdir()
    (tmp_path / "trials/b/seed-1/history.jsonl").write_text("{}\n")
    (tmp_path / "logs").mkdir()
    (tmp_path / "logs/study.log").write_text(LOG)
    return tmp_path


def test_a_study_that_runs(root):
    with FileLock(root / ".lock"):
        found = read_status(root, NOW)
    states = {t.name: (t.state, t.epoch, t.seconds) for t in found.trials}
    assert states == {
        "a seed 0": ("done", 0, 50.0),
        "b seed 0": ("failed", 0, None),
        "a seed 1": ("running", 0, 50.0),
        "b seed 1": ("running", 1, 40.0),
        "a seed 2": ("waiting", 0, None),
        "b seed 2": ("waiting", 0, None),
    }
    # Two wait for 50 s each, one is over its time, one has 10 s to go; two at a time.
    assert found.remaining == (50 + 50 + 0 + 10) / 2
    assert found.headline == ("running: process 7 on here, engine local, since 2026-11-22 10:00:00")
    assert found.last == "2026-11-22 10:01:20 epoch b seed 1 epoch=1"
    assert found.bytes > len(LOG)
    assert found.free > 0


def test_a_study_whose_driver_was_killed(root):
    found = read_status(root, NOW)
    assert not found.driven
    assert found.count("running") == 0
    assert found.count("waiting") == 4
    assert found.headline == (
        "stopped: its driver, process 7 on here, was killed; the command that began it goes on "
        "with 5 trials"
    )


def test_looking_changes_nothing(root):
    before = {p: p.read_bytes() for p in root.rglob("*") if p.is_file()}
    read_status(root, NOW)
    assert {p: p.read_bytes() for p in root.rglob("*") if p.is_file()} == before
    assert not is_driven(root)


def test_the_command_shows_it(root, capsys):
    assert run(["status", str(root)]) == 0
    said = capsys.readouterr().out
    assert "stopped: its driver, process 7 on here, was killed" in said
    assert "b seed 0 failed: the loss is nan" in said
    assert "last line of the log: 2026-11-22 10:01:20 epoch b seed 1 epoch=1" in said
    assert "time left" not in said
    with FileLock(root / ".lock"):
        assert run(["status", str(root)]) == 0
    said = capsys.readouterr().out
    assert "b seed 1: epoch 1 of 4, for " in said
    assert "time left: about " in said
    assert run(["status", str(root), "--json"]) == 0
    assert '"counts": {\n    "done": 1,' in capsys.readouterr().out


def test_a_finished_study_and_one_of_an_older_version(tmp_path, capsys):
    run_study(small_study(encoders=("raw",), seeds=2, epochs=1), tmp_path)
    found = read_status(tmp_path)
    assert found.headline == "complete: nothing is left to do"
    assert (found.count("done"), len(found.trials)) == (2, 2)
    (tmp_path / "plan.json").unlink()
    again = read_status(tmp_path)
    assert [t.name for t in again.trials] == ["raw seed 0", "raw seed 1"]
    assert again.count("done") == 2
    assert run(["status", str(tmp_path)]) == 0
    assert "complete" in capsys.readouterr().out


def test_no_study(tmp_path):
    with pytest.raises(InputError) as error:
        read_status(tmp_path)
    assert str(error.value) == f"{tmp_path} holds no study: it has no config.json"


def test_the_time_left_before_the_first_is_done():
    one = TrialStatus("a", "a", "running", epoch=2, epochs=10, seconds=20.0)
    other = TrialStatus("b", "b", "waiting", epoch=0, epochs=10)
    assert _remaining([one, other]) == 80 + 100
    assert _remaining([other]) is None


def test_a_resumed_study_forgets_what_its_last_run_began():
    assert list(_running(LOG.splitlines())) == ["a seed 1", "b seed 1"]
    assert _running(["not a line", ""]) == {}


def test_many_variants_are_shown_by_what_is_open(capsys):
    from edgewise.cli.status import _table

    trials = [TrialStatus(f"v{n}", f"v{n}", "done" if n else "waiting", 1, 1) for n in range(99)]
    study = StudyStatus("x", None, False, trials, None, 0, 0, "")
    assert _table(study).row_count == 2
