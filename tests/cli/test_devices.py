"""``edgewise train --devices 2`` trains what one process trains, and says what goes wrong."""

import json
import subprocess
import sys
import time

import pytest
import torch

from edgewise.cli.devices import _wait, check_devices, train_on
from edgewise.cli.main import run
from edgewise.core import InputError, RunError
from edgewise.jobs.images.job import ImageJob

SMALL = {"dataset": "digits", "limit": 100, "hidden_dim": 6, "num_epochs": 2, "dropout": 0.0}


def job(folder, **changes):
    return ImageJob(**(SMALL | {"cpu": True, "save_path": str(folder / "m.safetensors")} | changes))


@pytest.mark.slow
def test_two_devices_give_the_history_of_one(tmp_path, capfd):
    one, two = tmp_path / "one", tmp_path / "two"
    for folder in (one, two):
        folder.mkdir()
    words = [f"--{key.replace('_', '-')}={value}" for key, value in SMALL.items()]
    for folder, more in ((one, []), (two, ["--devices", "2"])):
        path = str(folder / "m.safetensors")
        assert run(["train", *words, "--cpu", "--save-path", path, *more]) == 0
    said = capfd.readouterr().out.splitlines()
    assert len(said) == 10
    assert sorted(p.name for p in two.iterdir()) == sorted(p.name for p in one.iterdir())
    histories = [json.loads((f / "m_history.json").read_text())["history"] for f in (one, two)]
    for a, b in zip(*histories, strict=True):
        assert a.keys() == b.keys()
        for key in a:
            assert a[key] == pytest.approx(b[key], abs=1e-5), key


@pytest.mark.parametrize(
    ("devices", "changes", "message"),
    [
        (0, {}, "--devices must be at least 1, got 0"),
        (2, {"backend": "mlx"}, "several devices go with --backend torch only, got 'mlx'"),
    ],
)
def test_bad_numbers_of_devices(devices, changes, message, tmp_path):
    with pytest.raises(InputError) as error:
        check_devices(devices, job(tmp_path, **changes))
    assert str(error.value) == message


def test_devices_under_torchrun_are_refused(monkeypatch, tmp_path):
    monkeypatch.setenv("WORLD_SIZE", "1")
    with pytest.raises(InputError) as error:
        check_devices(2, job(tmp_path))
    assert str(error.value) == (
        "torchrun has started several processes already: leave --devices out"
    )


def test_more_devices_than_gpus_are_refused(monkeypatch, tmp_path):
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    with pytest.raises(InputError) as error:
        check_devices(3, job(tmp_path, cpu=False))
    assert str(error.value) == "--devices 3, but this machine has 1 GPU: ask for fewer"
    check_devices(3, job(tmp_path))


def started(*codes):
    return [
        subprocess.Popen([sys.executable, "-S", "-c", f"import sys; sys.exit({code})"])
        for code in codes
    ]


@pytest.mark.parametrize(("codes", "lost"), [((0, 0), None), ((2, 2), 0), ((0, 3), 1)])
def test_who_is_to_blame(codes, lost):
    assert _wait(started(*codes)) == lost


def test_a_process_that_waits_for_a_dead_one_is_not_waited_for(monkeypatch, tmp_path):
    monkeypatch.setattr("edgewise.cli.devices.PATIENCE", 0.2)
    sleeper = "import time; time.sleep(60)"
    script = "import sys; print('no memory', file=sys.stderr); sys.exit(9)"

    def start(command, rank, devices, port, says):
        with open(says, "wb") as silent:
            return subprocess.Popen(
                [sys.executable, "-S", "-c", script if rank else sleeper], stderr=silent
            )

    monkeypatch.setattr("edgewise.cli.devices._start", start)
    begin = time.monotonic()
    with pytest.raises(RunError) as error:
        train_on(2, job(tmp_path), "")
    assert time.monotonic() - begin < 30
    assert str(error.value) == (
        "process 2 of 2 ended with status 9: no memory; the same command goes on"
    )
