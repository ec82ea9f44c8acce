"""The path that makes the functions again on the way back, beside the one that keeps them."""

import pytest
import torch
from slow_splines import layer, problem, spline, with_gradients
from torch import nn

from edgewise.kernels import expanded as room
from edgewise.kernels.expanded import expanded, recomputed
from edgewise.kernels.spline import ClosedForm


class Waves(nn.Module):
    """Sines of learned frequencies, shifted by a buffer."""

    def __init__(self):
        super().__init__()
        self.omega = nn.Parameter(torch.tensor([0.7, 1.9, 3.1], dtype=torch.float64))
        self.register_buffer("phase", torch.tensor([0.1, 0.2, 0.3], dtype=torch.float64))

    def forward(self, x, order=0):
        angle = x.unsqueeze(-1) * self.omega + self.phase
        return angle.sin() if order == 0 else self.omega * angle.cos()


def polynomials(x, order):
    powers = torch.stack([torch.ones_like(x), x, x * x], dim=-1)
    slopes = torch.stack([torch.zeros_like(x), torch.ones_like(x), 2 * x], dim=-1)
    return powers if order == 0 else slopes


FEATURES = {
    "function": (polynomials, False, 3),
    "module": (Waves(), False, 3),
    "functions first": (ClosedForm(spline("equal", 3, 5)), True, 8),
}
every_kind = pytest.mark.parametrize("kind", FEATURES)


def case(kind, N=63, inputs=3, O=4):
    features, first, size = FEATURES[kind]
    torch.manual_seed(0)
    x, dy = torch.randn(N, inputs).double(), torch.randn(N, O).double()
    C = torch.randn(size, inputs, O).double()
    return features, first, x, C, dy


def parameters(features):
    return list(features.parameters()) if isinstance(features, nn.Module) else []


@every_kind
@pytest.mark.parametrize("N", [0, 1, 63, 100])
@pytest.mark.parametrize("chunk", [1, 700, 1 << 22])
def test_it_is_the_same_in_value_and_gradient_however_it_is_cut(kind, N, chunk, monkeypatch):
    features, first, x, C, dy = case(kind, N)
    monkeypatch.setattr(room, "CHUNK_BYTES", chunk)
    results = []
    for way in (recomputed, expanded):
        leaves = [x.clone().requires_grad_(), C.clone().requires_grad_()]
        y = way(features, *leaves, first)
        results.append((y, *torch.autograd.grad(y, [*leaves, *parameters(features)], dy)))
    for found, expected in zip(*results, strict=True):
        torch.testing.assert_close(found, expected, rtol=1e-12, atol=1e-12)


@every_kind
@pytest.mark.parametrize("wanted", [[0], [1], [0, 1]])
def test_only_what_is_asked_for_gets_a_gradient(kind, wanted):
    features, first, x, C, dy = case(kind)
    leaves = [t.clone().requires_grad_(k in wanted) for k, t in enumerate((x, C))]
    recomputed(features, *leaves, first).backward(dy)
    full = with_gradients(lambda x, C: expanded(features, x, C, first), dy, x, C)
    for k, leaf in enumerate(leaves):
        if k in wanted:
            torch.testing.assert_close(leaf.grad, full[1 + k], rtol=1e-12, atol=1e-12)
        else:
            assert leaf.grad is None
    for p in parameters(features):
        p.grad = None


@every_kind
def test_it_can_be_differentiated_three_times(kind):
    features, first, x, C, _ = case(kind, N=9)
    results = []
    for way in (recomputed, expanded):
        leaves = [x.clone().requires_grad_(), C.clone().requires_grad_()]
        y = way(features, *leaves, first).sin()
        (slope,) = torch.autograd.grad(y.sum(), leaves[0], create_graph=True)
        (bend,) = torch.autograd.grad(slope.sum(), leaves[0], create_graph=True)
        wanted = [*leaves, *parameters(features)]
        results.append(torch.autograd.grad(bend.square().sum(), wanted))
    for found, expected in zip(*results, strict=True):
        torch.testing.assert_close(found, expected, rtol=1e-10, atol=1e-10)


@every_kind
def test_many_gradients_at_once(kind):
    features, first, x, C, _ = case(kind, N=3)
    x.requires_grad_()
    y = recomputed(features, x, C, first)
    each = torch.eye(12, dtype=torch.float64).view(12, 3, 4)
    (many,) = torch.autograd.grad(y, x, each, is_grads_batched=True, retain_graph=True)
    for dy, found in zip(each, many, strict=True):
        (expected,) = torch.autograd.grad(y, x, dy, retain_graph=True)
        torch.testing.assert_close(found, expected, rtol=1e-13, atol=1e-13)


def test_the_way_back_is_that_of_the_parameters_of_the_way_forward():
    """torch.func.functional_call puts others in their place, and takes them away again."""
    _, _, x, C, dy = case("module")
    own, other = Waves(), Waves()
    with torch.no_grad():
        other.omega.mul_(1.5)
        other.phase.mul_(-2)
    held = {name: t.detach().clone() for name, t in other.state_dict().items()}
    held["omega"].requires_grad_()
    x.requires_grad_()

    class Layer(nn.Module):
        def __init__(self):
            super().__init__()
            self.waves = own

        def forward(self, x):
            return recomputed(self.waves, x, C, False)

    y = torch.func.functional_call(Layer(), {f"waves.{k}": v for k, v in held.items()}, (x,))
    found = torch.autograd.grad(y, [x, held["omega"]], dy)
    expected = torch.autograd.grad(recomputed(other, x, C, False), [x, other.omega], dy)
    for a, b in zip(found, expected, strict=True):
        assert torch.equal(a, b)


def test_parameters_that_change_before_the_way_back_are_noticed():
    _, _, x, C, dy = case("module")
    waves = Waves()
    y = recomputed(waves, x.requires_grad_(), C, False)
    with torch.no_grad():
        waves.phase.add_(1)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        y.backward(dy)


@every_kind
def test_what_is_kept_for_the_way_back_is_what_went_in(kind):
    features, first, x, C, _ = case(kind, N=500)
    kept = []
    with torch.autograd.graph.saved_tensors_hooks(lambda t: kept.append(t) or t, lambda t: t):
        recomputed(features, x.requires_grad_(), C.requires_grad_(), first)
    state = 6 if isinstance(features, nn.Module) else 0
    assert sum(t.numel() for t in kept) == x.numel() + C.numel() + state


def test_each_keeps_its_precision():
    """A place of many digits under coefficients of few: the gradient of x has all of its own."""
    _, _, x, C, dy = case("function")
    few = C.float()
    y, dx, dC = with_gradients(
        lambda x, C: recomputed(polynomials, x, C, False), dy.float(), x, few
    )
    assert (y.dtype, dx.dtype, dC.dtype) == (torch.float32, torch.float64, torch.float32)
    full = with_gradients(lambda x, C: expanded(polynomials, x, C, False), dy, x, few.double())
    for a, b in zip((y, dx, dC), full, strict=True):
        torch.testing.assert_close(a.double(), b, rtol=1e-5, atol=1e-5 * float(b.abs().max()))


def test_the_textbook_agrees():
    shape = spline("equal", 3, 5)
    x, C, _, dy = problem(63, 3, 10, shape)
    found = with_gradients(lambda x, C: recomputed(ClosedForm(shape), x, C, True), dy, x, C)
    truth = with_gradients(lambda x, C: layer(x, C, shape), dy, x, C)
    for a, b in zip(found, truth, strict=True):
        torch.testing.assert_close(a, b, rtol=0, atol=1e-11 * float(b.abs().max()))
