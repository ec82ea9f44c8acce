import re

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from edgewise.core import InputError
from edgewise.curvature import Functional, HessianOperator

X, Y = torch.linspace(-1, 1, 12).view(6, 2), torch.linspace(0, 1, 6).view(6, 1)


def line():
    return nn.Linear(2, 1)


def refusal(call, *args, **kwargs):
    with pytest.raises(InputError) as caught:
        call(*args, **kwargs)
    return str(caught.value)


class Once(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x):
        ctx.save_for_backward(x)
        return x**2

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx, g):
        return 2 * g * ctx.saved_tensors[0]


@pytest.mark.parametrize(
    ("loss", "message"),
    [
        (
            F.l1_loss,
            "the loss is not twice differentiable: its operation 'abs' has a kink and nothing "
            "else bends; use a smooth loss, such as smooth_l1_loss",
        ),
        (
            lambda p, y: F.relu(1 - p * y).mean(),
            "the loss is not twice differentiable: its operation 'relu' has a kink and nothing "
            "else bends; use a smooth loss, such as smooth_l1_loss",
        ),
        (
            lambda p, y: Once.apply(p - y).mean(),
            "the loss is not twice differentiable: the operation 'Once' is marked "
            "once_differentiable; replace it",
        ),
        (
            lambda p, y: (p > y).float().mean(),
            "the loss is not differentiable: it does not depend on the prediction by "
            "differentiable operations (argmax, round, detach and comparisons are none)",
        ),
    ],
)
def test_a_loss_without_second_derivative_is_refused_by_its_operation(loss, message):
    f = Functional(line(), loss, (X, Y))
    assert refusal(f.hessian) == message
    assert refusal(f.gauss_newton) == message


def test_an_operation_without_second_derivative_in_torch_is_named():
    model = nn.Linear(2, 15)

    def ctc(p, y):
        p = p.view(len(p), 3, 5).log_softmax(-1).transpose(0, 1)
        return F.ctc_loss(p, y, [3] * len(y), [2] * len(y), reduction="none").mean()

    f = Functional(model, ctc, (X, torch.tensor([[1, 2]] * 6)))
    assert f.gradient().isfinite().all()
    assert refusal(f.hessian) == (
        "the loss is not twice differentiable: the operation 'ctc_loss' has no second "
        "derivative in torch; replace it"
    )


def test_kinks_within_the_model_are_let_pass():
    model = nn.Sequential(nn.Linear(2, 4), nn.ReLU(), nn.Linear(4, 1))
    assert Functional(model, F.mse_loss, (X, Y)).hessian().dense().isfinite().all()


def test_a_loss_that_is_no_mean_over_examples_is_refused():
    total = lambda p, y: F.mse_loss(p, y, reduction="sum")  # noqa: E731
    message = refusal(Functional(line(), total, (X, Y)).value)
    assert re.fullmatch(
        r"the loss must be the mean over examples: on the first batch it is \S+ and \S+ as the "
        r"mean of its halves; use reduction='mean', without class weights or ignored targets in "
        r"the divisor",
        message,
    )


def test_class_weights_in_the_divisor_are_refused():
    weighted = nn.CrossEntropyLoss(weight=torch.tensor([1.0, 10.0]))
    f = Functional(nn.Linear(2, 2), weighted, (X, torch.tensor([0, 0, 0, 0, 1, 1])))
    assert refusal(f.hessian).startswith("the loss must be the mean over examples")


def test_a_loss_must_be_a_scalar():
    f = Functional(line(), lambda p, y: (p - y).square(), (X, Y))
    assert refusal(f.value) == (
        "loss must return a scalar tensor, the mean over examples, got (6, 1)"
    )
    f = Functional(line(), lambda p, y: 1.0, (X, Y))
    assert refusal(f.value) == "loss must return a scalar tensor, the mean over examples, got float"


