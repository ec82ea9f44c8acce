import sys
import types

import pytest
import torch
from torch import nn
from torch.profiler import ProfilerActivity, profile

import edgewise as ew
from edgewise.core import InputError
from edgewise.layers import edge_sum as edge_sum_module
from edgewise.layers.edge_sum import edge_sum, plain_edge_sum
from edgewise.layers.functions import FUNCTIONS, derivative, find_function, mean_square
from edgewise.layers.kernel_activation import KernelActivation

TRUTH = {
    "tanh": torch.tanh,
    "sigmoid": torch.sigmoid,
    "relu": torch.relu,
    "gaussian": lambda z: torch.exp(-(z**2)),
    "sin": torch.sin,
    "silu": nn.functional.silu,
    "torch:erf": torch.erf,
}
every_function = pytest.mark.parametrize("function", TRUTH)
every_form = pytest.mark.parametrize("redundant", [False, True])


def shaken(*args, **options):
    layer = KernelActivation(*args, **options).double()
    with torch.no_grad():
        for p in layer.parameters():
            p.add_(torch.randn_like(p))
    return layer


def explicit(layer, x):
    """Edge by edge, in the letters of the formula."""
    f = TRUTH[layer.function]
    columns = []
    for o in range(layer.out_features):
        total = 0
        for i in range(layer.in_features):
            b = layer.b[o, i] if layer.b is not None else 1
            d = layer.d[o, i] if layer.d is not None else 0
            total = total + layer.a[o, i] * f(b * layer.w[o, i] * x[:, i] + d)
            if layer.b is not None:
                total = total + layer.c[o, i]
        columns.append(total if layer.b is not None else total + layer.c[o])
    return torch.stack(columns, dim=-1)


def assert_same_gradients(found, expected, tensors, atol=1e-12):
    g = torch.randn_like(found)
    ours, theirs = (torch.autograd.grad(y, tensors, g) for y in (found, expected))
    for one, other in zip(ours, theirs, strict=True):
        torch.testing.assert_close(one, other, rtol=0, atol=atol)


@every_function
@every_form
@pytest.mark.parametrize("shift", [False, True])
def test_it_is_the_explicit_sum_over_edges(function, redundant, shift):
    layer = shaken(5, 3, function, redundant=redundant, shift=shift)
    x = torch.randn(7, 5, dtype=torch.float64, requires_grad=True)
    found, expected = layer(x), explicit(layer, x)
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-12)
    assert_same_gradients(found, expected, [x, *layer.parameters()])


@every_form
def test_a_square_batch_is_no_trap(redundant):
    # B = out = in: there a·tanh(b·linear) broadcasts silently to nonsense.
    layer = shaken(4, 4, redundant=redundant)
    x = torch.randn(4, 4, dtype=torch.float64)
    torch.testing.assert_close(layer(x), explicit(layer, x), rtol=0, atol=1e-12)


@pytest.mark.parametrize("n", [0, 1, 63, 100])
@pytest.mark.parametrize("function", ["tanh", torch.cos])
def test_blocks_change_nothing(n, function, monkeypatch):
    layer = shaken(7, 9, function, shift=True)
    x = torch.randn(n, 7, dtype=torch.float64, requires_grad=True)
    for chunk in (1, 7 * 20, 7 * 100 * 4, 1 << 16):
        monkeypatch.setattr(edge_sum_module, "CHUNK", chunk)
        found, expected = layer(x), layer.curves(x).sum(-1)
        torch.testing.assert_close(found, expected, rtol=0, atol=1e-12)
        assert_same_gradients(found, expected, [x, *layer.parameters()], 1e-11)


@every_function
@every_form
def test_curves_sum_to_the_output_and_differentiate(function, redundant):
    layer = shaken(4, 3, function, redundant=redundant, shift=True)
    x = torch.randn(2, 6, 4, dtype=torch.float64, requires_grad=True)
    curves = layer.curves(x)
    assert curves.shape == (2, 6, 3, 4)
    torch.testing.assert_close(curves.sum(-1), layer(x), rtol=0, atol=1e-12)
    for order in (1, 2):
        below = layer.curves(x, order - 1)
        for o in range(3):
            (expected,) = torch.autograd.grad(
                below[..., o, :].sum(), x, retain_graph=True, materialize_grads=True
            )
            found = layer.curves(x, order)[..., o, :]
            torch.testing.assert_close(found, expected, rtol=0, atol=1e-10)


