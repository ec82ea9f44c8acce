import sys

import pytest
import torch

from edgewise.core import InputError
from edgewise.kernels import chosen
from edgewise.models import KAN
from edgewise.studies.costs.layer_costs import OURS, layer_costs, path_of


def test_every_network_is_timed_and_measured_beside_ours():
    costs = {c.name: c for c in layer_costs((20, 12, 3), batch=16, rounds=2)}
    assert list(costs)[:5] == [
        OURS,
        "edgewise (plain path)",
        "linear",
        "MLP of equal parameters",
        "KernelActivation",
    ]
    assert costs[OURS].ratio == costs[OURS].train_ratio == 1
    for cost in costs.values():
        assert min(cost.forward, cost.step, cost.train, cost.roofline) > 0
        assert cost.peak > 0
    sizes = [costs[n].parameters for n in (OURS, "MLP of equal parameters")]
    assert sizes[0] == 9 * (20 * 12 + 12 * 3)
    assert costs["KernelActivation"].parameters == 2 * (20 * 12 + 12 * 3) + 12 + 3
    assert 0.9 < sizes[1] / sizes[0] < 1.1


def test_what_is_saved_does_not_grow_with_the_grid():
    few, many = (layer_costs((20, 12, 3), batch=16, grid_size=g, rounds=1) for g in (5, 50))
    for a, b in zip(few[:2], many[:2], strict=True):
        # The hidden units; the input is the caller's.
        assert a.saved == b.saved == 16 * 12 * 4


def test_the_path_is_told_with_its_reason():
    layer = KAN([4, 3]).layers[0]
    path, reason = chosen(torch.zeros(2, 4), layer.coefficients, layer.basis.spline)
    assert path_of([4, 3], batch=2) == f"{path}: {reason}"


def test_only_some_are_timed():
    costs = layer_costs((5, 2), batch=3, rounds=1, only=("linear",))
    assert [c.name for c in costs] == [OURS, "linear"]
    with pytest.raises(InputError, match=r"^unknown network 'lineal': did you mean 'linear'\?"):
        layer_costs((5, 2), batch=3, rounds=1, only=("lineal",))


def test_a_peer_that_is_asked_for_and_not_there(monkeypatch):
    monkeypatch.setitem(sys.modules, "efficient_kan", None)
    assert "efficient-kan" not in {c.name for c in layer_costs((5, 2), batch=3, rounds=1)}
    with pytest.raises(InputError, match=r"^efficient-kan can't be imported here: "):
        layer_costs((5, 2), batch=3, rounds=1, only=("efficient-kan",))


def test_widths_that_make_no_sense_are_refused():
    with pytest.raises(InputError):
        layer_costs((3,), batch=2, rounds=1)
