import pytest
import torch

from edgewise.core import InputError, generator
from edgewise.layers.scan import selective_scan, selective_scan_sequential

pytestmark = pytest.mark.usefixtures("each_path")

NAMES = ("x", "delta", "A", "B", "C", "state")


def make(length, *, batch=2, heads=3, P=4, N=5, dtype=torch.float64):
    """x, Δ, A, B, C and a first state; every third step or so has Δ = 0, as padding would."""
    g = generator(length, "scan")
    delta = torch.rand(batch, length, heads, generator=g, dtype=dtype)
    delta = delta * (torch.rand(batch, length, 1, generator=g) > 0.3)
    return (
        torch.randn(batch, length, heads, P, generator=g, dtype=dtype),
        delta,
        -4 * torch.rand(heads, generator=g, dtype=dtype),
        torch.randn(batch, length, N, generator=g, dtype=dtype),
        torch.randn(batch, length, N, generator=g, dtype=dtype),
        torch.randn(batch, heads, P, N, generator=g, dtype=dtype),
    )


def values_and_gradients(scan, inputs, **options):
    inputs = [t.clone().requires_grad_() for t in inputs]
    y, state = scan(*inputs, **options)
    g = generator(0, "weights")
    weights = [torch.randn(t.shape, generator=g, dtype=t.dtype) for t in (y, state)]
    loss = (y * weights[0]).sum() + (state * weights[1]).sum()
    return y, state, torch.autograd.grad(loss, inputs)


@pytest.mark.parametrize("chunk", [1, 16, 64])
@pytest.mark.parametrize("length", [1, 63, 64, 65, 200])
def test_chunks_equal_the_loop_in_value_and_gradient(length, chunk):
    inputs = make(length)
    y, state, gradients = values_and_gradients(selective_scan, inputs, chunk=chunk)
    y_slow, state_slow, slow = values_and_gradients(selective_scan_sequential, inputs)
    torch.testing.assert_close(y, y_slow, rtol=1e-10, atol=1e-10)
    torch.testing.assert_close(state, state_slow, rtol=1e-10, atol=1e-10)
    for name, gradient, expected in zip(NAMES, gradients, slow, strict=True):
        torch.testing.assert_close(
            gradient, expected, rtol=1e-10, atol=1e-10, msg=lambda m, n=name: f"{n}: {m}"
        )


