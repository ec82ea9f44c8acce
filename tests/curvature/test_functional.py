import pytest
import torch
import torch.nn.functional as F
from torch import nn

from edgewise.core import InputError
from edgewise.curvature import Functional


def mlp(inputs=3, outputs=4, activation=nn.SiLU):
    return nn.Sequential(nn.Linear(inputs, 7), activation(), nn.Linear(7, outputs)).double()


def sample(n=50, inputs=3, outputs=4):
    x = torch.randn(n, inputs, dtype=torch.float64)
    return x, torch.randint(outputs, (n,)), torch.randn(n, outputs, dtype=torch.float64)


def truth(model, loss, x, y):
    """Value, gradient and Hessian by torch.func on the whole batch."""
    names, shapes = zip(*((k, p.shape) for k, p in model.named_parameters()), strict=True)

    def value(theta):
        parts = theta.split([s.numel() for s in shapes])
        state = {k: t.view(s) for k, t, s in zip(names, parts, shapes, strict=True)}
        return loss(torch.func.functional_call(model, state, (x,)), y)

    theta = torch.cat([p.detach().reshape(-1) for p in model.parameters()])
    gradient = torch.func.jacrev(value)
    return value(theta), gradient(theta), torch.func.jacrev(gradient)(theta)


LOSSES = {
    "cross_entropy": F.cross_entropy,
    "mse": F.mse_loss,
    "huber": F.huber_loss,
    "smooth_l1": F.smooth_l1_loss,
}


@pytest.mark.parametrize("name", LOSSES)
def test_all_derivatives_are_those_of_torch_func(name):
    model, loss = mlp(), LOSSES[name]
    x, labels, targets = sample()
    y = labels if name == "cross_entropy" else targets
    f = Functional(model, loss, (x, y))
    value, gradient, H = truth(model, loss, x, y)
    found, g = f.value_and_gradient()
    assert torch.allclose(found, value, rtol=1e-14)
    assert torch.allclose(f.value(), value, rtol=1e-14)
    assert torch.allclose(g, gradient, rtol=1e-12, atol=1e-15)
    assert torch.allclose(f.hessian().dense(), H, rtol=1e-10, atol=1e-14)
    J = f.jacobian().dense().view(50, 4, -1)
    L = torch.func.jacrev(torch.func.jacrev(lambda p: loss(p, y)))(model(x).detach())
    G = torch.einsum("noi,nomp,mpj->ij", J, L, J)
    assert torch.allclose(f.gauss_newton().dense(), G, rtol=1e-10, atol=1e-14)


def test_the_jacobian_and_its_transpose_are_those_of_the_matrix():
    model, (x, _, y) = mlp(), sample()
    J = Functional(model, F.mse_loss, (x, y), chunk_size=7).jacobian()
    dense = J.dense()
    assert dense.shape == (200, 60)
    v, u = torch.randn(60, dtype=torch.float64), torch.randn(200, dtype=torch.float64)
    assert torch.allclose(J @ v, dense @ v, rtol=1e-12)
    assert torch.allclose(J.T(u), dense.T @ u, rtol=1e-11, atol=1e-13)
    message = "^u must have one number for each of the predictions' entries, got 199$"
    with pytest.raises(InputError, match=message):
        J.T(u[:-1])


def test_the_empirical_fisher_is_the_mean_of_squares_of_gradients():
    model, (x, y, _) = mlp(), sample()
    each = [
        Functional(model, F.cross_entropy, (x[i : i + 1], y[i : i + 1])).gradient()
        for i in range(50)
    ]
    rows = torch.stack(each)
    f = Functional(model, F.cross_entropy, [(x[:20], y[:20]), (x[20:], y[20:])], chunk_size=9)
    assert torch.allclose(f.empirical_fisher().dense(), rows.T @ rows / 50, rtol=1e-11, atol=1e-15)


@pytest.mark.parametrize("keep", [0, 2e4, 1e9])
@pytest.mark.parametrize("chunk_size", [None, 1, 7])
def test_batches_their_order_chunks_and_what_is_kept_change_only_rounding(chunk_size, keep):
    model, (x, y, _) = mlp(), sample()
    v = torch.randn(60, dtype=torch.float64)
    whole = Functional(model, F.cross_entropy, (x, y))
    batches = [(x[37:], y[37:]), (x[:1], y[:1]), (x[1:37], y[1:37])]
    f = Functional(model, F.cross_entropy, iter(batches), chunk_size=chunk_size, keep=keep)
    assert torch.allclose(f.value(), whole.value(), rtol=1e-13)
    assert torch.allclose(f.gradient(), whole.gradient(), rtol=1e-12, atol=1e-16)
    for kind in ("hessian", "gauss_newton", "empirical_fisher"):
        A, B = getattr(f, kind)(), getattr(whole, kind)()
        for _ in range(2):
            assert torch.allclose(A @ v, B @ v, rtol=1e-11, atol=1e-14), kind


def test_graphs_are_kept_up_to_the_budget():
    model, (x, y, _) = mlp(), sample()
    kept = []
    for keep in (0, 3e4, 1e9):
        f = Functional(model, F.cross_entropy, (x, y), chunk_size=5, keep=keep)
        graphs = f._kept(lambda c, f=f: _graph(f, c))
        list(graphs), list(graphs)
        kept.append(len(graphs.graphs))
    assert kept[0] == 0
    assert 0 < kept[1] < 10
    assert kept[2] == 10


def _graph(f, chunk):
    from edgewise.curvature.graphs import GradientGraph

    return GradientGraph(f.point(), lambda t: f._value(t, chunk))