@pytest.mark.parametrize("function", ["tanh", "gaussian", "torch:sin"])
@every_form
def test_second_derivatives(function, redundant):
    layer = shaken(2, 3, function, redundant=redundant, shift=True)
    x = torch.randn(3, 2, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradgradcheck(lambda x, *_: layer(x), (x, *layer.parameters()))


def test_second_derivatives_leave_out_what_needs_none():
    x, a, w = (torch.randn(2, 2, dtype=torch.float64) for _ in range(3))
    a.requires_grad_()
    y = edge_sum("tanh", torch.tanh, x, a, w)
    (first,) = torch.autograd.grad(y.square().sum(), a, create_graph=True)
    z = plain_edge_sum(torch.tanh, x, a, w)
    (expected,) = torch.autograd.grad(z.square().sum(), a, create_graph=True)
    torch.testing.assert_close(first, expected)
    for one in (first, expected):
        assert one.requires_grad
    ours, theirs = (torch.autograd.grad(one.sum(), a)[0] for one in (first, expected))
    torch.testing.assert_close(ours, theirs)


def test_both_forms_have_the_same_functions():
    whole = shaken(3, 2, redundant=True)
    small = KernelActivation(3, 2).double()
    with torch.no_grad():
        small.a.copy_(whole.a)
        small.w.copy_(whole.b * whole.w)
        small.c.copy_(whole.c.sum(-1))
    x = torch.randn(5, 3, dtype=torch.float64)
    torch.testing.assert_close(small(x), whole(x), rtol=0, atol=1e-12)
    assert [sum(p.numel() for p in m.parameters()) for m in (small, whole)] == [14, 24]


def test_a_function_may_have_parameters_of_its_own():
    layer = KernelActivation(3, 2, nn.PReLU()).double()
    x = torch.randn(5, 3, dtype=torch.float64, requires_grad=True)
    assert {"a", "w", "c", "f.weight"} == dict(layer.named_parameters()).keys()
    assert_same_gradients(layer(x), layer.curves(x).sum(-1), [x, *layer.parameters()])


def test_a_closure_gets_its_gradient():
    rate = torch.tensor(2.0, requires_grad=True)
    layer = KernelActivation(3, 2, lambda z: torch.sin(rate * z))
    x = torch.randn(5, 3)
    (found,) = torch.autograd.grad(layer(x).sum(), rate)
    (expected,) = torch.autograd.grad(layer.curves(x).sum(), rate)
    torch.testing.assert_close(found, expected)


# It is torch's own, when forward-mode differentiation is first used.
@pytest.mark.filterwarnings("ignore:`torch.jit.script` is deprecated")
@pytest.mark.parametrize("function", ["tanh", torch.cos])
def test_compile_vmap_export_and_forward_mode(function):
    layer = KernelActivation(4, 3, function, shift=True)
    x = torch.randn(6, 4)
    expected = layer(x)
    compiled = torch.compile(layer, fullgraph=True, backend="aot_eager")
    torch.testing.assert_close(compiled(x), expected)
    torch.testing.assert_close(torch.vmap(layer)(x), expected)
    rows = torch.export.Dim("rows")
    program = torch.export.export(layer, (x,), dynamic_shapes=({0: rows},))
    torch.testing.assert_close(program.module()(x[:4]), expected[:4])
    tangent = torch.randn_like(x)
    value, slope = torch.func.jvp(layer, (x,), (tangent,))
    torch.testing.assert_close(value, expected)
    torch.testing.assert_close(slope, (layer.curves(x, 1) * tangent.unsqueeze(-2)).sum(-1))


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
@pytest.mark.parametrize("function", ["tanh", "torch:tanh"])
def test_half_precision_is_the_rounded_float32(dtype, function):
    layer = KernelActivation(100, 8, function).to(dtype)
    x = torch.randn(30, 100, dtype=dtype, requires_grad=True)
    wide = KernelActivation(100, 8, "tanh")
    wide.load_state_dict(layer.float().state_dict())
    layer.to(dtype)
    y = layer(x)
    assert y.dtype == dtype
    u = x.detach().float().requires_grad_()
    z = wide(u)
    torch.testing.assert_close(y.float(), z, rtol=2e-2, atol=1e-2)
    y.sum().backward()
    z.sum().backward()
    torch.testing.assert_close(x.grad.float(), u.grad, rtol=2e-2, atol=2e-2)
    torch.testing.assert_close(layer.w.grad.float(), wide.w.grad, rtol=2e-2, atol=2e-2)


def test_autocast_leaves_it_in_full_precision():
    layer, x = KernelActivation(4, 3), torch.randn(6, 4)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        y = layer(x)
    assert torch.equal(y, layer(x))
    y.sum().backward()
    found = layer.w.grad.clone()
    layer.zero_grad()
    layer(x).sum().backward()
    assert torch.equal(found, layer.w.grad)


@every_function
@pytest.mark.parametrize("shift", [False, True])
def test_outputs_start_with_mean_square_one(function, shift):
    layer = KernelActivation(300, 400, function, shift=shift)
    power = layer(torch.randn(200, 300)).square().mean()
    assert 0.8 < power < 1.25


def test_derivatives_of_the_table():
    z = torch.randn(50, dtype=torch.float64, requires_grad=True)
    for name in FUNCTIONS:
        f = find_function(name)
        torch.testing.assert_close(f(z), TRUTH[name](z))
        for order in (1, 2):
            below = derivative(name, f, z, order - 1)
            expected = torch.zeros_like(z)  # of relu, from the second on
            if below.requires_grad:
                (expected,) = torch.autograd.grad(below.sum(), z)
            torch.testing.assert_close(derivative(name, f, z, order), expected, atol=1e-12, rtol=0)
            # The way of functions without a table gives the same.
            other = derivative(None, TRUTH[name], z.detach(), order)
            torch.testing.assert_close(other, expected, atol=1e-12, rtol=0)


def test_the_mean_square_is_that_of_a_sample():
    x, w, d = torch.randn(3, 400_000)
    expected = torch.tanh(2 * w * x + 0.5 * d).square().mean().item()
    assert abs(mean_square(torch.tanh, 2.0, 0.5) - expected) < 0.01


def peak_bytes(call):
    """The most memory that was held at once, beyond what was there before."""
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as prof:
        call()
    events = [e for e in prof.profiler.kineto_results.events() if e.name() == "[memory]"]
    held = most = 0
    for event in sorted(events, key=lambda e: e.start_ns()):
        held += event.nbytes()
        most = max(most, held)
    return most


@pytest.mark.parametrize(
    ("inputs", "outputs", "function"),
    [(1600, 10, "tanh"), (512, 512, "tanh"), (1600, 10, torch.cos)],
)
def test_memory_stays_near_that_of_a_linear_layer(inputs, outputs, function):
    def train(make):
        layer, x = make(inputs, outputs), torch.randn(256, inputs, requires_grad=True)
        layer(x).sum().backward()

    linear = peak_bytes(lambda: train(nn.Linear))
    ours = peak_bytes(lambda: train(lambda i, o: KernelActivation(i, o, function)))
    x = 256 * inputs * 4
    assert linear > 2 * x
    assert ours < 3 * linear


def test_it_is_saved_and_loaded(tmp_path, monkeypatch):
    module = types.ModuleType("my_functions")
    module.bump = lambda z: 1 / (1 + z * z)
    monkeypatch.setitem(sys.modules, "my_functions", module)
    x = torch.randn(4, 3)
    for function in ("gaussian", "my_functions:bump"):
        layer = KernelActivation(3, 2, function, redundant=True, shift=True)
        path = ew.save(layer, tmp_path / "m.safetensors")
        again = ew.load(path, trust=("my_functions",))
        assert torch.equal(layer(x), again(x))
    with pytest.raises(InputError, match="a recipe holds numbers, words and modules"):
        ew.save(KernelActivation(3, 2, torch.cos), tmp_path / "m.safetensors")


def test_on_the_meta_device_it_is_made_without_numbers():
    with torch.device("meta"):
        layer = KernelActivation(3, 2)
    assert layer.a.is_meta


def test_one_layer_learns_what_one_layer_can():
    x = torch.randn(256, 2, generator=torch.Generator().manual_seed(0))
    y = (2 * torch.tanh(3 * x[:, :1]) - torch.tanh(x[:, 1:])) + 0.5
    layer = KernelActivation(2, 1)
    optimiser = torch.optim.Adam(layer.parameters(), lr=0.1)
    for _ in range(300):
        optimiser.zero_grad()
        loss = (layer(x) - y).square().mean()
        loss.backward()
        optimiser.step()
    assert loss < 0.02 * y.var()


def not_pointwise(z):
    return z - z.mean()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((0, 2), "in_features must be a whole number of at least 1, got 0"),
        ((2, 2.0), "out_features must be a whole number of at least 1, got 2.0"),
        (
            (2, 2, "tnah"),
            "unknown function 'tnah': did you mean 'tanh'? "
            "(known: tanh, sigmoid, relu, gaussian, sin, silu)",
        ),
        (
            (2, 2, "torch:no_such_thing"),
            "the function 'torch:no_such_thing' is not in the module 'torch': it has no "
            "'no_such_thing'",
        ),
        (
            (2, 2, "torch.nn:Tanh"),
            "the function 'torch.nn:Tanh' fails on numbers: Tanh.__init__() takes 1 positional "
            "argument but 2 were given",
        ),
        (
            (2, 2, torch.sum),
            "the function 'sum' must give one number for each number: it gave shape () for "
            "shape (2, 3)",
        ),
        (
            (2, 2, not_pointwise),
            "the function 'not_pointwise' must treat each number by itself: its value at one "
            "depends on the others",
        ),
        (
            (2, 2, torch.zeros_like),
            "the function 'zeros_like' has a mean square of 0.0 where normal numbers lie: it "
            "must be finite and not zero there",
        ),
        ((2, 2, 7), "a function is asked for by name, got 7"),
    ],
)
def test_what_makes_no_layer(arguments, message):
    with pytest.raises(InputError) as caught:
        KernelActivation(*arguments)
    assert str(caught.value) == message


def test_what_it_does_not_take():
    with pytest.raises(InputError) as caught:
        KernelActivation(3, 2)(torch.zeros(2, 4))
    assert str(caught.value) == (
        "KernelActivation takes 3 features on the last axis, got x of shape (2, 4)"
    )
    with pytest.raises(InputError) as caught:
        KernelActivation(3, 2).curves(torch.zeros(2, 3), order=3)
    assert str(caught.value) == "derivatives are known up to order 2, got order=3"