def test_the_loop_is_the_closed_sum():
    x, delta, A, B, C, state = make(7)
    y, _ = selective_scan_sequential(x, delta, A, B, C, state)
    log_a = delta * A
    for i in range(7):
        since_start = log_a[:, : i + 1].sum(1).exp()
        expected = since_start[..., None] * torch.einsum("bhpn,bn->bhp", state, C[:, i])
        for j in range(i + 1):
            kept = log_a[:, j + 1 : i + 1].sum(1).exp() * delta[:, j]
            match = (C[:, i] * B[:, j]).sum(-1)
            expected = expected + kept[..., None] * match[:, None, None] * x[:, j]
        torch.testing.assert_close(y[:, i], expected, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("scan", [selective_scan, selective_scan_sequential])
def test_two_halves_are_the_whole(scan):
    x, delta, A, B, C, state = make(100)
    y, last = scan(x, delta, A, B, C, state)
    parts, at = [], state
    for half in (slice(0, 37), slice(37, 100)):
        part, at = scan(x[:, half], delta[:, half], A, B[:, half], C[:, half], at)
        parts.append(part)
    torch.testing.assert_close(torch.cat(parts, dim=1), y, rtol=1e-11, atol=1e-11)
    torch.testing.assert_close(at, last, rtol=1e-11, atol=1e-11)


@pytest.mark.parametrize("scan", [selective_scan, selective_scan_sequential])
def test_a_step_of_zero_freezes_the_state_exactly(scan):
    x, delta, A, B, C, state = make(63)
    _, last = scan(x, torch.zeros_like(delta), A, B, C, state)
    assert torch.equal(last, state)


def test_no_state_is_a_state_of_zero():
    x, delta, A, B, C, state = make(20)
    y, last = selective_scan(x, delta, A, B, C)
    y_zero, last_zero = selective_scan(x, delta, A, B, C, torch.zeros_like(state))
    assert torch.equal(y, y_zero)
    assert torch.equal(last, last_zero)


def test_gradcheck_and_gradgradcheck():
    inputs = [t.requires_grad_() for t in make(5, batch=1, heads=2, P=2, N=2)]
    scan = lambda *tensors: selective_scan(*tensors, chunk=2)  # noqa: E731
    assert torch.autograd.gradcheck(scan, inputs)
    assert torch.autograd.gradgradcheck(scan, inputs)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("size", [1e3, 1e30])
def test_a_huge_step_forgets_everything_and_has_finite_gradients(size, dtype):
    x, delta, A, B, C, state = make(64, dtype=dtype)
    A = A - 1.0
    delta[:, 20::7] = size
    inputs = (x / delta.clamp(min=1.0)[..., None], delta, A, B, C, state)
    y, last, gradients = values_and_gradients(selective_scan, inputs)
    y_slow, last_slow, slow = values_and_gradients(selective_scan_sequential, inputs)
    tolerance = 1e-10 if dtype == torch.float64 else 2e-4
    torch.testing.assert_close(y, y_slow, rtol=tolerance, atol=tolerance)
    torch.testing.assert_close(last, last_slow, rtol=tolerance, atol=tolerance)
    for name, gradient, expected in zip(NAMES, gradients, slow, strict=True):
        assert gradient.isfinite().all(), name
        # Up to the scale of the gradient: that of x has the size of Δ.
        scale = expected.abs().max().clamp(min=1.0)
        torch.testing.assert_close(gradient / scale, expected / scale, rtol=0, atol=tolerance)


def test_float32_stays_close_to_float64_over_a_long_sequence():
    inputs = make(1000)
    y, _ = selective_scan(*inputs)
    y_single, state = selective_scan(*(t.float() for t in inputs))
    assert y_single.dtype == state.dtype == torch.float32
    torch.testing.assert_close(y_single.double(), y, rtol=1e-4, atol=1e-4)


def test_half_precision_goes_through_float32():
    inputs = [t.bfloat16() for t in make(100)]
    y, state = selective_scan(*inputs)
    y_wide, state_wide = selective_scan(*(t.float() for t in inputs))
    assert (y.dtype, state.dtype) == (torch.bfloat16, torch.float32)
    assert torch.equal(y, y_wide.bfloat16())
    assert torch.equal(state, state_wide)


@pytest.mark.parametrize("scan", [selective_scan, selective_scan_sequential])
@pytest.mark.parametrize(
    ("index", "shape", "message"),
    [
        (
            0,
            (2, 9, 12),
            "x has shape (2, 9, 12): it must be (batch, length, heads, P) with length ≥ 1",
        ),
        (
            0,
            (2, 0, 3, 4),
            "x has shape (2, 0, 3, 4): it must be (batch, length, heads, P) with length ≥ 1",
        ),
        (
            1,
            (2, 9, 1),
            "delta has shape (2, 9, 1): beside x (2, 9, 3, 4) and N = 5 it must be (2, 9, 3)",
        ),
        (2, (1,), "A has shape (1,): beside x (2, 9, 3, 4) and N = 5 it must be (3,)"),
        (3, (2, 5), "B has shape (2, 5): it must be (batch, length, N)"),
        (
            3,
            (1, 9, 5),
            "B has shape (1, 9, 5): beside x (2, 9, 3, 4) and N = 5 it must be (2, 9, 5)",
        ),
        (
            4,
            (2, 9, 1),
            "C has shape (2, 9, 1): beside x (2, 9, 3, 4) and N = 5 it must be (2, 9, 5)",
        ),
        (
            5,
            (3, 4, 5),
            "state has shape (3, 4, 5): beside x (2, 9, 3, 4) and N = 5 it must be (2, 3, 4, 5)",
        ),
    ],
)
def test_a_wrong_shape_is_named(scan, index, shape, message):
    inputs = list(make(9))
    inputs[index] = torch.zeros(shape, dtype=torch.float64)
    with pytest.raises(InputError) as error:
        scan(*inputs)
    assert str(error.value) == message


def test_a_chunk_needs_a_step():
    with pytest.raises(InputError) as error:
        selective_scan(*make(3), chunk=0)
    assert str(error.value) == "chunk is 0: it must be a whole number of at least 1"
