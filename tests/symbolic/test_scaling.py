from fractions import Fraction

import torch

from edgewise.symbolic.scaling import Scaling, scalings


def inputs():
    source = torch.Generator().manual_seed(0)
    return 1 + torch.rand(400, 3, generator=source, dtype=torch.float64)


def euler(f, x):
    x = x.clone().requires_grad_()
    y = f(x)
    (slope,) = torch.autograd.grad(y.sum(), x)
    return y.detach(), (x * slope).detach()


def test_a_factor_is_found_where_the_target_changes_its_sign():
    y, e = euler(lambda x: x[:, 0] ** 2 * torch.sin(3 * x[:, 1] - x[:, 2]), inputs())
    assert (y > 0).any()
    assert (y < 0).any()
    (first, *_) = scalings(y, e, [0, 1, 2], 1e-9)
    assert (first.i, first.p, first.q) == (0, Fraction(2), {})


def test_a_ratio_makes_two_inputs_one():
    x = inputs()
    f = lambda x: x[:, 0] ** 3 * torch.exp(x[:, 1] / x[:, 0]) + 0 * x[:, 2]  # noqa: E731
    y, e = euler(f, x)
    ways = [w for w in scalings(y, e, [0, 1], 1e-9) if w.i == 0]
    assert [(w.p, w.q) for w in ways] == [(Fraction(3), {1: Fraction(1)})]
    # y = xᵢᵖ F(xₘ xᵢ^(-qₘ)): with x₀ = 1 and x₁ scaled it is F.
    reduced = torch.stack([torch.ones_like(x[:, 0]), x[:, 1] / x[:, 0], x[:, 2]], 1)
    torch.testing.assert_close(x[:, 0] ** 3 * f(reduced), f(x))


def test_an_input_that_does_nothing_goes():
    y, e = euler(lambda x: torch.sin(x[:, 0] * x[:, 1]) + 0 * x[:, 2], inputs())
    assert Scaling(2, Fraction(0), {}, 0.0) in scalings(y, e, [0, 1, 2], 1e-9)


def test_nothing_is_found_where_nothing_scales():
    y, e = euler(lambda x: torch.sin(x[:, 0]) + x[:, 1].exp() + x[:, 2].cos(), inputs())
    assert scalings(y, e, [0, 1, 2], 1e-6) == []
