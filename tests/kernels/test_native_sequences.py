"""Scans and convolutions with the steps before by the native library, beside the plain loop."""

import itertools

import pytest
import torch
import torch.nn.functional as F
from slow_splines import needs_native

from edgewise.core import InputError, generator
from edgewise.kernels import Way, apply, native_sequences, use
from edgewise.layers.mamba import _CONVOLUTION
from edgewise.layers.scan import selective_scan, selective_scan_sequential

pytestmark = needs_native

# Sequences, steps, heads, P, N: around the width of vectors, the eight sums, and a stretch of steps.
SIZES = [
    (1, 1, 1, 1, 1),
    (2, 15, 3, 4, 5),
    (3, 16, 1, 17, 16),
    (2, 33, 20, 1, 8),
    (1, 100, 2, 16, 9),
    (2, 7, 2, 40, 3),
]


def steps(size, dtype=torch.float64):
    """x, Δ, A, B, C and a first state; some Δ are 0."""
    S, L, H, P, N = size
    g = generator(0, "steps", *size)

    def normal(*shape):
        return torch.randn(*shape, generator=g, dtype=torch.float64).to(dtype)

    delta = torch.rand(S, L, H, generator=g) * (torch.rand(S, L, 1, generator=g) > 0.3)
    A = -4 * torch.rand(H, generator=g)
    return [
        normal(S, L, H, P),
        delta.to(dtype),
        A.to(dtype),
        normal(S, L, N),
        normal(S, L, N),
        normal(S, H, P, N),
    ]


def windows(S, L, C, width, dtype=torch.float64):
    g = generator(0, "windows", S, L, C, width)
    shapes = [(S, L + width - 1, C), (C, width), (C,)]
    return [torch.randn(*s, generator=g, dtype=torch.float64).to(dtype) for s in shapes]


def slow_convolution(x, weight, bias):
    return F.silu(F.conv1d(x.mT, weight.unsqueeze(1), bias, groups=len(bias))).mT


def values_and_gradients(f, inputs):
    inputs = [t.clone().requires_grad_() for t in inputs]
    found = f(*inputs)
    found = found if isinstance(found, tuple) else (found,)
    g = generator(0, "downs")
    downs = [torch.randn(t.shape, generator=g, dtype=torch.float64).to(t) for t in found]
    return [t.detach() for t in found], torch.autograd.grad(found, inputs, downs)


def assert_same(f, slow, inputs, values, slopes):
    found, expected = values_and_gradients(f, inputs), values_and_gradients(slow, inputs)
    for kind, atol in ((0, values), (1, slopes)):
        for a, b in zip(found[kind], expected[kind], strict=True):
            scale = max(1.0, float(b.abs().max()))
            torch.testing.assert_close(a, b, rtol=0, atol=atol * scale)


def convolution(*inputs):
    return apply(_CONVOLUTION, *inputs)[0]


@pytest.mark.usefixtures("each_library")
class TestEachLibrary:
    @pytest.mark.parametrize("size", SIZES)
    def test_a_scan_is_the_loop(self, size):
        with use("native"):
            assert_same(selective_scan, selective_scan_sequential, steps(size), 1e-12, 1e-10)

    @pytest.mark.parametrize("size", SIZES)
    def test_in_float32_too(self, size):
        inputs = steps(size, torch.float32)
        with use("native"):
            assert_same(selective_scan, selective_scan_sequential, inputs, 1e-5, 1e-5)

    @pytest.mark.parametrize("channels", [1, 8, 16, 17, 50])
    @pytest.mark.parametrize(("length", "width"), [(1, 1), (1, 4), (9, 2), (30, 4)])
    def test_a_convolution_is_that_of_torch(self, length, width, channels):
        with use("native"):
            inputs = windows(3, length, channels, width)
            assert_same(convolution, slow_convolution, inputs, 1e-12, 1e-10)
            inputs = [t.float() for t in inputs]
            assert_same(convolution, slow_convolution, inputs, 1e-5, 1e-5)


def test_the_number_of_threads_changes_no_bit():
    cases = [(selective_scan, steps((7, 20, 2, 5, 6))), (convolution, windows(7, 20, 21, 4))]
    before = torch.get_num_threads()
    for f, inputs in cases:
        found = []
        try:
            for threads in (1, 2, 3):
                torch.set_num_threads(threads)
                found.append(list(itertools.chain(*values_and_gradients(f, inputs))))
        finally:
            torch.set_num_threads(before)
        for others in found[1:]:
            assert all(torch.equal(a, b) for a, b in zip(found[0], others, strict=True))


