import math

import pytest
import torch
from torch import nn
from torch.nn.functional import cross_entropy
from train_toys import ToyBatch, Toys, network

from edgewise.core import InputError, RunError
from edgewise.train import Settings
from edgewise.train.step import Stepper, groups

CPU = torch.device("cpu")


def stepper(model, loss=cross_entropy, penalty=None, **settings):
    return Stepper(model, Settings(**settings), loss, penalty, CPU)


def gradients(model):
    return torch.cat([p.grad.flatten() for p in model.parameters()])


@pytest.mark.parametrize(("n", "size"), [(64, 16), (63, 16), (100, 7), (1, 16)])
def test_accumulated_batches_are_one_big_batch(n, size):
    """Gradient, norm, loss, penalty and count; the last batch is an uneven one."""
    found = []
    for step_size in (size, n):
        model = network(torch.float64)
        step = stepper(model, penalty=lambda m: m[0].weight.square().sum(), clip=0)
        batches = list(Toys(n=n, size=step_size, dtype=torch.float64).epoch(1))
        said = step(batches, epoch=1, first=1, batches=len(batches), rate=0.1)
        assert (said.batch, said.examples) == (len(batches), n)
        found.append((gradients(model), said, model[0].weight))
    (many, said_many, w), (one, said_one, v) = found
    torch.testing.assert_close(many, one, rtol=0, atol=1e-14)
    torch.testing.assert_close(w, v, rtol=0, atol=1e-9)
    assert said_many.correct == said_one.correct
    for name in ("loss", "penalty", "gradient_norm"):
        assert getattr(said_many, name) == pytest.approx(getattr(said_one, name), abs=1e-14)


def test_the_norm_is_that_before_clipping_and_the_gradient_that_after():
    batch = list(Toys(n=64, size=64).epoch(1))
    norms = {}
    for clip in (0, 0.01, 100.0):
        model = network()
        said = stepper(model, clip=clip)(batch, 1, 1, 1, 0.1)
        norms[clip] = said.gradient_norm, gradients(model).norm().item()
    assert norms[0][0] == norms[0.01][0] == norms[100.0][0] > 0.01
    assert norms[0.01][1] == pytest.approx(0.01, rel=1e-3)
    assert norms[0][1] == norms[100.0][1] == pytest.approx(norms[0][0], rel=1e-6)


def test_only_matrices_decay():
    model = network()
    before = {k: v.clone() for k, v in model.state_dict().items()}
    step = stepper(model, loss=lambda p, t: 0 * p.sum(), weight_decay=0.5)
    step(list(Toys(n=4).epoch(1)), 1, 1, 1, 0.1)
    for name, value in model.state_dict().items():
        kept = 0.95 if value.ndim >= 2 else 1.0
        torch.testing.assert_close(value, before[name] * kept)


def test_the_rate_is_used():
    moved = []
    for rate in (0.1, 0.2):
        model = network(torch.float64)
        before = model[0].bias.detach().clone()
        stepper(model)(list(Toys(n=4, dtype=torch.float64).epoch(1)), 1, 1, 1, rate)
        moved.append(model[0].bias.detach() - before)
    torch.testing.assert_close(2 * moved[0], moved[1])


def test_frozen_parameters_stay():
    model = network()
    model[0].requires_grad_(False)
    before = model[0].weight.clone()
    stepper(model)(list(Toys(n=4).epoch(1)), 1, 1, 1, 0.1)
    assert torch.equal(model[0].weight, before)


def test_a_model_without_parameters_is_refused():
    with pytest.raises(InputError) as error:
        stepper(nn.Identity())
    assert str(error.value) == (
        "the model has no parameter that requires a gradient: nothing to fit"
    )


@pytest.mark.parametrize(
    ("parts", "message"),
    [
        (
            {"loss": lambda p, t: cross_entropy(p, t, reduction="none")},
            "the loss gave shape (4,): it must return a tensor with one number, a mean",
        ),
        (
            {"penalty": lambda m: 0.0},
            "the penalty gave 0.0: it must return a tensor with one number, a mean",
        ),
    ],
)
def test_a_loss_is_one_number(parts, message):
    with pytest.raises(InputError) as error:
        stepper(network(), **parts)(list(Toys(n=4).epoch(1)), 1, 1, 1, 0.1)
    assert str(error.value) == message


REMEDY = "look at these items, lower the learning rate or use precision float32"


def three_batches(bad=math.nan):
    """Batches 5, 6 and 7 of an epoch, number 6 with a bad example."""
    batches = list(Toys(n=12, size=4, shuffle=False).epoch(1))
    batches[1].inputs[0][2] = bad
    return batches


