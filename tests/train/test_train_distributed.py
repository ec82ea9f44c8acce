"""Two processes, started as torchrun starts them, train what one process trains."""

import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest
import torch
import train_pair
from train_toys import Toys

from edgewise.core import InputError
from edgewise.train.distributed import Part, Shared, joined, part_of, world

SCRIPT = Path(__file__).with_name("train_pair.py")
NEAR = 1e-5


@pytest.fixture(scope="module")
def pair(tmp_path_factory):
    folder = tmp_path_factory.mktemp("pair")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    shared = {"WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
    started = [
        subprocess.Popen(
            [sys.executable, SCRIPT, folder],
            env=os.environ | shared | {"RANK": str(rank), "LOCAL_RANK": str(rank)},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        for rank in (0, 1)
    ]
    said = [process.communicate(timeout=240)[0] for process in started]
    assert [process.returncode for process in started] == [0, 0], said
    return folder, [json.loads((folder / f"{rank}.json").read_text()) for rank in (0, 1)]


def assert_near(one, other, near=NEAR):
    if isinstance(one, dict):
        assert one.keys() == other.keys()
        for key in one:
            assert_near(one[key], other[key], near)
    elif isinstance(one, list):
        assert len(one) == len(other)
        for a, b in zip(one, other, strict=True):
            assert_near(a, b, near)
    elif isinstance(one, float):
        assert one == pytest.approx(other, abs=near, rel=near)
    else:
        assert one == other


@pytest.mark.parametrize("name", train_pair.CASES)
def test_two_processes_have_the_loss_curve_of_one_with_the_doubled_batch(pair, name):
    _, said = pair
    run, model = train_pair.train(name)
    for found in said:
        assert found[name]["epochs"] == run.epochs
        assert_near(found[name]["history"], run.history)
        state = {key: value.tolist() for key, value in model.state_dict().items()}
        assert_near(found[name]["state"], state, near=1e-4)
    # Early stop and the best epoch hang on it.
    assert said[0][name]["history"] == said[1][name]["history"]


def test_the_case_that_stops_early_does(pair):
    assert pair[1][0]["early stop"]["epochs"] < 9


def test_the_first_process_keeps_a_run_that_one_alone_can_go_on_with(pair):
    folder, said = pair
    run, _ = train_pair.train("plain", folder / "plain")
    assert run.history == said[0]["plain"]["history"]


def test_a_loss_that_fails_in_one_process_ends_both_with_the_same_words(pair):
    _, said = pair
    assert said[0]["broken"] == said[1]["broken"]
    assert said[0]["broken"].startswith(
        "the loss is nan in epoch 1, batch 1 (items 0, 1, 2, 3, 4, ... (16 in all)): "
    )


def test_parts_make_up_the_batch():
    for whole, *parts in zip(
        Toys(n=65).epoch(3),
        *(Shared(Toys(n=65), rank, 3).epoch(3) for rank in range(3)),
        strict=True,
    ):
        counted = [part for part in parts if part.weight]
        assert torch.equal(torch.cat([part.items for part in counted]), whole.items)
        assert torch.equal(torch.cat([part.inputs[0] for part in counted]), whole.inputs[0])
        assert torch.equal(torch.cat([part.target for part in counted]), whole.target)
        assert len(counted) == min(3, len(whole.items))
        assert all(len(part.items) for part in parts)


def test_inputs_without_examples_are_refused():
    items = torch.arange(4)
    batch = Part((torch.zeros(4, 2), torch.zeros(3)), items, items, items)
    with pytest.raises(InputError) as error:
        part_of(batch, 0, 2)
    assert str(error.value) == (
        "a batch of 4 examples has a tensor of shape (3,): to train on several devices all must "
        "have the examples in their first dimension"
    )


def test_alone_nothing_is_joined(monkeypatch):
    monkeypatch.delenv("WORLD_SIZE", raising=False)
    with joined() as found:
        assert found == (0, 1)
        assert not torch.distributed.is_initialized()
    assert world() == (0, 1)
