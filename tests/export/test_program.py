import pytest
import torch
from torch import nn

import edgewise as ew
from edgewise.core import InputError, RunError
from edgewise.export.program import first_line


class Own(nn.Module):
    """A module of the user's, with two axes of any size."""

    def __init__(self):
        super().__init__()
        self.layer = ew.layers.KANLinear(3, 2, "gaussian")

    def forward(self, x):
        return self.layer(x).sum(1)


class Looks(nn.Module):
    def forward(self, x):
        return x if float(x.sum()) > 0 else -x


def test_a_module_of_the_users_with_axes_of_its_own(tmp_path):
    model, steps = Own().train(), []
    x = torch.rand(3, 4, 3)
    axes = [{0: "batch", 1: "length"}]
    path = tmp_path / "deep" / "own.pt2"
    ew.export.program(model, x, path, axes=axes, on_step=steps.append)
    assert steps == ["tracing", "comparing with the model", "writing"]
    graph = torch.export.load(path).module()
    for shape in ((1, 1, 3), (5, 9, 3)):
        x = torch.rand(shape)
        torch.testing.assert_close(graph(x), model(x), rtol=0, atol=1e-5)
    assert model.training


def test_the_graph_needs_torch_only():
    program = ew.export.program(ew.models.KAN([2, 1]))
    targets = {str(node.target) for node in program.graph.nodes if node.op == "call_function"}
    assert targets
    assert not any("edgewise" in target for target in targets)


def test_a_model_that_looks_at_values_is_named():
    with pytest.raises(RunError) as caught:
        ew.export.program(Looks(), torch.rand(2, 2))
    assert str(caught.value).startswith("Looks can't be traced: ")
    assert "\n" not in str(caught.value)


def test_the_file_is_named_as_torch_wants_it(tmp_path):
    with pytest.raises(InputError) as caught:
        ew.export.program(ew.models.MLP([2, 1]), path=tmp_path / "m.bin")
    assert str(caught.value) == (
        f"the file of a traced program ends in .pt2, got {tmp_path / 'm.bin'}"
    )


def test_the_first_cause_is_told_in_a_line():
    error = RuntimeError("a wrapper")
    error.__cause__ = ValueError("the reason.\nand more")
    assert first_line(error) == "the reason"
    assert first_line(KeyError()) == "KeyError"


def test_an_example_that_the_model_refuses_is_refused_in_its_words():
    with pytest.raises(InputError) as caught:
        ew.export.program(ew.models.MLP([2, 1]), torch.rand(2, 3))
    assert str(caught.value) == "MLP takes 2 features on the last axis, got x of shape (2, 3)"
