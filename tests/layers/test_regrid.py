"""Finer cells and cells that follow data: the functions stay, and so does what optimisers know."""

import copy

import pytest
import torch
from torch import nn
from torch.nn import functional as F

import edgewise as ew
from edgewise.bases import BSpline, Chebyshev, Fourier, Gaussian, Rational, Wavelet
from edgewise.core import InputError, generator, seeded
from edgewise.layers import KANLinear
from edgewise.layers.regrid import EVERYWHERE, RIDGE, carry_over, refit


def made(basis="bspline", features=(3, 2), **options):
    with seeded(0, "regrid"):
        return KANLinear(*features, basis, **options)


def sample(*shape, seed=0):
    return torch.randn(*shape, generator=generator(seed, "x"), dtype=torch.float64)


REFINED = {
    "bspline to a multiple": (lambda: BSpline(5), 15),
    "bspline to no multiple": (lambda: BSpline(5), 12),
    "bspline degree 1": (lambda: BSpline(5, 1), 100),
    "bspline degree 5": (lambda: BSpline(5, 5), 13),
    "chebyshev": (lambda: Chebyshev(4), 9),
    "fourier": (lambda: Fourier(3), 7),
    "rational": (lambda: Rational(4), 6),
    "wavelet": (lambda: Wavelet(5), 11),
}


@pytest.mark.parametrize("case", REFINED)
@pytest.mark.parametrize(("dtype", "allowed"), [("float64", 1e-12), ("float32", 1e-6)])
def test_refining_keeps_every_curve(case, dtype, allowed):
    basis, size = REFINED[case]
    layer = made(basis(), bias=True).to(getattr(torch, dtype))
    x = sample(63, 3).to(getattr(torch, dtype))
    before = layer.curves(x)
    parameter = layer.coefficients
    layer.refine(size)
    assert layer.coefficients is parameter
    assert layer.coefficients.shape == (layer.basis.size, 3, 2)
    assert layer.basis.size > basis().size
    scale = float(before.detach().abs().max().clamp(min=1))
    assert float((layer.curves(x) - before).detach().abs().max()) < allowed * scale
    torch.testing.assert_close(layer(x), layer.curves(x).sum(-1), rtol=0, atol=10 * allowed)


def test_a_graph_of_before_does_not_stand_in_the_way():
    """In a loop the last step's loss is still there when the layer is refined."""
    layer, x = made(), torch.randn(10, 3)
    loss = layer(x).square().mean()
    loss.backward()
    layer.refine(10)
    assert layer.coefficients.grad is None
    layer(x).square().mean().backward()
    assert layer.coefficients.grad.shape == (13, 3, 2)
    assert loss.isfinite()


def test_refining_again_and_after_an_update_keeps_every_curve():
    layer = made().double()
    x = sample(200, 3)
    layer.update_grid(x, bound=1.0)
    before = layer.curves(x)
    for size in (7, 12, 40):
        layer.refine(size)
        torch.testing.assert_close(layer.curves(x), before, rtol=0, atol=1e-12)
    assert layer.basis.breaks.shape == (3, 41)


def weighed(layer, basis, x):
    """The fit as one asks lstsq for it: the sample, a little everywhere, a little ridge."""
    old = layer.basis
    spread = torch.linspace(0, 1, 8 * basis.size, dtype=torch.float64)
    fitted, residual, size = [], 0.0, 0.0
    for i in range(x.shape[1]):
        ends = torch.stack([x[:, i].min(), x[:, i].max(), torch.tensor(-1.0), torch.tensor(1.0)])
        points = ends.min() + (ends.max() - ends.min()) * spread
        at = torch.cat([x[:, i], points]).unsqueeze(-1).expand(-1, x.shape[1])
        weight = torch.cat([
            torch.full((len(x),), 1 / len(x)), torch.full((len(spread),), EVERYWHERE / len(spread))
        ]).double().sqrt().unsqueeze(-1)  # fmt: skip
        new, target = basis(at)[:, i], old(at)[:, i] @ layer.coefficients[:, i].detach()
        A = weight * new
        ridge = (RIDGE * A.square().sum() / basis.size).sqrt() * torch.eye(basis.size).double()
        b = torch.cat([weight * target, torch.zeros(basis.size, target.shape[1])])
        c = torch.linalg.lstsq(torch.cat([A, ridge]), b, driver="gelsd").solution
        fitted.append(c)
        residual += (new[: len(x)] @ c - target[: len(x)]).square().sum()
        size += target[: len(x)].square().sum()
    return torch.stack(fitted, dim=1), float((residual / size).sqrt())


