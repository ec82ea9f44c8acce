"""Whatever breaks: a clear message, nothing finished is lost, and the same command goes on.

Each fault once here, and twenty times by ``make test-slow``; docs/faults.md has the table.
"""

import contextlib
import json
import multiprocessing
import os
import random
import resource
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from small_study import kept_files, small_study

from edgewise.cli.main import run
from edgewise.core import InputError, RunError, read_json
from edgewise.studies import run_study
from edgewise.studies.records.records import read_study
from edgewise.studies.running.status import read_status
from edgewise.studies.running.study_folder import is_driven

STUDY = {"encoders": ("raw", "learned"), "seeds": 2, "epochs": 2, "limit": 60}


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory):
    return kept_files(run_study(small_study(**STUDY), tmp_path_factory.mktemp("undisturbed")))


@pytest.fixture(params=[pytest.param(1, id="once"), pytest.param(20, marks=pytest.mark.slow)])
def folders(request, tmp_path):
    """Fresh folders, each with its own random numbers."""
    return [(tmp_path / str(turn), random.Random(turn)) for turn in range(request.param)]


def goes_on(root, undisturbed, **changes):
    """The same study again has the records of one that nothing disturbed."""
    run_study(small_study(**STUDY | changes), root)
    assert kept_files(root) == undisturbed
    assert not list(root.rglob("failure.json"))
    assert len(read_study(root).trials) == 4


def damage(path: Path, how: str, draw: random.Random) -> None:
    data = bytearray(path.read_bytes())
    if how == "truncated":
        del data[draw.randrange(len(data)) :]
    else:
        data[draw.randrange(len(data))] ^= 1 << draw.randrange(8)
    path.write_bytes(data)


def stop_at(kind, count):
    """Ends the driver, as Ctrl-C does, at the so many-th event of a kind."""
    seen = []

    def watch(event):
        seen.append(event["kind"])
        if seen.count(kind) == count:
            raise KeyboardInterrupt

    return watch


def stopped(root, kind, count):
    with pytest.raises(KeyboardInterrupt):
        run_study(small_study(**STUDY), root, on_event=stop_at(kind, count))


@pytest.mark.timeout(1800)
def test_kill_9_of_a_worker(folders, undisturbed):
    for root, draw in folders:
        at, killed = draw.randint(1, 8), []

        def kill(event, at=at, killed=killed):
            killed.append(event["kind"])
            if killed.count("epoch") == at and event["kind"] == "epoch":
                os.kill(multiprocessing.active_children()[0].pid, signal.SIGKILL)

        run_study(small_study(**STUDY, workers=1), root, on_event=kill)
        for path in root.rglob("failure.json"):
            assert read_json(path)["message"] == (
                "the worker process died with exit code -9, perhaps for want of memory: try fewer "
                "workers"
            )
        assert len(list(root.rglob("record.json"))) >= 3
        goes_on(root, undisturbed)


@pytest.mark.slow
def test_a_lost_trial_is_tried_again_at_once_if_asked(tmp_path, undisturbed):
    from edgewise.studies.running.engine import make_engine

    seen = []

    def kill(event):
        seen.append(event["kind"])
        if seen.count("epoch") == 1 and event["kind"] == "epoch":
            os.kill(multiprocessing.active_children()[0].pid, signal.SIGKILL)

    engine = make_engine("local", retries=1)
    run_study(small_study(**STUDY, workers=1), tmp_path, engine=engine, on_event=kill)
    assert seen.count("lost") == 1
    assert (seen.count("start"), seen.count("done")) == (4, 4)
    assert kept_files(tmp_path) == undisturbed


def command(root, **changes):
    names = ("seeds", "epochs", "limit", "dim", "hidden_dim", "batch_size", "workers")
    study = small_study(**STUDY | {"workers": 0} | changes)
    flags = [f"--{name.replace('_', '-')}={getattr(study, name)}" for name in names]
    verb = [sys.executable, "-m", "edgewise", "compare", "--encoders=raw,learned"]
    return [*verb, *flags, f"--out={root}"]


IN_USE = "another edgewise process is running the study in {}; wait for it or stop it"