@pytest.mark.parametrize(
    ("bad", "parts", "message"),
    [
        (math.nan, {}, "the loss is nan in epoch 2, batch 6 (items 4, 5, 6, 7)"),
        (
            0.0,
            {"penalty": lambda m: m[0].weight.sum() / 0},
            "the penalty is inf in epoch 2, batch 5 (items 0, 1, 2, 3)",
        ),
        (
            0.0,
            {"loss": lambda p, t: (p - p.detach()).abs().sqrt().sum()},
            "the gradient norm is nan in epoch 2, batches 5 to 7 "
            "(items 0, 1, 2, 3, 4, ... (12 in all))",
        ),
    ],
)
def test_what_isnt_finite_is_named_word_by_word_before_it_spoils_the_weights(bad, parts, message):
    model = network()
    with torch.no_grad():
        model[0].weight.abs_()
    before = {k: v.clone() for k, v in model.state_dict().items()}
    with pytest.raises(RunError) as error:
        stepper(model, **parts)(three_batches(bad), epoch=2, first=5, batches=9, rate=0.1)
    assert str(error.value) == f"{message}: {REMEDY}"
    assert all(torch.equal(v, before[k]) for k, v in model.state_dict().items())


def test_one_batch_is_named_as_one():
    step = stepper(network(), loss=lambda p, t: (p - p.detach()).abs().sqrt().sum())
    with pytest.raises(RunError) as error:
        step(three_batches(0.0)[:1], epoch=1, first=1, batches=9, rate=0.1)
    assert str(error.value) == (
        f"the gradient norm is nan in epoch 1, batch 1 (items 0, 1, 2, 3): {REMEDY}"
    )


def overflowing(p, t):
    """Finite, with a gradient beyond float16 once it is scaled."""
    return (p.float() * 1e3).mean()


class HalfBackward(torch.autograd.Function):
    """The identity, whose gradient passes through float16."""

    @staticmethod
    def forward(ctx, x):
        return x.clone()

    @staticmethod
    def backward(ctx, g):
        return g.half().to(g.dtype)


def test_an_overflow_of_float16_leaves_the_step_out_and_halves_the_scale():
    model = network()
    before = model[0].weight.detach().clone()
    step = stepper(
        model, loss=lambda p, t: overflowing(HalfBackward.apply(p), t), precision="float16"
    )
    said = step(list(Toys(n=4).epoch(1)), 1, 1, 1, 0.1)
    assert said.gradient_norm is None
    assert math.isfinite(said.loss)
    assert torch.equal(model[0].weight, before)
    assert step.scaler.get_scale() == 2.0**15
    for _ in range(20):
        said = step(list(Toys(n=4).epoch(1)), 1, 1, 1, 0.1)
    assert math.isfinite(said.gradient_norm)
    assert not torch.equal(model[0].weight, before)


def test_float16_gives_up_when_no_scale_helps():
    step = stepper(
        network(), loss=lambda p, t: (p - p.detach()).abs().sqrt().sum(), precision="float16"
    )
    batches = list(Toys(n=4).epoch(1))
    while step.scaler.get_scale() >= 1:
        assert step(batches, 1, 1, 1, 0.1).gradient_norm is None
    with pytest.raises(RunError, match=r"^the gradient norm is nan in epoch 1, batch 1 "):
        step(batches, 1, 1, 1, 0.1)


@pytest.mark.parametrize(("precision", "near"), [("bfloat16", 0.05), ("float16", 0.01)])
def test_half_precision_has_nearly_the_same_gradient(precision, near):
    found = {}
    for name in ("float32", precision):
        model = network()
        batches = list(Toys(n=64, size=64).epoch(1))
        said = stepper(model, precision=name, clip=0)(batches, 1, 1, 1, 0.1)
        found[name] = gradients(model), said
        assert model[0].weight.dtype == torch.float32
    (exact, said), (half, its) = found["float32"], found[precision]
    assert 0 < (half - exact).norm() / exact.norm() < near
    assert its.loss == pytest.approx(said.loss, rel=near)


def test_regression_counts_nothing():
    model = network(out=1)
    batches = list(Toys(n=4, regress=True).epoch(1))
    said = stepper(model, loss=nn.functional.mse_loss)(batches, 1, 1, 1, 0.1)
    assert said.correct is None
    assert said.accuracy is None


def test_accuracy_is_the_exact_fraction():
    logits = torch.tensor([[1.0, 0.0]] * 7)
    target = torch.tensor([0, 0, 0, 0, 0, 1, 1])
    model = nn.Linear(2, 2, bias=False)
    with torch.no_grad():
        model.weight.copy_(torch.eye(2))
    said = stepper(model)([ToyBatch((logits,), target, torch.arange(7))], 1, 1, 1, 0.1)
    assert said.accuracy == 5 / 7


@pytest.mark.parametrize(("n", "size"), [(0, 2), (1, 2), (4, 2), (5, 2), (5, 100)])
def test_groups_leave_nothing_out(n, size):
    found = list(groups(range(n), size))
    assert [x for group in found for x in group] == list(range(n))
    assert all(len(group) == size for group in found[:-1])
    assert all(found)
