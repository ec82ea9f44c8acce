"""The native CPU kernel beside the textbook: values and gradients, whatever the shape."""

import pytest
import torch
from slow_splines import (
    assert_near,
    layer,
    needs_native,
    problem,
    spline,
    uneven,
    with_gradients,
)
from torch.fx.experimental.proxy_tensor import make_fx
from torch.utils._python_dispatch import TorchDispatchMode

from edgewise.bases.knots import extend
from edgewise.core import InputError
from edgewise.kernels import Spline, native
from edgewise.kernels.operator import _backward, _forward, spline_linear

pytestmark = [needs_native, pytest.mark.usefixtures("each_library")]

KINDS = ["equal", "shared", "own"]


def ours(shape, x, C, W, dy, base):
    """What the kernel gives, in the dtype of x."""
    return with_gradients(lambda x, C, W: spline_linear(x, C, shape, W, base), dy, x, C, W)


def both(shape, x, C, W, dy, base):
    """Beside it what the textbook gives, in float64."""
    found = ours(shape, x, C, W, dy, base)
    wide = [None if t is None else t.double() for t in (x, C, W)]
    truth = with_gradients(lambda x, C, W: layer(x, C, shape, W, base), dy.double(), *wide)
    return found, truth


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("degree", native.DEGREES)
@pytest.mark.parametrize("base", native.BASES)
def test_values_and_gradients_are_those_of_the_textbook(kind, degree, base):
    shape = spline(kind, degree, 5, 3)
    x, C, W, dy = problem(63, 3, 10, shape, base)
    assert_near(*both(shape, x, C, W, dy, base), 1e-12, 1e-10)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    ("N", "inputs", "O", "cells"),
    [
        (0, 3, 2, 5),
        (1, 1, 1, 1),
        (1, 9, 65, 5),
        (100, 8, 10, 1),
        (63, 17, 1, 100),
        (1100, 2, 33, 2),
    ],
)
def test_shapes_that_fill_no_vector_and_no_block(kind, N, inputs, O, cells):
    shape = spline(kind, 3, cells, inputs)
    x, C, W, dy = problem(N, inputs, O, shape, "silu")
    assert_near(*both(shape, x, C, W, dy, "silu"), 1e-12, 1e-10)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("degree", native.DEGREES)
@pytest.mark.parametrize("cells", [5, 100])
def test_in_float32_they_are_within_1e_5(kind, degree, cells):
    shape = spline(kind, degree, cells, 4)
    tensors = [t.float() for t in problem(100, 4, 10, shape, "silu")]
    assert_near(*both(shape, *tensors, "silu"), 1e-5)