def test_nan_is_refused_with_its_place():
    bad = X.clone()
    bad[4, 0] = float("nan")
    f = Functional(line(), F.mse_loss, [(X, Y), (bad, Y)])
    expected = "the loss is nan on batch 1, its x and prediction not finite"
    assert refusal(f.value) == expected
    assert refusal(f.hessian) == expected
    f = Functional(line(), F.mse_loss, [(X, Y), (bad, Y)], chunk_size=3)
    assert refusal(f.value) == (
        "the loss is nan on batch 1, examples 3 to 5, its x and prediction not finite"
    )
    f = Functional(line(), lambda p, y: F.mse_loss(p, y) * float("inf"), (X, Y))
    assert refusal(f.value) == "the loss is inf on batch 0, though its data are finite"


@pytest.mark.parametrize("data", [[], iter(()), (X[:0], Y[:0]), [(X[:0], Y[:0])]])
def test_empty_data_are_refused(data):
    message = "the data are empty: curvature needs at least one example"
    assert refusal(Functional, line(), F.mse_loss, data) == message


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (3, "data must be (x, y) batches or one such pair, got int"),
        ([X], "batch 0 must be a pair (x, y), got Tensor"),
        ([(X, Y), (X, 3)], "batch 1 must hold tensors with the examples on the first axis"),
        ([(X, Y[:5])], "batch 0 has 5 and 6 examples: inputs and target must agree"),
    ],
)
def test_what_is_no_stream_of_pairs_is_refused(data, message):
    assert refusal(Functional, line(), F.mse_loss, data) == message


@pytest.mark.parametrize("chunk_size", [0, -1, 2.5, True])
def test_a_chunk_has_at_least_one_example(chunk_size):
    message = f"chunk_size must be a whole number of at least 1, got {chunk_size!r}"
    assert refusal(Functional, line(), F.mse_loss, (X, Y), chunk_size=chunk_size) == message


@pytest.mark.parametrize(
    ("module", "what"),
    [
        (nn.Dropout(0.5), "Dropout '1'"),
        (nn.BatchNorm1d(1), "BatchNorm1d '1'"),
    ],
)
def test_a_model_that_is_random_or_changes_is_refused(module, what):
    model = nn.Sequential(nn.Linear(2, 1), module)
    assert refusal(Functional, model, F.mse_loss, (X, Y)) == (
        f"{what} is in training mode, where the loss is no function of the parameters alone; "
        "call model.eval() first"
    )
    assert Functional(model.eval(), F.mse_loss, (X, Y)).value().isfinite()


def test_parameters_must_be_there_and_alike():
    model = line()
    no_name = "unknown parameter 'wieght': did you mean 'weight'? (known: weight, bias)"
    assert refusal(Functional, model, F.mse_loss, (X, Y), ["wieght"]) == no_name
    stranger = "params holds a tensor of shape (3,), which is no parameter of the model"
    assert refusal(Functional, model, F.mse_loss, (X, Y), [torch.ones(3)]) == stranger
    model.bias = nn.Parameter(model.bias.detach().double())
    two = "the parameters must have one dtype, they have torch.float32 and torch.float64"
    assert refusal(Functional, model, F.mse_loss, (X, Y)) == two
    assert refusal(Functional, line().requires_grad_(False), F.mse_loss, (X, Y)) == (
        "there is no trainable parameter to take curvature in; set requires_grad or choose "
        "other params"
    )
    assert refusal(Functional, "model", F.mse_loss, (X, Y)) == (
        "model must be a torch.nn.Module, got str"
    )
    f = Functional(line(), F.mse_loss, (X, Y))
    wrong = "a vector over 3 parameters must have the shape (3,), got (4,)"
    assert refusal(f.value, torch.ones(4)) == wrong


def test_closures_are_checked_too():
    p = torch.ones(2, requires_grad=True)
    assert refusal(HessianOperator, lambda: p.sum(), []) == (
        "there is no trainable parameter to take curvature in"
    )
    assert refusal(HessianOperator, lambda: (p * float("nan")).sum(), [p]) == (
        "the gradient is not finite: look for NaN in the data or the loss"
    )
    H = HessianOperator(lambda: (p**3).sum(), [p])
    assert refusal(lambda: H @ torch.ones(3)) == (
        "the operator takes vectors of 2 numbers, got the shape (3,)"
    )
