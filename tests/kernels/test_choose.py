"""Which path a layer's arithmetic takes, and that all of them give the same."""

import os
import subprocess
import sys

import pytest
import torch
from slow_splines import NATIVE, assert_near, layer, needs_native, problem, spline, with_gradients
from torch.autograd import forward_ad

from edgewise.bases import BSpline
from edgewise.core import InputError
from edgewise.kernels import basis_linear, choose, chosen, native, use
from edgewise.kernels.spline import derivative

KINDS = ["equal", "shared", "own"]


def call(shape, base=None):
    """The chooser's function of x, C and W."""

    def features(x, order):
        return derivative(shape, x, order)

    return lambda x, C, W: basis_linear(x, C, features, functions=shape, W=W, base=base)


def paths(shape):
    """Every path that serves these splines here."""
    can = NATIVE and shape.degree in native.DEGREES
    return ["plain", "native"] if can else ["plain"]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("degree", range(7))
@pytest.mark.parametrize("base", [None, "silu"])
def test_every_path_is_the_textbook(kind, degree, base):
    shape = spline(kind, degree, 5, 3)
    x, C, W, dy = problem(63, 3, 10, shape, base)
    truth = with_gradients(lambda x, C, W: layer(x, C, shape, W, base), dy, x, C, W)
    for path in paths(shape):
        with use(path):
            assert_near(with_gradients(call(shape, base), dy, x, C, W), truth, 1e-12, 1e-10)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    ("N", "inputs", "O", "cells"), [(0, 2, 3, 5), (1, 1, 1, 1), (100, 5, 65, 5), (63, 3, 10, 100)]
)
@pytest.mark.parametrize(("dtype", "tolerances"), [("float64", (1e-12, 1e-10)), ("float32", (1e-5,))])  # fmt: skip
def test_every_path_at_awkward_sizes(kind, N, inputs, O, cells, dtype, tolerances):
    shape = spline(kind, 3, cells, inputs)
    tensors = [t.to(getattr(torch, dtype)) for t in problem(N, inputs, O, shape, "tanh")]
    *wide, dy = (t.double() for t in tensors)
    truth = with_gradients(lambda x, C, W: layer(x, C, shape, W, "tanh"), dy, *wide)
    for path in paths(shape):
        with use(path):
            found = with_gradients(call(shape, "tanh"), tensors[3], *tensors[:3])
        assert all(t.dtype == getattr(torch, dtype) for t in found)
        assert_near(found, truth, *tolerances)


@pytest.mark.filterwarnings("ignore:`torch.jit.script` is deprecated")  # torch's own use of it
@pytest.mark.parametrize("kind", KINDS)
def test_transforms_see_through_to_the_same(kind):
    shape = spline(kind, 3, 5, 2)
    x, C, W, dy = problem(5, 2, 3, shape, "silu")
    truth = with_gradients(lambda x, C, W: layer(x, C, shape, W, "silu"), dy, x, C, W)
    y, back = torch.func.vjp(call(shape, "silu"), x, C, W)
    assert_near([y, *back(dy)], truth, 1e-12, 1e-10)
    dx = torch.randn_like(x)
    _, forward = torch.func.jvp(lambda x: call(shape, "silu")(x, C, W), (x,), (dx,))
    torch.testing.assert_close((forward * dy).sum(), (dx * truth[1]).sum(), rtol=1e-10, atol=1e-10)
    with forward_ad.dual_level():
        dual = call(shape, "silu")(forward_ad.make_dual(x, dx), C, W)
        assert torch.equal(forward_ad.unpack_dual(dual).tangent, forward)


@pytest.mark.parametrize("path", ["plain", "native"])
def test_half_precision_is_placed_on_the_grid_in_float32(path):
    if path == "native" and not NATIVE:
        pytest.skip("no native kernel")
    shape = spline("equal", 3, 100)
    x, C, W, dy = (t.float() for t in problem(63, 3, 10, shape, "silu"))
    x = x.bfloat16()
    with use(path):
        found = with_gradients(call(shape, "silu"), dy, x, C, W)
    assert [t.dtype for t in found] == [torch.float32, torch.bfloat16, torch.float32, torch.float32]
    truth = with_gradients(
        lambda x, C, W: layer(x, C, shape, W, "silu"), dy.double(), *(t.double() for t in (x, C, W))
    )
    # The base of the plain path is that of x as it is.
    assert_near(found, truth, 1e-4, 4e-3, 1e-4)


