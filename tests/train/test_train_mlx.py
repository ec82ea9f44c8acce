# ruff: noqa: E402 (what needs MLX is imported where it is known to be there)
"""Training with MLX beside training with torch."""

import pytest
import torch
from torch import nn

mx = pytest.importorskip("mlx.core", reason="MLX is not installed: pip install 'edgewise[mlx]'")

from edgewise import models
from edgewise.core import InputError, RunError
from edgewise.data import Batch
from edgewise.layers.linear import KANLinear
from edgewise.models import vision
from edgewise.train import Settings, fit
from edgewise.train.mlx_loop import train_mlx


class Rings:
    """Points in the plane, by their distance from the middle: 0, 1 or 2."""

    def __init__(self, count=96, batch_size=32, seed=0, image=False):
        self.x = 2 * torch.rand(count, 2, generator=torch.Generator().manual_seed(seed)) - 1
        self.y = (self.x.norm(dim=1) * 2.4).long().clamp(max=2)
        if image:
            self.x = self.x.view(-1, 2, 1, 1).expand(-1, 2, 4, 4).contiguous()
        self.batch_size = batch_size

    def __len__(self):
        return -(-len(self.y) // self.batch_size)

    def epoch(self, number):
        order = torch.randperm(len(self.y), generator=torch.Generator().manual_seed(number))
        for items in order.split(self.batch_size):
            yield Batch((self.x[items],), self.y[items], items)


class Line(Rings):
    """A number to predict for each."""

    def epoch(self, number):
        for batch in super().epoch(number):
            yield batch._replace(target=batch.inputs[0].sum(1, keepdim=True))


TRAIN, VALIDATION = Rings(seed=1, count=80), Rings(seed=2)
QUICK = Settings(epochs=2, learning_rate=0.02)


def make(seed=0):
    torch.manual_seed(seed)
    return models.KAN([2, 4, 3])


def assert_same_history(found, expected):
    for ours, theirs in zip(found.history, expected.history, strict=True):
        assert list(ours) == list(theirs)
        for name, value in theirs.items():
            near = value if value is None else pytest.approx(value, rel=2e-3, abs=1e-4)
            assert ours[name] == near, name


@pytest.mark.parametrize(
    "settings",
    [
        Settings(epochs=3, learning_rate=0.02, weight_decay=0.1),
        Settings(epochs=3, learning_rate=0.02, schedule="plateau", clip=0.1, select="loss"),
        Settings(epochs=2, learning_rate=0.02, schedule="constant", clip=0.0, accumulation=2),
        Settings(epochs=2, learning_rate=0.02, rates={"activations": 0.1}),
    ],
    ids=["cosine and decay", "plateau and clipping", "accumulation of uneven batches", "rates"],
)
def test_the_run_is_that_of_torch(settings):
    ours, theirs = make(), make()
    steps = []
    run = train_mlx(ours, TRAIN, VALIDATION, settings, seed=0, on_batch=[steps.append])
    expected_steps = []
    expected = fit(theirs, TRAIN, VALIDATION, settings, seed=0, on_batch=[expected_steps.append])
    assert_same_history(run, expected)
    assert run.best_epoch == expected.best_epoch
    assert not ours.training
    for ours_, theirs_ in zip(ours.parameters(), theirs.parameters(), strict=True):
        torch.testing.assert_close(ours_, theirs_, rtol=1e-2, atol=1e-3)
    for a, b in zip(steps, expected_steps, strict=True):
        assert (a.batch, a.batches, a.examples) == (b.batch, b.batches, b.examples)
        assert a.loss == pytest.approx(b.loss, rel=1e-3)


def test_a_convolutional_network_with_running_statistics():
    train, validation = Rings(image=True, seed=1), Rings(image=True, seed=2)
    runs = []
    for trainer in (train_mlx, fit):
        torch.manual_seed(0)
        model = vision.ConvKAN((2, 4, 4), 3, channels=(3, 4), form="expanded")
        runs.append(trainer(model, train, validation, QUICK, seed=0))
    assert_same_history(*runs)


def test_label_smoothing_is_torchs():
    expected = make()
    loss = nn.CrossEntropyLoss(label_smoothing=0.2)
    theirs = fit(expected, TRAIN, VALIDATION, QUICK, seed=0, loss=loss)
    ours = train_mlx(make(), TRAIN, VALIDATION, QUICK, seed=0, label_smoothing=0.2)
    for a, b in zip(ours.history, theirs.history, strict=True):
        assert a["train_loss"] == pytest.approx(b["train_loss"], rel=1e-3)
        # Validation asks for the plain loss.
        assert a["validation_loss"] < b["validation_loss"]


def test_numbers_can_be_predicted():
    settings = Settings(epochs=2, learning_rate=0.02, select="loss")
    torch.manual_seed(0)
    ours = train_mlx(KANLinear(2, 1), Line(), Line(seed=1), settings, seed=0, loss="mse")
    torch.manual_seed(0)
    loss = nn.functional.mse_loss
    theirs = fit(KANLinear(2, 1), Line(), Line(seed=1), settings, seed=0, loss=loss)
    assert_same_history(ours, theirs)
    assert ours.history[0]["train_accuracy"] is None


def test_a_killed_run_goes_on_as_if_it_had_not_been(tmp_path):
    def trained(folder, on_epoch=()):
        model = models.MLP([2, 8, 3], dropout=0.3)
        run = train_mlx(model, TRAIN, VALIDATION, QUICK, seed=5, folder=folder, on_epoch=on_epoch)
        return model, run

    def kill(row, model):
        if row["epoch"] == 2:
            raise KeyboardInterrupt

    torch.manual_seed(3)
    whole, expected = trained(tmp_path / "whole")
    torch.manual_seed(3)
    with pytest.raises(KeyboardInterrupt):
        trained(tmp_path / "killed", [kill])
    torch.manual_seed(4)
    again, run = trained(tmp_path / "killed")
    assert run.history == expected.history
    for a, b in zip(again.parameters(), whole.parameters(), strict=True):
        assert torch.equal(a, b)


def test_a_run_of_torch_is_not_gone_on_with(tmp_path):
    fit(make(), TRAIN, VALIDATION, QUICK, seed=0, folder=tmp_path)
    with pytest.raises(InputError) as caught:
        train_mlx(make(), TRAIN, VALIDATION, QUICK, seed=0, folder=tmp_path)
    assert str(caught.value) == (
        f"{tmp_path / 'checkpoint.safetensors'} is from a run with backend = nothing, this one "
        f"has mlx: use another folder, or delete the file to start again"
    )


def test_frozen_parameters_stay():
    model = make()
    frozen = model.layers[0].coefficients.requires_grad_(False).clone()
    train_mlx(model, TRAIN, VALIDATION, QUICK, seed=0)
    assert torch.equal(model.layers[0].coefficients, frozen)
    assert not torch.equal(model.layers[1].coefficients, make().layers[1].coefficients)


def test_what_changes_between_epochs_is_seen():
    model = make()

    def restart(step):
        if step.batch == step.batches and step.epoch == 1:
            model.load_state_dict(make(1).state_dict())

    history = train_mlx(model, TRAIN, VALIDATION, QUICK, seed=0, on_batch=[restart]).history
    untouched = train_mlx(make(), TRAIN, VALIDATION, QUICK, seed=0).history
    assert history[0]["train_loss"] == untouched[0]["train_loss"]
    assert history[1]["train_loss"] > untouched[1]["train_loss"] + 0.01


def test_knots_follow_data_between_epochs():
    runs = []
    for trainer in (train_mlx, fit):
        model = make()

        def follow(step, model=model):
            if step.batch == step.batches and step.epoch == 1:
                model.update_grid(TRAIN.x)

        runs.append(trainer(model, TRAIN, VALIDATION, QUICK, seed=0, on_batch=[follow]))
        assert model.layers[0].basis.breaks.dtype == torch.float64
    assert_same_history(*runs)


def test_the_callers_random_state_is_left_alone():
    mx.random.seed(7)
    expected = mx.random.uniform(shape=(3,)).tolist()
    mx.random.seed(7)
    torch_state = torch.random.get_rng_state()
    model = models.MLP([2, 4, 3], dropout=0.5)
    torch.random.set_rng_state(torch_state)
    train_mlx(model, TRAIN, VALIDATION, Settings(epochs=1), seed=0)
    assert mx.random.uniform(shape=(3,)).tolist() == expected
    assert torch.equal(torch.random.get_rng_state(), torch_state)


def test_a_label_out_of_range_stops_the_run():
    broken = Rings()
    broken.y[5] = 3
    with pytest.raises(RunError, match=r"^the loss is nan in epoch 1, batch \d \(items "):
        train_mlx(make(), broken, VALIDATION, QUICK, seed=0)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            {"settings": Settings(precision="bfloat16")},
            "precision is 'bfloat16': MLX trains in float32 only; use precision='float32' or the "
            "torch backend",
        ),
        (
            {"penalty": lambda model: 0},
            "penalty is a function of a torch model: MLX trains without; use torch",
        ),
        (
            {"loss": "cross-entropy"},
            "unknown loss 'cross-entropy': did you mean 'cross_entropy'? "
            "(known: cross_entropy, mse)",
        ),
        (
            {"loss": "mse", "label_smoothing": 0.1},
            "label_smoothing goes with loss='cross_entropy' only: leave it out",
        ),
        (
            {"settings": Settings(unfreeze={"activations": 2})},
            "unfreeze is for torch: MLX trains the same parameters in every epoch",
        ),
        ({"label_smoothing": 1.0}, "label_smoothing must lie in [0, 1), got 1.0"),
        (
            {"model": models.KAN([2, 3]).double()},
            "'layers.0.coefficients' is float64: MLX trains in float32 only; use model.float()",
        ),
        ({"device": "xla:0"}, "MLX can't use the device 'xla:0' here: use one of "),
        ({"seed": -1}, "seed is -1: give a whole number of at least 0"),
        ({"model": nn.Bilinear(2, 2, 3)}, "MLX has no twin of Bilinear: use one of "),
        (
            {"train": Line(), "settings": Settings(epochs=1, select="loss")},
            "cross_entropy takes logits (n, C) and labels (n,), got (32, 3) and (32, 1)",
        ),
        (
            {"loss": "mse", "settings": Settings(epochs=1, select="loss")},
            "mse takes predictions and targets of one shape, got (32, 3) and (32,)",
        ),
    ],
)
def test_what_is_not_supported_is_refused_by_name(change, message):
    asked = {
        "model": make(),
        "train": TRAIN,
        "validation": VALIDATION,
        "settings": QUICK,
        "seed": 0,
    }
    with pytest.raises(InputError) as caught:
        train_mlx(**({"seed": 0} | asked | change))
    assert str(caught.value).startswith(message)
