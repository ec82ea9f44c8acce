"""A run that is killed goes on from its last finished epoch and ends bit for bit the same."""

import os
import random
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import train_victim
from torch.nn.functional import cross_entropy
from train_toys import Toys, network, same_state

from edgewise.core import InputError
from edgewise.train import CSVLog, Settings, fit, load_checkpoint, read_history

EPOCHS = 4


class KilledError(Exception):
    pass


def die_in_epoch(epoch):
    """An on_epoch callable: the epoch is complete, but not yet on disk."""

    def call(row, model):
        if row["epoch"] == epoch:
            raise KilledError

    return call


def die_at(epoch, batch):
    def call(step):
        if (step.epoch, step.batch) == (epoch, batch):
            raise KilledError

    return call


def trained(folder=None, model=None, settings=None, **callbacks):
    model = network(dropout=0.3, norm=True) if model is None else model
    settings = Settings(epochs=EPOCHS, learning_rate=0.5) if settings is None else settings
    penalty = lambda m: 0.01 * m[0].weight.abs().sum()  # noqa: E731
    run = fit(
        model,
        Toys(n=63),
        Toys(n=63, seed=5),
        settings,
        seed=3,
        folder=folder,
        penalty=penalty,
        **callbacks,
    )
    return run, model


def assert_same(one, two):
    (run, model), (other, its) = one, two
    assert run.history == other.history
    assert run.best_epoch == other.best_epoch
    assert same_state(run.last_state, other.last_state)
    assert same_state(model.state_dict(), its.state_dict())


KINDS = {
    "cosine": {},
    "plateau": {"schedule": "plateau", "plateau_patience": 0},
    "accumulation": {"accumulation": 3},
    "float16": {"precision": "float16"},
    "loss": {"select": "loss"},
}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("epoch", range(1, EPOCHS + 1))
def test_killed_in_any_epoch(tmp_path, kind, epoch):
    settings = Settings(epochs=EPOCHS, learning_rate=0.5, **KINDS[kind])
    whole = trained(settings=settings)
    with pytest.raises(KilledError):
        trained(tmp_path, settings=settings, on_epoch=[die_in_epoch(epoch)])
    if epoch > 1:
        assert read_history(tmp_path / "history.jsonl") == whole[0].history[: epoch - 1]
    calls = []
    again = trained(tmp_path, settings=settings, on_epoch=[lambda r, m: calls.append(r["epoch"])])
    assert_same(whole, again)
    assert calls == list(range(epoch, EPOCHS + 1))
    assert len(again[0].seconds) == EPOCHS
    assert read_history(tmp_path / "history.jsonl") == whole[0].history


def test_killed_at_random_batches_again_and_again(tmp_path):
    whole, draw, kills = trained(), random.Random(0), 0
    log = CSVLog(tmp_path / "log.csv")
    for epoch in range(1, EPOCHS + 1):
        for _ in range(2):
            with pytest.raises(KilledError):
                trained(
                    tmp_path,
                    on_batch=[die_at(epoch, draw.randint(1, 4))],
                    on_epoch=[log, die_in_epoch(epoch)],
                )
            kills += 1
        with pytest.raises(KilledError):
            trained(tmp_path, on_epoch=[log, die_in_epoch(epoch)])
        if epoch < EPOCHS:
            with pytest.raises(KilledError):
                trained(tmp_path, on_epoch=[log], on_batch=[die_at(epoch + 1, 1)])
    assert_same(whole, trained(tmp_path, on_epoch=[log]))
    lines = log.path.read_text().splitlines()
    assert [line.split(",")[0] for line in lines] == ["epoch", "1", "2", "3", "4"]


def test_the_scale_of_float16_is_kept(tmp_path):
    """A run that forgot it would overflow, and leave steps out, a second time."""
    arguments = {
        "settings": Settings(epochs=EPOCHS, learning_rate=0.05, precision="float16"),
        "loss": lambda prediction, target: 1e4 * cross_entropy(prediction, target),
    }
    steps = []
    whole = trained(on_batch=[steps.append], **arguments)
    assert [step.gradient_norm is None for step in steps].index(False) > 2
    with pytest.raises(KilledError):
        trained(tmp_path, on_epoch=[die_in_epoch(4)], **arguments)
    assert load_checkpoint(tmp_path / "checkpoint.safetensors").scaler["scale"] < 65536
    assert_same(whole, trained(tmp_path, **arguments))


