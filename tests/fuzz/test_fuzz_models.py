"""Readers of models and checkpoints: nothing in a file is run, and it asks for no more than it is."""

import json
import struct
import zlib

import pytest
import torch
from fuzzing import NUMBERS, altered, damaged, fuzzed, outcome
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import save
from torch import nn

import edgewise as ew
from edgewise.core import EdgewiseError
from edgewise.export import read_notes
from edgewise.train.checkpoint import Checkpoint, load_checkpoint, save_checkpoint

SIZES = st.sampled_from([n for n in NUMBERS if 0 <= n < 2**63])


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("fuzz")


def models():
    """Small ones of different kinds, the same every time."""
    torch.manual_seed(0)
    return (
        ew.models.KAN([2, 1], basis="fourier"),
        ew.models.Hybrid([2, 2, 1], ["kernel", "kaf"]),
        ew.models.ConvKAN((1, 4, 4), 2, (2,)),
        ew.models.SequenceClassifier("raw", num_classes=2, hidden_dim=2),
    )


class Saved(list):
    """What Hypothesis does not print."""

    def __repr__(self):
        return "the models above"


@pytest.fixture(scope="module")
def saved(folder):
    """The files of the models, and their parts: header, tensors."""
    found = Saved()
    for place, model in enumerate(models()):
        path = ew.save(model, folder / f"sound-{place}.safetensors", notes={"a": 1})
        content = path.read_bytes()
        (size,) = struct.unpack("<Q", content[:8])
        table = json.loads(content[8 : 8 + size])
        header = json.loads(table["__metadata__"]["edgewise"])
        found.append((content, header, model.state_dict()))
    return found


def rewritten(header, state):
    """A file with another header, which says of itself that it is sound."""
    if isinstance(header, dict):
        header = {key: value for key, value in header.items() if key != "header_checksum"}
    tensors = {name: tensor.contiguous().clone() for name, tensor in state.items()}
    return save(tensors, {"edgewise": json.dumps(header)})


@fuzzed
@given(data=st.data())
def test_files_of_models(folder, saved, data):
    path = folder / "damaged.safetensors"
    content, *_ = saved[data.draw(st.integers(0, len(saved) - 1))]
    path.write_bytes(data.draw(damaged([content])))
    found = outcome(lambda: ew.load(path))
    assert isinstance(found, (nn.Module, EdgewiseError))
    assert isinstance(outcome(lambda: read_notes(path)), (dict, EdgewiseError))


@fuzzed
@given(data=st.data())
def test_recipes_of_models(folder, saved, data):
    _, header, state = saved[data.draw(st.integers(0, len(saved) - 1))]
    path = folder / "recipe.safetensors"
    path.write_bytes(rewritten(data.draw(altered([header])), state))
    found = outcome(lambda: ew.load(path))
    assert isinstance(found, (nn.Module, EdgewiseError))


@fuzzed
@given(widths=st.lists(SIZES, max_size=4), size=SIZES)
def test_sizes_that_the_weights_do_not_bear_out(folder, widths, size):
    basis = {"class": "edgewise.bases.fourier:Fourier", "arguments": {"harmonics": size}}
    recipe = {"class": "edgewise.models.kan:KAN", "arguments": {}}
    recipe["arguments"] = {"widths": widths, "basis": {"recipe": basis}}
    header = {"format": "edgewise-1", "recipe": recipe, "notes": {}}
    path = folder / "sizes.safetensors"
    path.write_bytes(rewritten(header, {"a": torch.zeros(2)}))
    assert isinstance(outcome(lambda: ew.load(path)), EdgewiseError)


def a_checkpoint():
    return Checkpoint(
        {"settings": {"epochs": 2}, "seed": 0},
        [{"epoch": 1, "train_loss": 1.0}],
        [0.5],
        {},
        {"w": torch.ones(2)},
        {"w": torch.ones(2)},
        {"exp_avg/w": torch.zeros(2)},
    )


@fuzzed
@given(data=st.data())
def test_checkpoints(folder, data):
    path = save_checkpoint(folder / "checkpoint.safetensors", a_checkpoint())
    path.write_bytes(data.draw(damaged([path.read_bytes()])))
    found = outcome(lambda: load_checkpoint(path))
    assert isinstance(found, (Checkpoint, EdgewiseError))


@fuzzed
@given(data=st.data(), names=st.lists(st.sampled_from(["model/w", "w", "/", "best"]), unique=True))
def test_checkpoints_whose_checksum_is_right(folder, data, names):
    words = {"format": 1, "identity": {}, "history": [], "seconds": [], "scaler": {}}
    text = json.dumps(data.draw(altered([words])))
    tensors = {name: torch.ones(2) for name in names}
    total = zlib.crc32(text.encode())
    for name in sorted(tensors):
        total = zlib.crc32(f"{name} torch.float32 (2,)".encode(), total)
        total = zlib.crc32(tensors[name].view(torch.uint8).numpy(), total)
    path = folder / "checkpoint.safetensors"
    path.write_bytes(save(tensors, {"edgewise": text, "crc32": str(total)}))
    found = outcome(lambda: load_checkpoint(path))
    assert isinstance(found, (Checkpoint, EdgewiseError))


def test_what_is_sound_is_read(folder, saved):
    """Else nothing above would get far."""
    for content, header, state in saved:
        path = folder / "sound.safetensors"
        for whole in (content, rewritten(header, state)):
            path.write_bytes(whole)
            assert isinstance(outcome(lambda path=path: ew.load(path)), nn.Module)
    path = save_checkpoint(folder / "sound-checkpoint.safetensors", a_checkpoint())
    assert isinstance(outcome(lambda: load_checkpoint(path)), Checkpoint)