SAMPLES = {
    "normal": lambda: sample(300, 3),
    "scales apart": lambda: sample(300, 3) * torch.tensor([1.0, 1e3, 1e-2]).double(),
    "mostly zeros": lambda: sample(300, 3).abs() * (sample(300, 3, seed=1) > 1),
    "constant": lambda: sample(300, 3) * torch.tensor([1.0, 0.0, 1.0]).double(),
    "few": lambda: sample(2, 3),
}
# The centres of a Gaussian are the same for all inputs, which then have a scale in common.
CASES = [
    *(("bspline", case) for case in SAMPLES),
    *(("gaussian", case) for case in SAMPLES if case != "scales apart"),
]


@pytest.mark.parametrize(("basis", "case"), CASES)
def test_an_update_is_the_least_squares_fit_and_tells_its_residual(basis, case):
    x = SAMPLES[case]()
    layer = made(basis, base=None).double()
    new = layer.basis.adapted(x)
    expected, residual = weighed(layer, new, x)
    before = layer.curves(x).detach()
    T, told = refit(layer.basis, new, x, layer.coefficients)
    found = torch.einsum("ilk,kio->lio", T, layer.coefficients.detach())
    for i in range(3):
        fit = new(x)[:, i] @ (found[:, i] - expected[:, i])
        assert fit.abs().max() < 1e-6 * before.abs().max()
    assert told == pytest.approx(residual, rel=1e-4, abs=1e-6)
    assert layer.update_grid(x, bound=told + 1e-9) == told
    true = (layer.curves(x) - before).detach().norm() / before.norm()
    assert told == pytest.approx(float(true), rel=1e-4, abs=1e-6)


def test_inputs_of_other_scales_do_not_spoil_each_other():
    layer, alone = (
        made(features=(2, 2), base=None).double(),
        made(features=(1, 2), base=None).double(),
    )
    with torch.no_grad():
        alone.coefficients.copy_(layer.coefficients[:, :1])
    x = sample(500, 2) * torch.tensor([1.0, 1000.0]).double()
    layer.update_grid(x, bound=9.0)
    alone.update_grid(x[:, :1], bound=9.0)
    torch.testing.assert_close(layer.coefficients[:, :1], alone.coefficients, rtol=1e-7, atol=1e-7)


def test_an_update_that_would_change_too_much_changes_no_bit():
    layer = made("bspline", normalize="batch", bias=True)
    optimiser = torch.optim.Adam(layer.parameters())
    x = 5 * sample(100, 3).float()
    layer(x).square().mean().backward()
    optimiser.step()
    basis, arguments = layer.basis, dict(layer._arguments)
    before = copy.deepcopy((layer.state_dict(), optimiser.state_dict()))
    random = torch.random.get_rng_state()
    residual = layer.update_grid(x, optimiser, bound=1e-9)
    assert residual > 1e-9
    assert layer.basis is basis
    assert layer._arguments == arguments
    assert torch.equal(torch.random.get_rng_state(), random)
    after = (layer.state_dict(), optimiser.state_dict())
    for old, new in zip(flat(before), flat(after), strict=True):
        assert torch.equal(old, new)


def flat(things):
    found = []
    for thing in things.values() if isinstance(things, dict) else things:
        if isinstance(thing, torch.Tensor):
            found.append(thing)
        elif isinstance(thing, (dict, list, tuple)):
            found += flat(thing)
    return found


def test_functions_that_are_zero_stay_so():
    layer = made()
    nn.init.zeros_(layer.coefficients)
    assert layer.update_grid(torch.randn(50, 3)) == 0.0
    assert (layer.coefficients == 0).all()


# What one trains with, at rates that learn the task below.
OPTIMISERS = {
    "Adam": lambda p: torch.optim.Adam(p, lr=1e-2),
    "AdamW": lambda p: torch.optim.AdamW(p, lr=1e-2),
    "AMSGrad": lambda p: torch.optim.Adam(p, lr=1e-2, amsgrad=True),
    "NAdam": lambda p: torch.optim.NAdam(p, lr=5e-3),
    "RAdam": lambda p: torch.optim.RAdam(p, lr=1e-2),
    "SGD": lambda p: torch.optim.SGD(p, lr=0.1),
    "momentum": lambda p: torch.optim.SGD(p, lr=0.05, momentum=0.9),
    "RMSprop": lambda p: torch.optim.RMSprop(p, lr=3e-3),
    "RMSprop, all": lambda p: torch.optim.RMSprop(p, lr=1e-3, momentum=0.9, centered=True),
    "Adagrad": lambda p: torch.optim.Adagrad(p, lr=0.05),
    "Adadelta": lambda p: torch.optim.Adadelta(p, lr=1.0),
    "ASGD": lambda p: torch.optim.ASGD(p, lr=0.05),
}


