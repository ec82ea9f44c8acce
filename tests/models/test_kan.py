import pytest
import torch

import edgewise as ew
from edgewise.bases import BSpline, Gaussian
from edgewise.core import InputError
from edgewise.models import KAN


def test_it_is_its_layers_one_after_the_other():
    model = KAN([3, 5, 4, 2]).double()
    x = torch.randn(7, 3, dtype=torch.float64)
    h = x
    for layer in model.layers:
        h = layer(h)
    assert torch.equal(model(x), h)
    assert [layer.bias is not None for layer in model.layers] == [True] * 3
    assert model(x.view(7, 1, 3)).shape == (7, 1, 2)


def test_curves_of_every_layer_sum_to_the_next_ones_input():
    model = KAN([3, 5, 2], dropout=0.5).double().train()
    x = torch.randn(7, 3, dtype=torch.float64)
    first, last = model.curves(x)
    assert first.shape == (7, 5, 3)
    assert last.shape == (7, 2, 5)
    assert torch.allclose(first.sum(-1), model.layers[0](x), atol=1e-12)
    assert torch.allclose(last.sum(-1), model.eval()(x), atol=1e-12)


def test_each_layer_has_a_basis_of_its_own():
    own = BSpline(7, 2)
    model = KAN([2, 3, 1], own)
    bases = [layer.basis for layer in model.layers]
    assert [basis.size for basis in bases] == [9, 9]
    assert len({id(basis) for basis in [own, *bases]}) == 3


def test_a_list_gives_each_layer_its_basis():
    model = KAN([2, 3, 1], [Gaussian(6), "fourier"])
    assert [type(layer.basis).__name__ for layer in model.layers] == ["Gaussian", "Fourier"]


@pytest.mark.parametrize("basis", ["bspline", Gaussian(6), ["fourier", BSpline(4, 2)]])
def test_it_is_saved_and_loaded(basis, tmp_path):
    model = KAN([3, 4, 2], basis, base=None, bias=False, dropout=0.1).eval()
    again = ew.load(ew.save(model, tmp_path / "m.safetensors")).eval()
    x = torch.randn(5, 3)
    assert torch.equal(model(x), again(x))
    assert again.dropout.p == 0.1


def test_dropout_falls_between_layers_only():
    one = KAN([3, 2], dropout=0.9).train()
    x = torch.randn(5, 3)
    assert torch.equal(one(x), one(x))
    two = KAN([3, 50, 2], dropout=0.9).train()
    assert not torch.equal(two(x), two(x))


def test_options_reach_the_layers():
    model = KAN([2, 2], base="tanh", bias=False)
    assert model.layers[0].base == "tanh"
    assert model.layers[0].bias is None


def test_refining_keeps_the_function_and_is_saved(tmp_path):
    model = KAN([2, 3, 1], BSpline(4)).double().eval()
    x = torch.rand(50, 2, dtype=torch.float64) * 2 - 1
    before = model(x)
    model.refine(8)
    assert all(layer.basis.size == 11 for layer in model.layers)
    assert torch.allclose(model(x), before, rtol=0, atol=1e-12)
    again = ew.load(ew.save(model, tmp_path / "m.safetensors")).eval()
    assert torch.equal(again(x), model(x))


def test_knots_follow_the_data_layer_after_layer(tmp_path):
    model = KAN([2, 3, 1], BSpline(4), dropout=0.5).double().train()
    x = torch.randn(500, 2, dtype=torch.float64) * 0.3
    before = model.eval()(x)
    model.train()
    residuals = model.update_grid(x)
    assert len(residuals) == 2
    assert all(0 <= float(r) < 0.5 for r in residuals)
    assert model.training
    assert model.dropout.training
    model.eval()
    assert (model(x) - before).norm() < 0.1 * before.norm()
    again = ew.load(ew.save(model, tmp_path / "m.safetensors")).eval()
    assert torch.equal(again(x), model(x))


def test_a_single_layer_that_was_changed_by_hand_is_saved(tmp_path):
    model = KAN([2, 3, 3, 1], BSpline(4)).eval()
    x = torch.rand(50, 2)
    model.layers[1].refine(12)
    model.layers[2].update_grid(model.layers[1](model.layers[0](x)), bound=1.0)
    again = ew.load(ew.save(model, tmp_path / "m.safetensors")).eval()
    assert [layer.basis.size for layer in again.layers] == [7, 15, 7]
    assert torch.equal(again(x), model(x))
    again.refine(24)
    assert torch.allclose(again(x), model(x), atol=1e-6)


def test_the_state_of_a_network_whose_knots_moved_fits_a_fresh_one():
    model, fresh = KAN([2, 3, 1], BSpline(4)), KAN([2, 3, 1], BSpline(4))
    x = torch.rand(200, 2)
    assert all(r < 0.1 for r in model.update_grid(x))
    model.refine(7)
    fresh.load_state_dict(model.state_dict())
    assert torch.equal(fresh(x), model(x))


def test_training_goes_on_after_the_knots_moved_and_the_cells_were_halved():
    x = torch.rand(256, 2, generator=torch.Generator().manual_seed(0)) * 2 - 1
    y = torch.sin(4 * x[:, :1] * x[:, 1:])
    model = KAN([2, 5, 1])
    optimiser = torch.optim.Adam(model.parameters(), lr=0.01)
    losses = []
    for step in range(120):
        if step == 30:
            assert all(r < 0.1 for r in model.update_grid(x, optimiser))
        if step == 60:
            model.refine(10, optimiser)
        optimiser.zero_grad()
        loss = (model(x) - y).square().mean()
        loss.backward()
        optimiser.step()
        losses.append(loss.item())
    for step in (30, 60):
        assert losses[step + 1] < 1.01 * losses[step - 1]
    assert losses[-1] < 0.1 * losses[29]


def test_it_learns_a_product():
    x = torch.rand(256, 2, generator=torch.Generator().manual_seed(0)) * 2 - 1
    y = x.prod(-1, keepdim=True)
    model = KAN([2, 4, 1])
    optimiser = torch.optim.Adam(model.parameters(), lr=0.02)
    for _ in range(200):
        optimiser.zero_grad()
        loss = (model(x) - y).square().mean()
        loss.backward()
        optimiser.step()
    assert loss < 0.02 * y.var()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"widths": [3]}, "widths must be at least two numbers, such as [2, 5, 1], got [3]"),
        ({"widths": 3}, "widths must be at least two numbers, such as [2, 5, 1], got 3"),
        ({"widths": "321"}, "widths must be at least two numbers, such as [2, 5, 1], got '321'"),
        ({"widths": [3, 0]}, "widths[1] must be a whole number of at least 1, got 0"),
        ({"widths": [3.0, 1]}, "widths[0] must be a whole number of at least 1, got 3.0"),
        (
            {"widths": [3, 2], "basis": ["fourier", "bspline"]},
            "basis is a list of 2, but there are 1 layers: give one for each",
        ),
        ({"widths": [3, 2], "dropout": 1.0}, "dropout must lie in [0, 1), got 1.0"),
    ],
)
def test_what_makes_no_network(arguments, message):
    with pytest.raises(InputError) as caught:
        KAN(**arguments)
    assert str(caught.value) == message