@pytest.mark.parametrize("base", ["silu", "tanh"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_the_base_activation_holds_over_the_whole_range(base, dtype):
    shape = spline("equal", 3, 5)
    x = torch.cat([torch.linspace(-20, 20, 999), torch.tensor([-1e4, -90.0, 90.0, 1e4])])
    x = x.to(dtype).unsqueeze(-1)
    C = torch.zeros(shape.size, 1, 1, dtype=dtype)
    W = torch.ones(1, 1, dtype=dtype)
    found, truth = both(shape, x, C, W, torch.ones(len(x), 1, dtype=dtype), base)
    close = 2e-6 if dtype == torch.float32 else 1e-14
    for a, b in zip(found[:2], truth[:2], strict=True):
        torch.testing.assert_close(a.double(), b, rtol=close, atol=close)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("shape", [(300, 5, 65), (1500, 19, 7), (3, 2, 200)])
def test_the_number_of_threads_changes_no_bit(kind, shape):
    splines = spline(kind, 3, 5, shape[1])
    tensors = [t.float() for t in problem(*shape, splines, "silu")]
    results = []
    try:
        for threads in (1, 2, 3):
            torch.set_num_threads(threads)
            results.append(ours(splines, *tensors, "silu"))
    finally:
        torch.set_num_threads(1)
    for other in results[1:]:
        assert all(torch.equal(a, b) for a, b in zip(results[0], other, strict=True))


def test_strides_do_not_matter():
    shape = spline("own", 3, 5, 4)
    x, C, W, dy = problem(20, 4, 6, shape, "tanh")
    expected = both(shape, x, C, W, dy, "tanh")[0]
    twisted = [torch.stack([t, t], dim=-1)[..., 0] for t in (x, C, W)]
    found = with_gradients(
        lambda x, C, W: spline_linear(x, C, shape, W, "tanh"), dy.T.contiguous().T, *twisted
    )
    assert not twisted[0].is_contiguous()
    assert all(torch.equal(a, b) for a, b in zip(found, expected, strict=True))


@pytest.mark.parametrize("wanted", ["x", "C", "W", "CW", "xC"])
def test_only_what_is_asked_for_gets_a_gradient(wanted):
    shape = spline("equal", 2, 5)
    tensors = dict(zip("xCW", problem(9, 3, 4, shape, "silu")[:3], strict=True))
    leaves = {k: t.clone().requires_grad_(k in wanted) for k, t in tensors.items()}
    spline_linear(leaves["x"], leaves["C"], shape, leaves["W"], "silu").square().sum().backward()
    truth = {k: t.clone().requires_grad_(k in wanted) for k, t in tensors.items()}
    layer(truth["x"], truth["C"], shape, truth["W"], "silu").square().sum().backward()
    for k in "xCW":
        if k in wanted:
            torch.testing.assert_close(leaves[k].grad, truth[k].grad, rtol=1e-10, atol=1e-10)
        else:
            assert leaves[k].grad is None


@pytest.mark.parametrize("kind", KINDS)
def test_gradcheck_and_gradgradcheck(kind):
    shape = spline(kind, 3, 4, 2)
    tensors = [t.requires_grad_() for t in problem(5, 2, 3, shape, "silu")[:3]]
    # Away from the ends: the second derivative has a step there.
    tensors[0].data.clamp_(-1, 0.8)

    def call(x, C, W):
        return spline_linear(x, C, shape, W, "silu")

    assert torch.autograd.gradcheck(call, tensors)
    assert torch.autograd.gradgradcheck(call, tensors)


def test_the_third_derivative_is_that_of_the_textbook():
    """What a network of physics needs: a loss of second derivatives, and its gradient."""
    shape = spline("shared", 4, 5)
    x, C, W, _ = problem(20, 3, 2, shape, "tanh")
    results = []
    for read in (lambda *t: spline_linear(t[0], t[1], shape, t[2], "tanh"),
                 lambda *t: layer(t[0], t[1], shape, t[2], "tanh")):  # fmt: skip
        leaves = [t.clone().requires_grad_() for t in (x, C, W)]
        (slope,) = torch.autograd.grad(read(*leaves).sum(), leaves[0], create_graph=True)
        (bend,) = torch.autograd.grad(slope.sum(), leaves[0], create_graph=True)
        results.append(torch.autograd.grad(bend.square().sum(), leaves))
    assert_near(*results, 1e-10)


def test_many_gradients_at_once():
    shape = spline("equal", 3, 5)
    x, C, _, _ = problem(4, 3, 2, shape)
    C.requires_grad_()
    y = spline_linear(x, C, shape)
    each = torch.eye(8, dtype=torch.float64).view(8, 4, 2)
    (many,) = torch.autograd.grad(y, C, each, is_grads_batched=True, retain_graph=True)
    for dy, found in zip(each, many, strict=True):
        (expected,) = torch.autograd.grad(y, C, dy, retain_graph=True)
        assert torch.equal(found, expected)


def test_the_operator_keeps_the_rules_of_torch():
    shape = spline("own", 3, 5, 3)
    x, C, W, dy = problem(6, 3, 4, shape, "silu")
    grid = (shape.degree, shape.low, shape.per_unit, shape.knots)
    leaves = [t.requires_grad_() for t in (x, C, W)]
    torch.library.opcheck(_forward, (*leaves, "silu", *grid))
    found = [t.detach() for t in (x, C, W)]
    tests = ("test_schema", "test_faketensor")
    for wants in ((True, True), (False, True), (True, False)):
        torch.library.opcheck(_backward, (*found, dy, "silu", *grid, *wants), test_utils=tests)


@pytest.mark.parametrize("in_dims", [(0, None, None), (1, None, None), (None, 0, 0), (0, 2, None)])
def test_vmap_of_the_operator(in_dims):
    shape = spline("equal", 3, 5)
    sizes = {"x": (4, 3), "C": (shape.size, 3, 2), "W": (3, 2)}
    tensors = []
    for (size, dim), k in zip(zip(sizes.values(), in_dims, strict=True), range(3), strict=True):
        size = list(size) if dim is None else [*size[:dim], 5, *size[dim:]]
        torch.manual_seed(k)
        tensors.append(torch.randn(size, dtype=torch.float64))

    def call(x, C, W):
        return spline_linear(x, C, shape, W, "silu")

    found = torch.func.vmap(call, in_dims)(*tensors)
    for b in range(5):
        own = [t if d is None else t.select(d, b) for t, d in zip(tensors, in_dims, strict=True)]
        torch.testing.assert_close(found[b], call(*own), rtol=1e-13, atol=1e-13)


def saved_bytes(function):
    sizes = []
    with torch.autograd.graph.saved_tensors_hooks(
        lambda t: sizes.append(t.numel() * t.element_size()) or t, lambda t: t
    ):
        function()
    return sum(sizes)


def test_what_is_kept_for_the_way_back_is_what_went_in():
    for cells in (5, 100):
        shape = spline("equal", 3, cells)
        x, C, W, _ = (t.requires_grad_() for t in problem(200, 3, 4, shape, "silu"))
        kept = saved_bytes(lambda x=x, C=C, W=W, s=shape: spline_linear(x, C, s, W, "silu"))
        assert kept == sum(t.numel() * t.element_size() for t in (x, C, W))


def test_a_number_that_is_not_finite_is_named():
    shape = spline("equal", 3, 5)
    x, C, _, _ = problem(40, 12, 2, shape)
    for value in (float("nan"), float("inf"), -float("inf")):
        bad = x.clone()
        bad[33, 11] = value
        bad[34, 2] = value
        with pytest.raises(InputError) as caught:
            spline_linear(bad, C, shape)
        assert str(caught.value) == (
            f"x holds {value} in row 33, feature 11; a layer takes finite numbers"
        )


def test_why_it_can_not_serve():
    x, C = torch.zeros(4, 3), torch.zeros(8, 3, 2)
    cubic = Spline(3, 5, -1.0, 2.5)
    own = cubic._replace(knots=extend(uneven(5).view(1, -1), 3))
    assert native.why_not(x, C, cubic) is None
    assert native.why_not(x, C, own) is None
    assert native.why_not(x.to("meta"), C, cubic) == (
        "the native kernel is for the CPU, x is on meta"
    )
    assert native.why_not(x.bfloat16(), C, cubic) == (
        "the native kernel is for float32 and float64, got torch.bfloat16 and torch.float32"
    )
    assert native.why_not(x.double(), C, cubic) == (
        "the native kernel is for float32 and float64, got torch.float64 and torch.float32"
    )
    for degree in (0, 6):
        assert native.why_not(x, C, cubic._replace(degree=degree)) == (
            f"the native kernel knows degrees 1 to 5, got {degree}"
        )


class Names(TorchDispatchMode):
    """The operators that torch sees."""

    def __init__(self):
        super().__init__()
        self.seen = set()

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        self.seen.add(str(function))
        return function(*args, **(kwargs or {}))


def test_who_watches_sees_the_operator_and_the_same_numbers():
    shape = spline("equal", 3, 5)
    x, C, W, dy = problem(9, 3, 4, shape, "silu")
    expected = ours(shape, x, C, W, dy, "silu")
    with Names() as names:
        found = ours(shape, x, C, W, dy, "silu")
    assert {
        "edgewise.spline_linear.default",
        "edgewise.spline_linear_backward.default",
    } <= names.seen
    assert all(torch.equal(a, b) for a, b in zip(found, expected, strict=True))


def test_a_trace_holds_the_operator():
    shape = spline("equal", 3, 5)
    x, C, _, _ = problem(9, 3, 4, shape)
    graph = make_fx(lambda x, C: spline_linear(x, C, shape))(x, C)
    assert "edgewise.spline_linear" in graph.code
    assert torch.equal(graph(2 * x, C), spline_linear(2 * x, C, shape))


@pytest.mark.parametrize("degree", native.DEGREES)
def test_in_float32_a_place_far_from_zero_keeps_its_digits(degree):
    """On 100 cells, and beside their borders, where rounding may choose the neighbour."""
    shape = Spline(degree, 100, 1000.0, 100.0)
    borders = 1000 + torch.arange(101) / 100
    x = torch.cat([borders, borders + 6.2e-5, torch.rand(300) + 1000]).float().unsqueeze(-1)
    _, C, _, dy = problem(len(x), 1, 3, shape)
    found, truth = both(shape, x, C.float(), None, dy.float(), None)
    # Where a slope has a step at a border, dx may be that of either side.
    wanted = (0, 2) if degree == 1 else (0, 1, 2)
    assert_near([found[k] for k in wanted], [truth[k] for k in wanted], 1e-5)