def refusal(root):
    """What a second driver is told; nothing where it may run."""
    try:
        run_study(small_study(**STUDY), root)
    except InputError as error:
        return str(error)
    return ""


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_two_drivers_then_kill_9_of_the_one(folders, undisturbed):
    for root, draw in folders:
        quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
        driver = subprocess.Popen(command(root), **quiet)
        log, lines = root / "logs" / "study.log", draw.randint(1, 6)
        while driver.poll() is None and not (
            log.exists() and len(log.read_text().splitlines()) >= lines
        ):
            time.sleep(0.02)
        if driver.poll() is None and is_driven(root):
            message = refusal(root)
            # Or the first had finished its trials by then: each was run once.
            done = [
                line.split(" done ")[1] for line in log.read_text().splitlines() if " done " in line
            ]
            assert message == IN_USE.format(root) or len(done) == len(set(done)) == 4
        driver.kill()
        driver.wait()
        found = read_status(root)
        assert not found.driven
        if found.driver:
            assert "was killed; the command that began it goes on" in found.headline
        goes_on(root, undisturbed)
        assert read_status(root).headline == "complete: nothing is left to do"


@contextlib.contextmanager
def largest_file(size):
    """Inside, no file can be larger: the disk's end, without a disk."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def is_clear(message, root):
    assert message.startswith(f"{root} can't be written any more (")
    assert message.endswith("); what was finished is kept: make room, and the same command goes on")
    assert "\n" not in message


@pytest.mark.timeout(1800)
def test_no_room_for_a_file(folders, undisturbed):
    for root, draw in folders:
        with largest_file(draw.randint(1_000, 8_000)), pytest.raises(RunError) as error:
            run_study(small_study(**STUDY), root)
        is_clear(str(error.value), root)
        goes_on(root, undisturbed)


def test_no_room_is_one_line_of_the_command(tmp_path, capsys):
    words = command(tmp_path / "out")[3:]
    with largest_file(2_000):
        assert run(words) == 1
    said = capsys.readouterr().err.splitlines()
    is_clear(said[-1].removeprefix("edgewise: "), tmp_path / "out")


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_a_full_disk(tmp_path, undisturbed):
    disk = tmp_path / "disk"
    disk.mkdir()
    try:
        mount = ["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", str(disk)]
        subprocess.run(mount, check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("a small disk can't be mounted here: it needs root on Linux")
    try:
        for turn in range(20):
            root, size = disk / str(turn), 64 + 8 * turn
            remount = ["mount", "-o", f"remount,size={size}k", str(disk)]
            subprocess.run(remount, check=True)
            with contextlib.suppress(RunError):
                run_study(small_study(**STUDY), root)
                continue
            subprocess.run(["mount", "-o", "remount,size=16m", str(disk)], check=True)
            assert not list(root.rglob(".*.tmp"))
            goes_on(root, undisturbed)
            shutil.rmtree(root)
    finally:
        subprocess.run(["umount", str(disk)], check=True)


@pytest.mark.parametrize("how", ["truncated", "flipped"])
@pytest.mark.timeout(1800)
def test_a_damaged_checkpoint(how, folders, undisturbed):
    for root, draw in folders:
        stopped(root, "epoch", 4)
        (checkpoint,) = root.rglob("checkpoint.safetensors")
        damage(checkpoint, how, draw)
        run_study(small_study(**STUDY), root)
        (failure,) = root.rglob("failure.json")
        assert read_json(failure)["message"] == (
            f"{checkpoint} is damaged or not a checkpoint: delete it to start the run again"
        )
        assert len(list(root.rglob("record.json"))) == 3
        checkpoint.unlink()
        goes_on(root, undisturbed)


@pytest.mark.parametrize("name", ["record.json", "timing.json", "history.jsonl", "predictions.npz"])
@pytest.mark.parametrize("how", ["truncated", "flipped"])
@pytest.mark.timeout(1800)
def test_a_damaged_record(name, how, folders, undisturbed):
    for root, draw in folders:
        run_study(small_study(**STUDY), root)
        path = draw.choice(sorted(root.rglob(name)))
        sound = path.read_bytes()
        damage(path, how, draw)
        with pytest.raises(InputError) as error:
            _ = read_study(root).predictions
        assert str(error.value).startswith(f"{path} is damaged (")
        assert str(error.value).endswith(
            f"): delete the folder {path.parent} and run the study again, which repeats this "
            f"trial only"
        )
        assert sound != path.read_bytes()
        shutil.rmtree(path.parent)
        goes_on(root, undisturbed)


@pytest.mark.parametrize("how", ["truncated", "flipped"])
@pytest.mark.timeout(1800)
def test_a_damaged_configuration(how, folders, undisturbed, capsys):
    keys = ("dataset", "epochs", "limit", "dim", "hidden_dim", "batch_size")
    study = small_study(**STUDY)
    for root, draw in folders:
        stopped(root, "done", 1)
        config = root.with_suffix(".json")
        config.write_text(json.dumps({key: getattr(study, key) for key in keys}, indent=1))
        damage(config, how, draw)
        words = ["--encoders=raw,learned", "--seeds=2", "--workers=0", f"--out={root}"]
        before = kept_files(root)
        assert run(["compare", str(config), *words]) == 2
        said = capsys.readouterr().err
        assert said.startswith("edgewise: ")
        assert said.count("\n") == 1
        assert kept_files(root) == before
        goes_on(root, undisturbed)


@pytest.mark.parametrize("how", ["truncated", "flipped"])
@pytest.mark.timeout(1800)
def test_a_damaged_data_file(how, folders):
    for root, draw in folders:
        root.mkdir()
        path, few = root / "events.csv", {"dataset": str(root / "events.csv"), "limit": 0}
        rows = [f"{s},{t * 10},{'ab'[s % 2]}" for s in range(40) for t in range(3)]
        path.write_text("\n".join(["sequence,time,label", *rows, ""]))
        run_study(small_study(**STUDY | few | {"seeds": 1}), root / "out")
        sound, before = path.read_bytes(), kept_files(root / "out")
        while path.read_bytes().strip() == sound.strip():
            path.write_bytes(sound)
            damage(path, how, draw)
        with pytest.raises(InputError) as error:
            run_study(small_study(**STUDY | few), root / "out")
        assert str(path) in str(error.value)
        assert kept_files(root / "out") == before
        path.write_bytes(sound)
        run_study(small_study(**STUDY | few), root / "out")
        assert before.items() <= kept_files(root / "out").items()


def test_want_of_memory_says_what_to_try(tmp_path, monkeypatch):
    def trial(*_):
        raise RuntimeError(
            "[enforce fail at alloc_cpu.cpp:124] . DefaultCPUAllocator: can't allocate memory: you "
            "tried to allocate 4000000000000 bytes. Error code 12 (Cannot allocate memory)"
        )

    monkeypatch.setattr("edgewise.studies.running.attempt.run_trial", trial)
    run_study(small_study(**STUDY | {"encoders": ("raw",), "seeds": 1}), tmp_path)
    message = read_json(next(tmp_path.rglob("failure.json")))["message"]
    assert message.startswith("out of memory ([enforce fail at alloc_cpu.cpp:124] . Default")
    assert message.endswith("): try fewer workers, a smaller batch_size or hidden_dim")


def group_lives(leader):
    try:
        os.killpg(leader, 0)
    except ProcessLookupError:
        return False
    return True


def test_ctrl_c_is_one_line_and_ends_the_workers(tmp_path):
    root = tmp_path / "out"
    words = command(root, workers=2, epochs=500)
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    # What a shell runs in the background ignores Ctrl-C, and so would its children.
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        driver = subprocess.Popen(words, **pipes, start_new_session=True)
    finally:
        signal.signal(signal.SIGINT, before)
    log = root / "logs" / "study.log"
    while driver.poll() is None and not (log.exists() and "epoch" in log.read_text()):
        time.sleep(0.05)
    # As a terminal does it: to the driver and its workers.
    os.killpg(driver.pid, signal.SIGINT)
    out, err = driver.communicate(timeout=120)
    assert driver.returncode == 130
    assert out == ""
    assert err == ("edgewise: interrupted; what was finished is kept, the same command goes on\n")
    until = time.monotonic() + 30
    while group_lives(driver.pid) and time.monotonic() < until:
        time.sleep(0.1)
    assert not group_lives(driver.pid)
    assert not is_driven(root)
