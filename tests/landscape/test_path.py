import pytest
import torch
import torch.nn.functional as F
from torch import nn

from edgewise.core import InputError
from edgewise.curvature import Functional
from edgewise.landscape import Path, flat_state, interpolate
from edgewise.landscape.certificate import Least, certify, furthest_above
from edgewise.models import KAN

ALPHAS = [-1.0, -0.5, 0.0, 0.5, 1.0, 1.5, 2.0]


def problem():
    torch.manual_seed(3)
    model = KAN([2, 4, 1]).double()
    x = 2 * torch.rand(80, 2, dtype=torch.float64) - 1
    y = torch.sin(3 * x[:, :1]) * x[:, 1:]
    start = Functional(model, F.mse_loss, (x, y)).point()
    optimizer = torch.optim.Adam(model.parameters(), 3e-2)
    for _ in range(40):
        optimizer.zero_grad()
        F.mse_loss(model(x), y).backward()
        optimizer.step()
    return model, start, (x, y)


@pytest.fixture(scope="module")
def case():
    return problem()


def test_losses_slopes_and_bends_are_those_of_the_line(case):
    model, start, data = case
    f = Functional(model, F.mse_loss, data)
    end = f.point()
    path = interpolate(model, start, end, F.mse_loss, data, ALPHAS)
    assert isinstance(path, Path)

    def phi(a):
        return f.value((1 - a) * start + a * end)

    h = 1e-4
    for a, value, slope, bend in zip(
        path.alphas, path.losses["data"], path.slopes, path.bends, strict=True
    ):
        assert value == pytest.approx(float(phi(a)), rel=1e-12)
        assert slope == pytest.approx(float(phi(a + h) - phi(a - h)) / (2 * h), rel=1e-5, abs=1e-6)
        second = float(phi(a + h) - 2 * phi(a) + phi(a - h)) / h**2
        assert bend == pytest.approx(second, rel=1e-3, abs=1e-4)
    assert torch.equal(f.point(), end)
    assert path.transfer == (0.0, 0.0)


def test_the_certificate_has_witnesses_whose_loss_really_falls(case):
    model, start, data = case
    f = Functional(model, F.mse_loss, data)
    path = interpolate(model, start, f.point(), F.mse_loss, data, ALPHAS, eigenvalues=True)
    assert path.certificate.negative  # a KAN's loss is not convex
    for a, least in zip(path.alphas, path.leasts, strict=True):
        theta = torch.lerp(start, f.point(), a)
        truth = torch.linalg.eigvalsh(f.hessian(theta).dense())[0]
        assert least.exact
        assert least.value == pytest.approx(float(truth), rel=1e-7, abs=1e-10)
        assert least.is_negative == (a in path.certificate.negative)
        if least.is_negative:
            assert least.bend < 0
    count = len(path.certificate.negative)
    assert f"negative eigenvalue, with a witness, at {count} of 7" in path.certificate.verdict


def test_a_chord_is_a_witness_for_the_line():
    assert furthest_above([0, 1, 2], [0.0, -1.0, 0.0], 1e-16) is None
    values = [0.0, 1.0, 5.0, 1.0, 0.0]
    chord = furthest_above(list(range(5)), values, 1e-16)
    assert (chord.a, chord.b, chord.c) == (0, 2, 4)
    assert chord.above == pytest.approx(5)
    found = certify([0, 1, 2], [0.0, 1.0, 0.0], [-2.0, -2.0, -2.0], None, 1e-16)
    assert found.verdict == (
        "not convex along the line: at α = 1 the loss lies 1 above the chord from 0 to 2; "
        "its curvature is negative at 3 of 3 points"
    )
    found = certify([0, 1], [0.0, 1.0], [-2.0, 2.0], None, 1e-16)
    assert found.verdict == (
        "not convex along the line: its curvature is negative at 1 of 2 points"
    )
    convex = certify([0, 1], [0.0, 1.0], [1.0, 1.0], [Least(0.1, 0.0, True, 0.1, 1.0)] * 2, 1e-16)
    assert convex.verdict == (
        "no violation of convexity along the line at 2 points; the Hessian has a negative "
        "eigenvalue, with a witness, at 0 of 2"
    )


