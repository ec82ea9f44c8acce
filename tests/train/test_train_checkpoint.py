import random

import pytest
import torch
from torch import nn
from train_toys import network, same_state

from edgewise.core import InputError, generator
from edgewise.train import Checkpoint, Settings, load_checkpoint, save_checkpoint
from edgewise.train.checkpoint import (
    check_identity,
    copy_optimiser,
    copy_state,
    identify,
    restore_optimiser,
)


def sample():
    draw = generator(0, "checkpoint")
    return Checkpoint(
        identity={"seed": 1, "settings": {"epochs": 2}},
        history=[{"epoch": 1, "train_loss": 0.1 + 0.2, "note": "ü"}],
        seconds=[0.25],
        scaler={"scale": 65536.0, "_growth_tracker": 3},
        model={
            "a/b.weight": torch.randn(3, 5, generator=draw),
            "count": torch.tensor(7),
            "half": torch.randn(4, generator=draw).bfloat16(),
            "mask": torch.tensor([True, False]),
            "none": torch.zeros(0, 3),
            "wide": torch.randn(2, generator=draw, dtype=torch.float64),
        },
        best={"a/b.weight": torch.randn(3, 5, generator=draw)},
        optimiser={"step/a/b.weight": torch.tensor(9.0)},
    )


def test_everything_comes_back_bit_for_bit(tmp_path):
    wanted = sample()
    found = load_checkpoint(save_checkpoint(tmp_path / "c.safetensors", wanted))
    for words in ("identity", "history", "seconds", "scaler"):
        assert getattr(found, words) == getattr(wanted, words)
    for tensors in ("model", "best", "optimiser"):
        assert same_state(getattr(found, tensors), getattr(wanted, tensors))
        for name, tensor in getattr(wanted, tensors).items():
            assert getattr(found, tensors)[name].dtype == tensor.dtype


def test_a_missing_checkpoint_is_named(tmp_path):
    with pytest.raises(InputError) as error:
        load_checkpoint(tmp_path / "c.safetensors")
    assert str(error.value) == f"there is no file {tmp_path / 'c.safetensors'}"


def is_refused(path):
    with pytest.raises(InputError) as error:
        load_checkpoint(path)
    return str(error.value) == (
        f"{path} is damaged or not a checkpoint: delete it to start the run again"
    )


def test_every_truncation_is_found(tmp_path):
    path = save_checkpoint(tmp_path / "c.safetensors", sample())
    whole = path.read_bytes()
    for size in [0, 1, 7, 8, 9, 100, len(whole) // 2, len(whole) - 1]:
        path.write_bytes(whole[:size])
        assert is_refused(path)


def test_every_flipped_byte_is_found(tmp_path):
    """Of a sample: in the header's size, the words, the names and the numbers."""
    path = save_checkpoint(tmp_path / "c.safetensors", sample())
    whole = path.read_bytes()
    start = 8 + int.from_bytes(whole[:8], "little")
    places = random.Random(0).sample(range(start), 150) + list(range(start, len(whole), 7))
    survived = []
    for place in places:
        path.write_bytes(whole[:place] + bytes([whole[place] ^ 1]) + whole[place + 1 :])
        try:
            found = load_checkpoint(path)
        except InputError:
            continue
        wanted = sample()
        # What isn't refused must be the same: padding, or the order of keys.
        assert found.history == wanted.history
        assert same_state(found.model, wanted.model)
        survived.append(place)
    assert len(survived) < 10


def test_another_safetensors_file_is_refused(tmp_path):
    from safetensors.torch import save_file

    path = tmp_path / "weights.safetensors"
    save_file({"w": torch.ones(2)}, path)
    assert is_refused(path)
    save_file({"w": torch.ones(2)}, path, {"edgewise": "{}", "crc32": "0"})
    assert is_refused(path)


def test_a_copy_shares_nothing_with_the_model():
    model = network()
    state = copy_state(model)
    with torch.no_grad():
        model[0].weight.add_(1)
    assert not torch.equal(state["0.weight"], model[0].weight)


def test_tied_weights_can_be_kept(tmp_path):
    model = nn.Sequential(nn.Linear(3, 3), nn.Linear(3, 3))
    model[1].weight = model[0].weight
    kept = Checkpoint({}, [], [], model=copy_state(model))
    found = load_checkpoint(save_checkpoint(tmp_path / "c.safetensors", kept))
    assert same_state(found.model, model.state_dict())


def test_state_that_is_no_tensor_is_refused():
    class Odd(nn.Linear):
        def get_extra_state(self):
            return {"calls": 3}

        def set_extra_state(self, state):
            pass

    with pytest.raises(InputError) as error:
        copy_state(Odd(1, 1))
    assert str(error.value) == (
        "the model's state '_extra_state' is a dict: keep it in a buffer, "
        "a run can only be saved as tensors"
    )


def test_the_optimiser_goes_on_as_if_nothing_happened():
    def step(model, optimiser):
        model(torch.ones(3, 2)).square().sum().backward()
        optimiser.step()
        optimiser.zero_grad()

    def fresh():
        model = network()
        model[0].bias.requires_grad_(False)
        return model, torch.optim.AdamW([p for p in model.parameters() if p.requires_grad])

    model, optimiser = fresh()
    step(model, optimiser)
    kept, weights = copy_optimiser(optimiser, model), copy_state(model)
    assert "exp_avg/0.weight" in kept
    assert "exp_avg/0.bias" not in kept
    other, its = fresh()
    other.load_state_dict(weights)
    restore_optimiser(its, other, kept)
    for m, o in ((model, optimiser), (other, its)):
        step(m, o)
    assert same_state(model.state_dict(), other.state_dict())


def identity(model=None, batches=4, seed=0, **settings):
    return identify(network() if model is None else model, batches, Settings(**settings), seed)


def test_the_same_run_is_known_again(tmp_path):
    check_identity(tmp_path, identity(), identity())


@pytest.mark.parametrize(
    ("theirs", "difference"),
    [
        ({"learning_rate": 0.01}, "learning_rate = 0.01, this one has 0.001"),
        ({"schedule": "plateau"}, "schedule = plateau, this one has cosine"),
        ({"seed": 3}, "seed = 3, this one has 0"),
        ({"batches": 5}, "batches an epoch = 5, this one has 4"),
        ({"model": network(norm=True)}, "module 1 = BatchNorm1d, this one has Tanh"),
        (
            {"model": network(out=4)},
            "tensor 3.weight = float32 (4, 8), this one has float32 (3, 8)",
        ),
        (
            {"model": network(torch.float64)},
            "tensor 0.weight = float64 (8, 2), this one has float32 (8, 2)",
        ),
        ({"model": nn.Linear(2, 3)}, "model = Linear, this one has Sequential"),
    ],
)
def test_another_run_is_told_apart(tmp_path, theirs, difference):
    with pytest.raises(InputError) as error:
        check_identity(tmp_path, identity(**theirs), identity())
    assert str(error.value) == (
        f"{tmp_path} is from a run with {difference}: "
        f"use another folder, or delete the file to start again"
    )


def test_a_model_with_less_is_told_apart(tmp_path):
    more = identity(nn.Sequential(*network(), nn.Identity()))
    with pytest.raises(InputError, match="module 4 = Identity, this one has nothing: "):
        check_identity(tmp_path, more, identity())
