"""Where each tensor lies for MLX; MLX itself is not needed."""

import pytest
import torch
from torch import nn

from edgewise.core import InputError
from edgewise.layers.conv import KANConv2d
from edgewise.layers.linear import KANLinear
from edgewise.mlx.layout import entries


def shapes(model):
    return {entry.array: tuple(entry.arranged().shape) for entry in entries(model)}


def test_coefficients_have_the_functions_last_where_they_are_summed():
    K = KANLinear(2, 3).basis.size
    found = shapes(KANLinear(2, 3, bias=True))
    assert found["coefficients"] == (2, K, 3)
    assert found["base_weight"] == (2, 3)
    assert found["bias"] == (3,)


def test_kernels_have_channels_last():
    found = shapes(KANConv2d(4, 6, (3, 5), groups=2, basis="gaussian"))
    assert found["coefficients"] == (6, 3, 5, 2, 8)
    assert found["base_weight"] == (6, 3, 5, 2)
    assert shapes(nn.Conv3d(2, 3, (4, 5, 6)))["weight"] == (3, 4, 5, 6, 2)


def test_restored_undoes_arranged():
    for model in (KANConv2d(4, 6, (3, 5)), nn.Conv1d(2, 3, 4), KANLinear(2, 3)):
        for entry in entries(model):
            assert torch.equal(entry.restored(entry.arranged()), entry.tensor)


def test_names_are_torchs_but_for_members_of_a_sequential():
    model = nn.ModuleDict({"a": nn.Sequential(nn.Linear(2, 2), nn.Sequential(nn.BatchNorm1d(2)))})
    names = {entry.name: entry.array for entry in entries(model)}
    assert names == {
        "a.0.weight": "a.layers.0.weight",
        "a.0.bias": "a.layers.0.bias",
        "a.1.0.weight": "a.layers.1.layers.0.weight",
        "a.1.0.bias": "a.layers.1.layers.0.bias",
        "a.1.0.running_mean": "a.layers.1.layers.0.running_mean",
        "a.1.0.running_var": "a.layers.1.layers.0.running_var",
    }


def test_every_tensor_of_the_state_has_its_place():
    model = nn.Sequential(KANConv2d(1, 2, 3, normalize="batch"), nn.Flatten(), KANLinear(8, 2))
    left_out = {"0.norm.num_batches_tracked"}
    assert {entry.name for entry in entries(model)} == set(model.state_dict()) - left_out


def test_a_shared_parameter_is_refused():
    layer = nn.Linear(2, 2)
    with pytest.raises(InputError) as caught:
        entries(nn.Sequential(layer, nn.Tanh(), layer))
    assert str(caught.value) == (
        "'0.weight' and '2.weight' are one parameter, which MLX would train as two; "
        "give each module its own"
    )
