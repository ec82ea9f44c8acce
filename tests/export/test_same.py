import pytest
import torch
from torch import nn

from edgewise.core import InputError, RunError
from edgewise.export.example import Inputs
from edgewise.export.same import check_same

INPUTS = Inputs(("x",), (torch.ones(2, 3),), ({0: "batch", 1: "length"},))


class Sum(nn.Module):
    def forward(self, x):
        return x.sum(1)


def test_it_asks_at_three_sizes_and_tells_the_difference():
    shapes = []

    def program(tensors):
        shapes.append(tuple(tensors[0].shape))
        return [tensors[0].sum(1) * (1 + 2e-6)]

    assert check_same(program, Sum(), INPUTS, "it") == pytest.approx(2e-6, rel=0.2)
    assert shapes == [(2, 3), (1, 3), (3, 6)]


@pytest.mark.parametrize(
    ("program", "message"),
    [
        (
            lambda t: [t[0].sum(1) * 1.001],
            "it differs from the model by 1.0e-03 of its largest number, more than 1e-05; nothing "
            "was written",
        ),
        (
            lambda t: [t[0].sum(1) * torch.nan],
            "it differs from the model by nan of its largest number, more than 1e-05; nothing was "
            "written",
        ),
        (lambda t: [t[0]], "it gives the shape (2, 3) where the model gives (2,)"),
    ],
)
def test_another_answer_is_refused(program, message):
    with pytest.raises(RunError) as caught:
        check_same(program, Sum(), INPUTS, "it")
    assert str(caught.value) == message


def test_a_model_that_gives_no_numbers_is_named():
    inputs = Inputs(("x",), (torch.full((2, 3), torch.inf),), ({0: "batch"},))
    with pytest.raises(InputError) as caught:
        check_same(lambda t: [t[0].sum(1)], Sum(), inputs, "it")
    assert str(caught.value) == (
        "the model gives numbers that are not finite for the example: give another"
    )