def test_the_interrupted_model_itself_may_go_on(tmp_path):
    whole = trained()
    model = network(dropout=0.3, norm=True)
    with pytest.raises(KilledError):
        trained(tmp_path, model=model, on_batch=[die_at(3, 2)])
    assert_same(whole, trained(tmp_path, model=model))


def test_a_real_kill(tmp_path):
    here = Path(__file__).parent
    whole = train_victim.run(None)
    process = subprocess.Popen(
        [sys.executable, here / "train_victim.py", tmp_path],
        stdout=subprocess.PIPE,
        text=True,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
    )
    with process:
        assert process.stdout.readline() == "in epoch 3\n"
        process.send_signal(signal.SIGKILL)
    assert process.returncode == -signal.SIGKILL
    assert len(load_checkpoint(tmp_path / "checkpoint.safetensors").history) == 2
    assert_same(whole, train_victim.run(tmp_path))


def test_a_finished_run_is_not_run_again(tmp_path):
    first = trained(tmp_path)
    before = (tmp_path / "checkpoint.safetensors").stat().st_mtime_ns
    again = trained(tmp_path, on_batch=[die_at(1, 1)])
    assert_same(first, again)
    assert first[0].seconds == again[0].seconds
    assert (tmp_path / "checkpoint.safetensors").stat().st_mtime_ns == before


def test_a_run_that_stopped_early_stays_stopped(tmp_path):
    settings = Settings(epochs=50, learning_rate=2.0, schedule="constant", patience=1)
    first = trained(tmp_path, settings=settings)
    again = trained(tmp_path, settings=settings, on_batch=[die_at(first[0].epochs + 1, 1)])
    assert first[0].stopped_early
    assert again[0].stopped_early
    assert_same(first, again)


def test_a_folder_changes_nothing(tmp_path):
    assert_same(trained(), trained(tmp_path / "a" / "b"))


def test_only_an_unfinished_checkpoint_has_the_optimiser(tmp_path):
    path = tmp_path / "checkpoint.safetensors"
    with pytest.raises(KilledError):
        trained(tmp_path, on_epoch=[die_in_epoch(3)])
    assert load_checkpoint(path).optimiser
    trained(tmp_path)
    kept = load_checkpoint(path)
    assert not kept.optimiser
    assert kept.model.keys() == kept.best.keys()
    assert {p.name for p in tmp_path.iterdir()} == {"checkpoint.safetensors", "history.jsonl"}


def test_a_kill_between_the_two_files_is_mended(tmp_path):
    whole = trained(tmp_path)
    (tmp_path / "history.jsonl").unlink()
    trained(tmp_path)
    assert read_history(tmp_path / "history.jsonl") == whole[0].history


@pytest.mark.parametrize(
    ("change", "difference"),
    [
        (
            {"settings": Settings(epochs=EPOCHS, learning_rate=0.1)},
            "learning_rate = 0.5, this one has 0.1",
        ),
        ({"model": network()}, "module 1 = BatchNorm1d, this one has Tanh"),
    ],
)
def test_the_folder_of_another_run_is_refused(tmp_path, change, difference):
    trained(tmp_path)
    with pytest.raises(InputError) as error:
        trained(tmp_path, **change)
    assert str(error.value) == (
        f"{tmp_path / 'checkpoint.safetensors'} is from a run with {difference}: "
        f"use another folder, or delete the file to start again"
    )


def test_a_damaged_checkpoint_is_refused(tmp_path):
    trained(tmp_path)
    path = tmp_path / "checkpoint.safetensors"
    path.write_bytes(path.read_bytes()[:-10])
    with pytest.raises(InputError) as error:
        trained(tmp_path)
    assert str(error.value) == (
        f"{path} is damaged or not a checkpoint: delete it to start the run again"
    )
    path.unlink()
    assert_same(trained(), trained(tmp_path))