def test_inputs_may_lie_anyhow():
    x, delta, A, B, C, state = steps((2, 9, 3, 4, 5))
    apart = [
        x.transpose(0, 3).contiguous().transpose(0, 3),
        delta.mT.contiguous().mT,
        A.repeat_interleave(2)[::2],
        torch.cat([B, C], dim=-1)[..., :5],
        torch.cat([B, C], dim=-1)[..., 5:],
        state.mT.contiguous().mT,
    ]
    assert not any(t.is_contiguous() for t in apart)
    together = selective_scan(x, delta, A, B, C, state)
    for a, b in zip(selective_scan(*apart), together, strict=True):
        assert torch.equal(a, b)


def test_only_the_inputs_are_kept():
    inputs = [t.requires_grad_() for t in steps((2, 50, 3, 4, 5))]
    kept = []

    def pack(tensor):
        kept.append(tensor)
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        selective_scan(*inputs)
    assert {t.data_ptr() for t in kept} == {t.data_ptr() for t in inputs}


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_what_is_no_number_stays_none_and_goes_no_further(dtype):
    x, delta, A, B, C, state = steps((3, 20, 2, 4, 5), dtype)
    clean, _ = selective_scan(x, delta, A, B, C, state)
    delta[1, 12, 0] = float("nan")
    y, last = selective_scan(x, delta, A, B, C, state)
    assert y[1, 12:, 0].isnan().all()
    assert last[1, 0].isnan().all()
    y[1, 12:, 0] = clean[1, 12:, 0]
    assert torch.equal(y, clean)


def test_a_long_gap_forgets_all():
    x, delta, A, B, C, state = steps((1, 3, 1, 2, 2), torch.float32)
    A[:], delta[:, 0] = -1.0, 1e4
    x[:, 0] = 0.0
    _, last = selective_scan(x[:, :1], delta[:, :1], A, B[:, :1], C[:, :1], state)
    assert last.abs().max() < 1e-36


@pytest.mark.filterwarnings("ignore:`torch.jit.script` is deprecated")  # torch's own use of it
def test_those_who_look_on_get_the_plain_way():
    inputs = steps((2, 6, 2, 3, 4))
    slow = selective_scan_sequential(*inputs)[0]
    x, *rest = inputs
    mapped = torch.vmap(
        lambda x: selective_scan(x[None], *[t[:1] if t.ndim > 1 else t for t in rest])[0]
    )
    torch.testing.assert_close(mapped(x[:1]).squeeze(1), slow[:1], rtol=0, atol=1e-12)
    _, slope = torch.func.jvp(lambda x: selective_scan(x, *rest)[0], (x,), (torch.ones_like(x),))
    ones = selective_scan_sequential(torch.ones_like(x), *rest[:-1])[0]
    torch.testing.assert_close(slope, ones, rtol=0, atol=1e-12)


def test_many_gradients_at_once():
    inputs = [t.requires_grad_() for t in steps((1, 5, 1, 2, 2))]
    y = selective_scan(*inputs)[0].flatten()
    eye = torch.eye(len(y), dtype=y.dtype)
    (batched,) = torch.autograd.grad(y, inputs[:1], eye, is_grads_batched=True, retain_graph=True)
    for row, expected in zip(eye, batched, strict=True):
        (one,) = torch.autograd.grad(y, inputs[:1], row, retain_graph=True)
        torch.testing.assert_close(one, expected, rtol=0, atol=1e-12)


def test_a_path_that_can_not_serve_says_why():
    way = Way(None, None, lambda x: (x + 1,))
    x = torch.zeros(2, dtype=torch.float16)
    assert native_sequences.why_not(x, x.float()) == (
        "the native kernel is for float32 or float64, got torch.float16, torch.float32"
    )
    assert native_sequences.why_not(x.to("meta")) == (
        "the native kernel is for the CPU, a tensor is on meta"
    )
    assert torch.equal(apply(way, x)[0], x + 1)
    with use("native"), pytest.raises(InputError) as caught:
        apply(way, x)
    assert str(caught.value) == (
        "'native' can't be used: the native kernel is for float32 or float64, got torch.float16; "
        "use 'auto'"
    )


def test_the_switch_asks_for_the_plain_way(monkeypatch):
    monkeypatch.setattr(native_sequences, "scan", None)
    inputs = steps((2, 6, 2, 3, 4))
    with use("plain"):
        y, _ = selective_scan(*inputs)
    torch.testing.assert_close(y, selective_scan_sequential(*inputs)[0], rtol=0, atol=1e-12)
