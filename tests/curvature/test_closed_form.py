import pytest
import torch
import torch.nn.functional as F
from torch import nn

from edgewise.core import InputError
from edgewise.curvature import ClosedForm, Functional, closed_form
from edgewise.models import KAN

CASES = {
    "two layers": lambda: (KAN([2, 5, 1], bias=False), F.mse_loss),
    "three layers, bias": lambda: (KAN([3, 4, 3, 2], "chebyshev"), F.huber_loss),
    "cross-entropy, tanh": lambda: (KAN([2, 6, 4], "gaussian", base="tanh"), F.cross_entropy),
    "no base, one layer": lambda: (KAN([3, 2], base=None), F.mse_loss),
}


def functional(case, n=63, **options):
    model, loss = CASES[case]()
    model = model.double()
    with torch.no_grad():
        for p in model.parameters():
            p.mul_(2).add_(0.1 * torch.randn_like(p))
    x = 2 * torch.rand(n, model.widths[0], dtype=torch.float64) - 1
    y = torch.randn(n, model.widths[-1], dtype=torch.float64)
    y = torch.randint(4, (n,)) if loss is F.cross_entropy else y
    if case == "cross-entropy, tanh":  # a Gaussian's centres and widths are no such weights
        options.setdefault("params", [k for k, _ in model.named_parameters() if "basis" not in k])
    return Functional(model, loss, [(x[:20], y[:20]), (x[20:], y[20:])], **options)


@pytest.mark.parametrize("case", CASES)
def test_the_closed_forms_are_the_derivatives(case):
    f = functional(case)
    closed = ClosedForm(f)
    assert torch.allclose(closed.jacobian().flatten(0, 1), f.jacobian().dense(), atol=1e-11)
    theta = f.point() + 0.1
    for found, operator in (
        (closed.gauss_newton(), f.gauss_newton()),
        (closed.hessian(), f.hessian()),
        (closed.hessian(theta), f.hessian(theta)),
    ):
        assert torch.allclose(found, found.T, rtol=1e-12, atol=1e-13)
        # Generic vectors: as many as make up the matrix would say no more.
        V = torch.randn(f.size, 4, dtype=torch.float64)
        assert torch.allclose(found @ V, operator @ V, atol=1e-10)


def test_pieces_change_only_rounding(monkeypatch):
    f = functional("three layers, bias")
    whole = ClosedForm(f).hessian()
    monkeypatch.setattr(closed_form, "ENTRIES", 3000)
    closed = ClosedForm(f)
    assert closed.most < 20
    assert torch.allclose(closed.hessian(), whole, rtol=1e-10, atol=1e-13)


def test_frozen_weights_are_left_out():
    f = functional("three layers, bias")
    names = ["layers.0", "layers.1.bias", "layers.2.coefficients"]
    part = Functional(f.model, F.huber_loss, [c[:2] for c in f.stream], names)
    assert 0 < part.size < f.size
    V = torch.randn(part.size, 4, dtype=torch.float64)
    assert torch.allclose(ClosedForm(part).hessian() @ V, part.hessian() @ V, atol=1e-10)
    assert torch.allclose(
        ClosedForm(part).jacobian().flatten(0, 1), part.jacobian().dense(), atol=1e-11
    )


def test_float64_on_demand():
    model = KAN([2, 3, 1])
    x = 2 * torch.rand(30, 2) - 1
    f = Functional(model, F.mse_loss, (x, x[:, :1]), dtype=torch.float64)
    assert torch.allclose(ClosedForm(f).hessian(), f.hessian().dense(), atol=1e-12)


@pytest.mark.parametrize(
    ("model", "why"),
    [
        (lambda: nn.Linear(2, 1), "Linear is no stack of layers with curves"),
        (lambda: KAN([2, 1], normalize="batch").eval(), "layer 0 normalises its inputs"),
        (
            lambda: KAN([2, 1], "rational"),
            "'layers.0.basis.{}' is trained, and the layers are not linear in it",
        ),
    ],
)
def test_other_models_are_refused(model, why):
    model, x = model(), torch.rand(5, 2)
    names = [k.split(".")[-1] for k, _ in model.named_parameters() if "basis" in k]
    why = why.format(*names[:1])
    with pytest.raises(InputError) as caught:
        ClosedForm(Functional(model, F.mse_loss, (x, x[:, :1])))
    assert str(caught.value) == f"there is no closed form: {why}; use Functional.hessian()"