def test_a_convex_problem_is_not_accused():
    x = torch.randn(30, 3, dtype=torch.float64)
    line = nn.Linear(3, 1).double()
    a, b = torch.zeros(4).double(), torch.ones(4).double()
    path = interpolate(line, a, b, F.mse_loss, (x, x[:, :1]), eigenvalues=True)
    assert path.certificate.chord is None
    assert path.certificate.bent == path.certificate.negative == ()
    assert len(path.alphas) == 50


def test_several_data_and_the_barrier(case):
    model, start, (x, y) = case
    end = Functional(model, F.mse_loss, (x, y)).point()
    data = {"train": [(x[:50], y[:50])], "test": [(x[50:], y[50:])]}
    path = interpolate(model, start, end, F.mse_loss, data, ALPHAS)
    assert list(path.losses) == ["train", "test"]
    for name, part in data.items():
        alone = interpolate(model, start, end, F.mse_loss, part, ALPHAS)
        assert path.losses[name] == alone.losses["data"]
    inside = path.losses["train"][2:5]
    assert path.barrier["train"] == pytest.approx(max(0, inside[1] - (inside[0] + inside[2]) / 2))


def test_states_may_be_dicts_and_models(case):
    model, start, data = case
    end = {k: v.clone() for k, v in model.state_dict().items()}
    a = interpolate(model, start, end, F.mse_loss, data, [0.5])
    b = interpolate(model, start, model, F.mse_loss, data, [0.5])
    c = interpolate(
        model, start, Functional(model, F.mse_loss, data).point(), F.mse_loss, data, [0.5]
    )
    assert a.losses == b.losses == c.losses
    with pytest.raises(InputError, match=r"^the state does not fit the model: .*; pass the model"):
        interpolate(model, start, {"nothing": torch.ones(2)}, F.mse_loss, data, [0.5])
    message = r"^a state is a flat vector, a state dict or a model, got int$"
    with pytest.raises(InputError, match=message):
        interpolate(model, start, 3, F.mse_loss, data, [0.5])
    with pytest.raises(InputError, match=r"^alphas are empty: give at least one point"):
        interpolate(model, start, start, F.mse_loss, data, [])


def test_knots_that_moved_are_brought_to_the_model_and_the_error_is_told(case):
    model, _, (x, y) = case
    moved = KAN([2, 4, 1]).double()
    moved.load_state_dict(model.state_dict())
    moved.update_grid(x**3)
    f = Functional(model, F.mse_loss, (x, y))
    theta, error = flat_state(f, moved)
    assert 1e-12 < error < 0.5
    off = (f.predict(theta, next(iter(f.chunks()))) - moved(x)).square().mean().sqrt()
    assert off < 0.2 * moved(x).std()
    # A finer grid that holds the old one is brought over exactly the other way round.
    finer = KAN([2, 4, 1]).double()
    finer.load_state_dict(model.state_dict())
    finer.refine(10)
    g = Functional(finer, F.mse_loss, (x, y))
    theta, error = flat_state(g, model)
    assert error < 1e-10
    assert torch.allclose(g.predict(theta, next(iter(g.chunks()))), model(x), atol=1e-9)
    path = interpolate(model, model, moved, F.mse_loss, (x, y), [0.0, 1.0])
    assert path.transfer[0] == 0.0
    assert path.transfer[1] > 0


def test_what_was_interrupted_goes_on(case, tmp_path):
    model, start, data = case
    end = Functional(model, F.mse_loss, data).point()
    whole = interpolate(model, start, end, F.mse_loss, data, ALPHAS, eigenvalues=True)

    class Interrupted(Exception):
        pass

    def stop(done, total):
        assert total == 7
        if done == 3:
            raise Interrupted

    arguments = (model, start, end, F.mse_loss, data, ALPHAS)
    with pytest.raises(Interrupted):
        interpolate(*arguments, eigenvalues=True, folder=tmp_path, progress=stop)
    assert (tmp_path / "path.json").exists()
    again = interpolate(*arguments, eigenvalues=True, folder=tmp_path)
    assert again.losses == whole.losses
    assert again.leasts == whole.leasts
    message = r"path.json holds the results of other states, data or settings; choose another"
    with pytest.raises(InputError, match=message):
        interpolate(
            model, start, start, F.mse_loss, data, ALPHAS, eigenvalues=True, folder=tmp_path
        )