class Task:
    """Two layers on a smooth function of two numbers, after some steps of training."""

    def __init__(self, optimiser, steps=60):
        with seeded(0, "task"):
            self.model = nn.Sequential(KANLinear(2, 6), KANLinear(6, 1, bias=True))
        self.optimiser = OPTIMISERS[optimiser](self.model.parameters())
        self.x = 2 * torch.rand(256, 2, generator=generator(0)) - 1
        self.y = torch.exp(torch.sin(3 * self.x[:, :1]) * self.x[:, 1:])
        for _ in range(steps):
            self.step()

    def loss(self):
        return F.mse_loss(self.model(self.x), self.y)

    def step(self):
        self.optimiser.zero_grad()
        self.loss().backward()
        self.optimiser.step()

    def update(self):
        first, second = self.model
        return [
            first.update_grid(self.x, self.optimiser),
            second.update_grid(first(self.x), self.optimiser),
        ]

    def refine(self, size):
        for layer in self.model:
            layer.refine(size, self.optimiser)


@pytest.mark.parametrize("optimiser", OPTIMISERS)
@pytest.mark.parametrize("change", ["refine 10", "refine 8", "update", "update, refine 10"])
def test_the_next_step_goes_on_as_if_nothing_had_been(optimiser, change):
    task = Task(optimiser)
    before = task.loss().item()
    if "update" in change:
        residuals = task.update()
        assert all(0 < r < 0.1 for r in residuals)
        assert all(layer.basis.breaks is not None for layer in task.model)
    if "refine" in change:
        task.refine(int(change.split()[-1]))
    for _ in range(3):
        task.step()
        assert task.loss().item() < 1.01 * before


@pytest.mark.parametrize("optimiser", ["Adam", "momentum", "Adagrad", "RMSprop"])
def test_an_optimiser_that_is_not_told_fails_loudly(optimiser):
    task = Task(optimiser, steps=2)
    task.model[0].refine(10)
    with pytest.raises(RuntimeError, match=r"size of tensor|shape"):
        task.step()


def test_the_memory_is_that_of_the_finer_coefficients():
    """Linear averages: what a gradient g' of the finer layer gives the coarser is Tᵀg'."""
    layer = made()
    optimiser = torch.optim.SGD(layer.parameters(), lr=0.0, momentum=0.9)
    layer(torch.randn(64, 3)).square().mean().backward()
    optimiser.step()
    old = optimiser.state[layer.coefficients]["momentum_buffer"].double()
    _, T = layer.basis.refined(10)
    layer.refine(10, optimiser)
    new = optimiser.state[layer.coefficients]["momentum_buffer"]
    assert new.shape == layer.coefficients.shape
    back = torch.einsum("lk,lio->kio", T, new.double())
    torch.testing.assert_close(back, old, rtol=1e-5, atol=1e-6 * float(old.abs().max()))


def test_averages_of_squares_are_not_negative_and_not_too_small():
    R_known = torch.tensor([[0.5, 0.5], [1.0, -1.0], [0.0, 2.0]], dtype=torch.float64)
    T = torch.linalg.pinv(R_known).T
    c = nn.Parameter(torch.zeros(2, 1, 1))
    optimiser = torch.optim.Adam([c])
    v = torch.tensor([4.0, 1.0]).view(2, 1, 1)
    optimiser.state[c] = {"step": torch.tensor(3.0), "exp_avg": v, "exp_avg_sq": v}
    carry_over(optimiser, c, T)
    state = optimiser.state[c]
    assert state["exp_avg"].flatten().tolist() == pytest.approx([2.5, 3.0, 2.0])
    # The larger of (|R| √v)² and |R| v.
    assert state["exp_avg_sq"].flatten().tolist() == pytest.approx([2.5, 9.0, 4.0])
    assert state["step"] == 3


def test_inputs_that_hold_one_number_leave_a_sound_memory():
    """Of directions that the new functions hardly see, no large momentum is made."""
    layer = made(features=(4, 3))
    optimiser = torch.optim.SGD(layer.parameters(), lr=0.05, momentum=0.9)
    x = torch.rand(256, 4, generator=generator(0)) * (
        torch.rand(256, 4, generator=generator(1)) > 0.8
    )
    x[:, 0] = 0
    for _ in range(5):
        optimiser.zero_grad()
        layer(x).square().mean().backward()
        optimiser.step()
    before = optimiser.state[layer.coefficients]["momentum_buffer"].norm()
    layer.update_grid(x, optimiser, bound=1.0)
    after = optimiser.state[layer.coefficients]["momentum_buffer"].norm()
    assert after.isfinite()
    assert after < 10 * before


HISTORY = (
    "LBFGS keeps a history that another grid makes worthless: "
    "change the grid without it, and make a new optimiser"
)


