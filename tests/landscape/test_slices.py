import pytest
import torch
import torch.nn.functional as F
from torch import nn

from edgewise.core import InputError, generator
from edgewise.curvature import Functional
from edgewise.landscape import random_direction, slices
from edgewise.models import KAN

X = 2 * torch.rand(40, 2, dtype=torch.float64, generator=generator(0)) - 1
DATA = (X, X.prod(1, keepdim=True))


def mlp():
    return nn.Sequential(nn.Linear(2, 6), nn.Tanh(), nn.Linear(6, 1)).double()


def test_the_plane_holds_the_loss_at_each_of_its_points():
    model = mlp()
    plane = slices(model, F.mse_loss, DATA, points=5, span=0.5, seed=3)
    f = Functional(model, F.mse_loss, DATA)
    for i, a in enumerate(plane.a):
        for j, b in enumerate(plane.b):
            theta = f.point() + a * plane.directions[0] + b * plane.directions[1]
            assert plane.loss[i, j] == pytest.approx(float(f.value(theta)), rel=1e-12)
    assert plane.a.tolist() == [-0.5, -0.25, 0.0, 0.25, 0.5]
    again = slices(model, F.mse_loss, DATA, points=5, span=0.5, seed=3)
    assert torch.equal(again.loss, plane.loss)


def test_filters_of_a_direction_have_the_norms_of_the_model():
    model = mlp()
    f = Functional(model, F.mse_loss, DATA)
    d = f.flat.split(random_direction(f, generator(0)))
    own = f.flat.split(f.point())
    for name in ("0.weight", "2.weight"):
        assert torch.allclose(d[name].norm(dim=1), own[name].norm(dim=1))
    assert not d["0.bias"].any()
    free = random_direction(f, generator(0), "none")
    assert torch.allclose(free.norm(), f.point().norm())


def test_edges_are_a_kans_filters():
    model = KAN([2, 3, 1]).double()
    f = Functional(model, F.mse_loss, DATA)
    d, own = (f.flat.split(v) for v in (random_direction(f, generator(0)), f.point()))
    for layer in ("layers.0", "layers.1"):
        size = [
            s[f"{layer}.coefficients"].square().sum(0) + s[f"{layer}.base_weight"].square()
            for s in (d, own)
        ]
        assert torch.allclose(*size)
        assert not d[f"{layer}.bias"].any()


def test_by_function_edges_change_by_their_own_size_whatever_the_grid():
    model = KAN([2, 3, 1]).double()
    f = Functional(model, F.mse_loss, DATA)
    theta, d = f.point(), random_direction(f, generator(0), "function")
    before = [c.square().mean(0).sqrt() for c in model.curves(X)]
    f.assign(d)
    first = model.layers[0].curves(X).square().mean(0).sqrt()
    f.assign(theta)
    assert torch.allclose(first, before[0], rtol=1e-10)
    with pytest.raises(InputError, match=r"^normalize='function' is for models with KAN layers"):
        random_direction(Functional(mlp(), F.mse_loss, DATA), generator(0), "function")


def test_given_directions_are_taken_as_they_are():
    model = mlp()
    n = Functional(model, F.mse_loss, DATA).size
    e, g = torch.eye(n, dtype=torch.float64)[:2]
    plane = slices(model, F.mse_loss, DATA, directions=[e, g], points=3)
    assert torch.equal(plane.directions, torch.stack([e, g]))
    assert plane.normalize == "given"


def test_what_was_interrupted_goes_on(tmp_path):
    model, seen = mlp(), []

    def stop(done, total):
        seen.append((done, total))
        if len(seen) == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        slices(model, F.mse_loss, DATA, points=5, folder=tmp_path, progress=stop)
    plane = slices(model, F.mse_loss, DATA, points=5, folder=tmp_path)
    assert torch.equal(plane.loss, slices(model, F.mse_loss, DATA, points=5).loss)
    assert seen == [(1, 5), (2, 5)]
    with pytest.raises(InputError, match=r"slice.json holds the results of other states"):
        slices(model, F.mse_loss, DATA, points=7, folder=tmp_path)


def test_bad_input_is_refused():
    model = mlp()
    with pytest.raises(InputError, match=r"^points must be an odd number of at least 3, got 4$"):
        slices(model, F.mse_loss, DATA, points=4)
    with pytest.raises(InputError, match=r"^span must be a positive number, got 0$"):
        slices(model, F.mse_loss, DATA, span=0)
    with pytest.raises(InputError, match=r"^a plane needs two directions, got 1$"):
        slices(model, F.mse_loss, DATA, directions=[torch.ones(25)])
    with pytest.raises(InputError, match=r"^unknown normalisation 'filtr': did you mean 'filter'"):
        slices(model, F.mse_loss, DATA, normalize="filtr")