@needs_native
def test_the_chooser_says_which_and_why():
    x, C = torch.zeros(4, 3), torch.zeros(8, 3, 2)
    cubic = spline("equal", 3, 5)
    assert chosen(x, C, cubic) == ("native", "it serves these inputs")
    with use("plain"):
        assert chosen(x, C, cubic) == ("plain", "it was asked for")
    assert chosen(x, C, None) == (
        "plain",
        "only B-splines and Chebyshev polynomials of tanh have a faster one",
    )
    path, why = chosen(x, C, cubic._replace(degree=6))
    assert path == "plain"
    assert why == (
        "the native kernel knows degrees 1 to 5, got 6; "
        "the degree is 6, and the Triton kernels are for 1, 2 and 3"
    )


def test_use_is_undone_also_by_an_error():
    before = choose._forced

    def fail():
        with use("plain"), use("auto"):
            raise KeyError

    with pytest.raises(KeyError):
        fail()
    assert choose._forced == before


def message(function):
    with pytest.raises(InputError) as caught:
        function()
    return str(caught.value)


def test_what_can_not_be_used_is_refused_word_by_word(monkeypatch):
    x, C = torch.zeros(4, 3), torch.zeros(8, 3, 2)

    def asked(path, spline, x=x):
        with use(path):
            chosen(x, C, spline)

    cubic = spline("equal", 3, 5)
    known = "(known: auto, native, triton, plain)"
    assert message(lambda: asked("natve", cubic)) == (
        f"unknown path 'natve': did you mean 'native'? {known}"
    )
    assert message(lambda: asked("native", None)) == (
        "'native' can't be used: only B-splines and Chebyshev polynomials of tanh have a faster one; use 'auto'"
    )
    if NATIVE:
        assert message(lambda: asked("native", cubic._replace(degree=0))) == (
            "'native' can't be used: the native kernel knows degrees 1 to 5, got 0; use 'auto'"
        )
    monkeypatch.delenv("TRITON_INTERPRET", raising=False)
    assert message(lambda: asked("triton", cubic)) == (
        "'triton' can't be used: x is on cpu, and the Triton kernels are for CUDA; use 'auto'"
    )
    monkeypatch.setattr(choose, "_forced", "plan")
    assert message(lambda: chosen(x, C, cubic)) == (
        f"EDGEWISE_KERNELS names an unknown path 'plan': did you mean 'plain'? {known}"
    )


def test_the_environment_names_the_path_of_a_process():
    code = "from edgewise.kernels import choose; print(choose._forced)"
    environment = {**os.environ, "EDGEWISE_KERNELS": "plain"}
    done = subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True
    )
    assert done.stdout == "plain\n"


@pytest.mark.parametrize("degree", [1, 3, 6])
@pytest.mark.parametrize("path", ["auto", "plain"])
def test_a_number_that_is_not_finite_is_named_on_every_path(path, degree):
    basis = BSpline(5, degree)
    x = torch.zeros(9, 4)
    x[7, 3] = float("nan")
    C = torch.zeros(basis.size, 4, 2)
    with use(path):
        assert message(lambda: basis_linear(x, C, basis, functions=basis.spline)) == (
            "x holds nan in row 7, feature 3; a layer takes finite numbers"
        )


def test_large_numbers_are_not_taken_for_infinite_ones():
    basis = BSpline(5, 0)
    x = torch.full((9, 4), 1e38)
    y = basis_linear(x, torch.ones(5, 4, 2), basis, functions=basis.spline)
    assert torch.equal(y, torch.full((9, 2), 4.0))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("path", ["auto", "plain"])
def test_compiled_in_one_graph_it_is_the_same(path, kind):
    torch._dynamo.reset()
    shape = spline(kind, 3, 5, 2)
    x, C, W, dy = problem(7, 2, 3, shape, "silu")
    with use(path):
        compiled = torch.compile(call(shape, "silu"), fullgraph=True, backend="aot_eager")
        found = with_gradients(compiled, dy, x, C, W)
        expected = with_gradients(call(shape, "silu"), dy, x, C, W)
    assert_near(found, expected, 1e-13, 1e-11)