def test_frozen_parameters_are_left_out_and_shared_ones_counted_once():
    model = nn.Sequential(nn.Linear(4, 4), nn.Tanh(), nn.Linear(4, 4), nn.Linear(4, 1)).double()
    model[2].weight = model[0].weight
    model[3].requires_grad_(False)
    x, y = torch.randn(20, 4, dtype=torch.float64), torch.randn(20, 1, dtype=torch.float64)
    f = Functional(model, F.mse_loss, (x, y))
    assert f.slices == {"0.weight": slice(0, 16), "0.bias": slice(16, 20), "2.bias": slice(20, 24)}

    def value(theta):
        W, a, b = theta[:16].view(4, 4), theta[16:20], theta[20:]
        hidden = F.linear(torch.tanh(F.linear(x, W, a)), W, b)
        return F.mse_loss(F.linear(hidden, model[3].weight, model[3].bias), y)

    H = torch.func.jacrev(torch.func.jacrev(value))(f.point())
    assert torch.allclose(f.hessian().dense(), H, rtol=1e-10, atol=1e-14)


def test_params_choose_a_block_of_the_hessian():
    model, (x, _, y) = mlp(), sample()
    f = Functional(model, F.mse_loss, (x, y))
    part = Functional(model, F.mse_loss, (x, y), ["2"])
    places = list(range(*f.slices["2.weight"].indices(60))) + list(
        range(*f.slices["2.bias"].indices(60))
    )
    block = f.hessian().dense()[places][:, places]
    assert torch.allclose(part.hessian().dense(), block, rtol=1e-11, atol=1e-15)


def test_float64_on_demand_leaves_the_model_alone():
    model = mlp().float()
    x, _, y = sample()
    exact = Functional(model, F.mse_loss, (x.float(), y.float()), dtype=torch.float64)
    twin = mlp()
    twin.load_state_dict(model.state_dict())
    truly = Functional(twin, F.mse_loss, (x.float().double(), y.float().double()))
    assert torch.equal(exact.hessian().dense(), truly.hessian().dense())
    assert exact.gradient().dtype == torch.float64
    assert model[0].weight.dtype == torch.float32


def test_an_operator_stays_at_its_point():
    model, (x, _, y) = mlp(), sample()
    f = Functional(model, F.mse_loss, (x, y))
    here, theta = f.hessian(), f.point()
    before = here.dense()
    f.assign(theta + 1)
    assert torch.equal(here.dense(), before)
    assert torch.allclose(f.hessian(theta).dense(), before, rtol=1e-12, atol=1e-15)
    assert not torch.allclose(f.hessian().dense(), before, rtol=1e-2)


def test_the_model_and_its_gradients_are_not_touched_nor_the_random_state():
    model, (x, y, _) = mlp(), sample()
    before, state = [p.clone() for p in model.parameters()], torch.random.get_rng_state()
    f = Functional(model, F.cross_entropy, (x, y))
    with torch.no_grad():  # gradients are taken all the same
        f.hessian() @ torch.ones(60)
        f.gauss_newton() @ torch.ones(60)
    assert all(
        torch.equal(p, q) and p.grad is None
        for p, q in zip(model.parameters(), before, strict=True)
    )
    assert torch.equal(torch.random.get_rng_state(), state)


def test_attention_and_recurrence_have_second_derivatives():
    class Sequence(nn.Module):
        def __init__(self):
            super().__init__()
            self.rnn = nn.LSTM(2, 4, batch_first=True)
            self.attention = nn.MultiheadAttention(4, 2, batch_first=True)

        def forward(self, x):
            h, _ = self.rnn(x)
            return self.attention(h, h, h)[0].mean((1, 2))

    model = Sequence().double()
    x, y = torch.randn(6, 5, 2, dtype=torch.float64), torch.randn(6, dtype=torch.float64)
    f = Functional(model, F.mse_loss, (x, y))
    H, v, theta = f.hessian(), torch.randn(f.size, dtype=torch.float64), f.point()
    step = 1e-5
    slope = (f.gradient(theta + step * v) - f.gradient(theta - step * v)) / (2 * step)
    assert torch.allclose(H @ v, slope, rtol=1e-5, atol=1e-8)


def test_models_of_several_inputs_take_a_tuple():
    class Sum(nn.Module):
        def __init__(self):
            super().__init__()
            self.w = nn.Parameter(torch.ones(1, dtype=torch.float64))

        def forward(self, a, b):
            return self.w * (a + b)

    a, b, y = torch.randn(3, 8, dtype=torch.float64)
    f = Functional(Sum(), F.mse_loss, [((a[:3], b[:3]), y[:3], "ignored"), ((a[3:], b[3:]), y[3:])])
    one = Functional(Sum(), F.mse_loss, ((a, b), y))
    for found in (f, one):
        assert torch.allclose(found.hessian().dense(), 2 * (a + b).square().mean().view(1, 1))


def test_a_thousand_operators_leave_nothing_behind():
    import gc

    model, (x, y, _) = mlp(), sample(8)
    f = Functional(model, F.cross_entropy, (x, y))
    f.hessian() @ torch.ones(60)
    gc.collect()
    gc.disable()  # what has a cycle would stay
    try:
        before = _tensors()
        for _ in range(100):
            f.hessian() @ torch.ones(60)
        assert _tensors() <= before + 1
    finally:
        gc.enable()


def _tensors():
    import gc

    return sum(type(thing) is torch.Tensor for thing in gc.get_objects())


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_the_device_changes_only_rounding():
    model, (x, y, _) = mlp(), sample()
    v = torch.randn(60, dtype=torch.float64)
    cpu = Functional(model, F.cross_entropy, (x, y)).hessian() @ v
    gpu = Functional(model.cuda(), F.cross_entropy, (x, y)).hessian() @ v
    assert torch.allclose(gpu.cpu(), cpu, rtol=1e-10, atol=1e-14)
