import pytest
import torch
from format_cases import CASES, made, streams
from torch import nn

import edgewise as ew
from edgewise.core import InputError
from edgewise.export.example import example_of, inputs_for

KNOWN = [(row, variant) for row in CASES for variant in CASES[row] if row != "SymbolicKAN"]


@pytest.mark.parametrize(("row", "variant"), KNOWN)
def test_the_model_takes_its_example_at_other_sizes(row, variant):
    model, inputs = made(row, variant), example_of(made(row, variant))
    for sizes in ({}, {"batch": 1}, {"batch": 3, "length": 2}, {"length": 7}):
        assert len(model(*inputs.resized(**sizes))) == sizes.get("batch", 2)


def test_lengths_stay_within_the_length():
    inputs = example_of(streams())
    assert inputs.resized(batch=3, length=3)[1].tolist() == [3, 2, 3]
    assert inputs.sizes() == {"batch": 2, "length": 4}


def test_times_lie_in_the_encoders_span():
    times = example_of(streams("raw")).tensors[0]
    assert times.dtype == torch.float64
    assert (times >= 1.7e9).all()
    assert (times <= 1.7e9 + 23**2).all()


def test_what_is_given_is_taken():
    x = torch.rand(3, 2, requires_grad=True)
    inputs = inputs_for(nn.Linear(2, 1), [x])
    assert inputs.names == ("input_0",)
    assert inputs.axes == ({0: "batch"},)
    assert torch.equal(inputs.tensors[0], x)
    assert not inputs.tensors[0].requires_grad
    assert inputs_for(nn.Linear(2, 1), x, axes=[{0: "rows"}]).sizes() == {"rows": 3}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((nn.Linear(2, 1),), "Linear is traced with an example of its inputs: give one"),
        (
            (nn.Linear(2, 1), 3.0),
            "example must be a tensor, or one for each input, with a first axis",
        ),
        (
            (nn.Linear(2, 1), []),
            "example must be a tensor, or one for each input, with a first axis",
        ),
        (
            (nn.Linear(2, 1), torch.tensor(1.0)),
            "example must be a tensor, or one for each input, with a first axis",
        ),
        (
            (nn.Linear(2, 1), torch.rand(1, 2)),
            "the example 'input_0' must be at least 2 long on axis 0 ('batch'), which may then "
            "have any size; got shape (1, 2)",
        ),
        (
            (nn.Linear(2, 1), torch.rand(2, 2), [{0: "batch"}] * 2),
            "axes must be one dictionary for each of 1 inputs",
        ),
        (
            (ew.models.MLP([2, 1]), (torch.rand(2, 2), torch.rand(2, 2))),
            "MLP takes x, got 2 inputs as example",
        ),
        (
            ("linear", torch.rand(2, 2)),
            "a model is a torch.nn.Module, got str: give the model_ of a fitted estimator, or use "
            "save_pipeline",
        ),
    ],
)
def test_what_does_not_fit_is_refused(arguments, message):
    with pytest.raises(InputError) as caught:
        inputs_for(*arguments)
    assert str(caught.value) == message
