import copy

import pytest
import torch
from torch import nn
from train_toys import Toys, same_state

from edgewise.bases import Rational
from edgewise.core import InputError, seeded
from edgewise.layers.conv import KANConv2d
from edgewise.layers.group_rational import GroupRational
from edgewise.layers.kaf import KAF
from edgewise.layers.kernel_activation import KernelActivation
from edgewise.models import KAN
from edgewise.train import Settings, Unfreezing, activation_parameters, first_epochs, fit

# Everything that could move a parameter that should stand still: decay, accumulation, a schedule.
SETTINGS = Settings(epochs=4, learning_rate=0.05, weight_decay=0.5, accumulation=3)
SCHEDULE = {"activations": 3, "layers.1.coefficients": 2}


def network():
    with seeded(0, "network"):
        return KAN([2, 4, 3], Rational(3, 2), dropout=0.1)


def run(model, folder=None, schedule=SCHEDULE, on_epoch=(), on_batch=()):
    train = Unfreezing(Toys(), model, schedule)
    hooks = {"on_epoch": on_epoch, "on_batch": on_batch}
    return fit(model, train, Toys(shuffle=False), SETTINGS, seed=0, folder=folder, **hooks)


def test_what_is_frozen_does_not_change_by_a_bit_and_the_rest_does():
    model = network()
    states = [copy.deepcopy(dict(model.named_parameters()))]
    run(model, on_epoch=[lambda _, m: states.append(copy.deepcopy(dict(m.named_parameters())))])
    first = first_epochs(model, SCHEDULE)
    assert first == {
        "layers.0.coefficients": 3,
        "layers.0.basis.b": 3,
        "layers.1.coefficients": 2,
        "layers.1.basis.b": 3,
    }
    for epoch in range(1, 5):
        for name, after in states[epoch].items():
            same = torch.equal(after, states[epoch - 1][name])
            assert same == (epoch < first.get(name, 1)), (epoch, name)


@pytest.mark.parametrize("dies_in", [1, 2, 3])
@pytest.mark.parametrize("within", [False, True])
def test_a_killed_run_goes_on_bit_for_bit(dies_in, within, tmp_path):
    whole = network()
    last = run(whole).last_state

    def die(what, *_):
        if (what.epoch if within else what["epoch"]) == dies_in:
            raise KeyboardInterrupt

    hook = {"on_batch" if within else "on_epoch": [die]}
    with pytest.raises(KeyboardInterrupt):
        run(network(), tmp_path, **hook)
    again = network()
    resumed = run(again, tmp_path)
    assert same_state(resumed.last_state, last)
    assert same_state(again.state_dict(), whole.state_dict())


def test_without_a_schedule_nothing_is_different():
    model, plain = network(), network()
    run(model, schedule={})
    fit(plain, Toys(), Toys(shuffle=False), SETTINGS, seed=0)
    assert same_state(model.state_dict(), plain.state_dict())


def test_from_the_first_epoch_it_is_the_plain_run():
    model, plain = network(), network()
    run(model, schedule={"*": 1})
    fit(plain, Toys(), Toys(shuffle=False), SETTINGS, seed=0)
    assert same_state(model.state_dict(), plain.state_dict())


def test_the_parameters_that_shape_functions():
    model = nn.ModuleDict(
        {
            "kan": KAN([2, 1], Rational()),
            "conv": KANConv2d(1, 1, 3),
            "plain": KernelActivation(2, 2),
            "whole": KernelActivation(2, 2, redundant=True, shift=True),
            "kaf": KAF(2),
            "group": GroupRational(8),
            "linear": nn.Linear(2, 2),
        }
    )
    assert activation_parameters(model) == [
        "kan.layers.0.coefficients",
        "kan.layers.0.basis.b",
        "conv.coefficients",
        "plain.w",
        "whole.w",
        "whole.b",
        "whole.d",
        "kaf.alpha",
        "kaf.u",
        "group.a",
        "group.basis.b",
    ]
    assert activation_parameters(KAF(2)) == ["alpha", "u"]


def test_the_last_entry_that_fits_counts():
    model = KAN([2, 1])
    assert set(first_epochs(model, {"*bias": 1, "*": 4}).values()) == {4}
    assert first_epochs(model, {"*": 4, "*bias": 1})["layers.0.bias"] == 1


@pytest.mark.parametrize(
    ("schedule", "message"),
    [
        (
            {"activation": 2},
            "no parameter fits 'activation' in the schedule: did you mean 'activations'? "
            "(known: activations, layers.0.coefficients, layers.0.base_weight, layers.0.bias)",
        ),
        (
            {"*": 0},
            "the schedule's epoch for '*' must be a whole number of at least 1, got 0",
        ),
        (
            {"*": True},
            "the schedule's epoch for '*' must be a whole number of at least 1, got True",
        ),
        (
            {"*": 2},
            "the schedule leaves nothing to learn in epoch 1: let some parameters begin there",
        ),
    ],
)
def test_what_makes_no_schedule(schedule, message):
    with pytest.raises(InputError) as caught:
        Unfreezing(Toys(), KAN([2, 1]), schedule)
    assert str(caught.value) == message


def test_what_fit_would_not_see():
    model = KAN([2, 1])
    model.layers[0].coefficients.requires_grad_(False)
    with pytest.raises(InputError) as caught:
        Unfreezing(Toys(), model, {"activations": 3})
    assert str(caught.value) == (
        "the parameter 'layers.0.coefficients' requires no gradient, so that fit would leave it "
        "out: call model.requires_grad_() first"
    )