@pytest.mark.parametrize("change", ["refine", "update"])
@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda p: torch.optim.LBFGS(p, max_iter=2), HISTORY),
        (
            lambda p: torch.optim.Rprop(p),
            "Rprop remembers 'prev', which can't be carried over to another grid; "
            "change the grid without it, and make a new optimiser",
        ),
        (
            lambda p: torch.optim.Adafactor(p),
            "Adafactor remembers 'row_var', which can't be carried over to another grid; "
            "change the grid without it, and make a new optimiser",
        ),
    ],
)
def test_what_can_not_be_carried_over_is_refused_and_nothing_is_changed(make, message, change):
    layer = made(features=(3, 2))
    x = torch.randn(30, 3)
    optimiser = make(layer.parameters())

    def loss():
        optimiser.zero_grad()
        value = layer(x).square().mean()
        value.backward()
        return value

    optimiser.step(loss)
    before = copy.deepcopy(layer.state_dict())
    with pytest.raises(InputError) as caught:
        layer.refine(10, optimiser) if change == "refine" else layer.update_grid(x, optimiser, 9.0)
    assert str(caught.value) == message
    assert all(torch.equal(before[k], v) for k, v in layer.state_dict().items())


@pytest.mark.parametrize("basis", ["bspline", "gaussian"])
@pytest.mark.parametrize(
    ("x", "message"),
    [
        (torch.zeros(0, 3), "knots follow a sample (n, I), got one of shape (0, 3)"),
        (
            torch.tensor([[1.0, float("inf"), 2.0]]),
            "knots can't follow a sample with numbers that are not finite",
        ),
        (torch.zeros(4, 2), "KANLinear takes 3 features on the last axis, got x of shape (4, 2)"),
    ],
)
def test_a_sample_that_does_not_fit_is_refused(basis, x, message):
    with pytest.raises(InputError) as caught:
        made(basis).update_grid(x)
    assert str(caught.value) == message


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: made().refine(0), "grid_size must be a whole number of at least 1, got 0"),
        (lambda: made().refine(4), "a finer grid has at least the 5 cells of now, got 4"),
        (
            lambda: made("gaussian").refine(10),
            "Gaussian can't be refined: its functions are not among those of a finer one; "
            "bspline, chebyshev, fourier, wavelet and rational can",
        ),
        (
            lambda: made("fourier").update_grid(torch.rand(5, 3)),
            "Fourier has no knots that could follow the data; bspline and gaussian have",
        ),
    ],
)
def test_what_can_not_be_changed_is_refused_word_by_word(call, message):
    with pytest.raises(InputError) as caught:
        call()
    assert str(caught.value) == message


def changed(kind):
    layer = made(bias=True)
    x = torch.randn(100, 3, generator=generator(0))
    if "update" in kind:
        layer.update_grid(x, bound=1.0)
    if "refine" in kind:
        layer.refine(12 if "odd" in kind else 10)
    return layer, x


KINDS = ["refine", "odd refine", "update", "update and refine"]


@pytest.mark.parametrize("kind", KINDS)
def test_a_changed_layer_is_saved_and_loaded(kind, tmp_path):
    layer, x = changed(kind)
    again = ew.load(ew.save(layer, tmp_path / "layer.safetensors"))
    assert torch.equal(again(x), layer(x))
    assert type(again.basis) is type(layer.basis)
    again.refine(20)
    torch.testing.assert_close(again(x), layer(x), rtol=0, atol=1e-6)


@pytest.mark.parametrize("kind", KINDS[1:])
def test_the_state_of_a_changed_layer_fits_a_fresh_one(kind):
    layer, x = changed(kind)
    fresh = made(bias=True)
    fresh.load_state_dict(layer.state_dict())
    assert torch.equal(fresh(x), layer(x))
    assert isinstance(fresh.coefficients, nn.Parameter)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("way", ["deepcopy", "bfloat16", "double"])
def test_a_changed_layer_is_copied_and_converted(kind, way):
    layer, x = changed(kind)
    if way == "deepcopy":
        assert torch.equal(copy.deepcopy(layer)(x), layer(x))
        return
    dtype = getattr(torch, way)
    other = copy.deepcopy(layer).to(dtype)
    allowed = 0.1 if way == "bfloat16" else 1e-5
    torch.testing.assert_close(other(x.to(dtype)).float(), layer(x), rtol=0, atol=allowed)


def test_a_gaussian_follows_and_keeps_its_curves():
    layer = made(Gaussian(12), base=None).double()
    x = 0.8 * sample(500, 3).clamp(-1.2, 1.2)
    before = layer.curves(x)
    residual = layer.update_grid(x, bound=1.0)
    assert residual < 0.1
    assert (layer.curves(x) - before).norm() <= 1.01 * residual * before.norm()
