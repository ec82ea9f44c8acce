import pytest
import torch

from edgewise.bases import Rational
from edgewise.core import build, recipe_of


def with_b(basis, *rows):
    with torch.no_grad():
        basis.b.copy_(torch.tensor(rows, dtype=torch.float64))
    return basis


def formula(x, b, numerator):
    """x^m / (1 + |b_1 x + … + b_q x^q|), power by power."""
    A = sum(b_n * x**n for n, b_n in enumerate(b, start=1))
    return torch.stack([x**m / (1 + A.abs()) for m in range(numerator + 1)], dim=-1)


def grid(reach=3.0, count=100):
    """Even in number, so that x = 0, where Q has its kink, is not among them."""
    return torch.linspace(-reach, reach, count, dtype=torch.float64)


@pytest.mark.parametrize(
    ("numerator", "b"),
    [
        (1, [2.0]),
        (5, [0.3, -1.2, 0.7, 0.4]),
        (5, [0.0, 0.0, 1e-3, 0.0]),
        (2, [0.5, -2.0, 1.5, 0.2, -0.6, 0.3]),
        (8, [-0.5, 0.9]),
    ],
)
def test_values_and_gradients_are_those_of_the_formula(numerator, b):
    basis = with_b(Rational(numerator, len(b)).double(), b)
    x = grid().requires_grad_()
    plain = torch.tensor(b, dtype=torch.float64, requires_grad=True)
    expected = formula(x, plain, numerator)
    torch.testing.assert_close(basis(x), expected, rtol=1e-12, atol=1e-12)
    weights = torch.arange(1, numerator + 2, dtype=torch.float64).sin()
    found = torch.autograd.grad((basis(x) @ weights).square().sum(), (x, basis.b))
    expected = torch.autograd.grad((expected @ weights).square().sum(), (x, plain))
    torch.testing.assert_close(found[0], expected[0], rtol=1e-10, atol=1e-10)
    torch.testing.assert_close(found[1][0], expected[1], rtol=1e-10, atol=1e-10)


def test_each_group_has_its_own_denominator():
    rows = [[0.0, 1.0], [0.7, -0.2], [-2.0, 0.5]]
    basis = with_b(Rational(3, 2, groups=3).double(), *rows)
    x = torch.randn(5, 2, 12, dtype=torch.float64)
    for order in (0, 1, 2):
        found = basis.derivative(x, order)
        assert found.shape == (5, 2, 12, 4)
        for g, row in enumerate(rows):
            alone = with_b(Rational(3, 2).double(), row)
            part = slice(4 * g, 4 * g + 4)
            torch.testing.assert_close(found[..., part, :], alone.derivative(x[..., part], order))


def test_each_group_has_its_own_gradient():
    basis = Rational(groups=2)
    x = torch.randn(7, 6)
    basis(x)[:, :3].square().sum().backward()
    assert (basis.b.grad[0] != 0).all()
    assert (basis.b.grad[1] == 0).all()
    assert torch.autograd.gradcheck(lambda x, _: basis(x), (x.double(), basis.double().b))


def test_groups_go_with_any_other_axes_and_with_none_of_them_full():
    basis = Rational(groups=4)
    for shape in [(4,), (0, 8), (3, 0), (2, 3, 100)]:
        assert basis(torch.zeros(shape)).shape == (*shape, 6)


def test_groups_are_in_the_recipe_and_the_state():
    basis = with_b(Rational(3, 2, groups=2), [0.1, 2.0], [-3.0, 0.4])
    again = build(recipe_of(basis))
    again.load_state_dict(basis.state_dict())
    x = torch.randn(3, 4)
    assert torch.equal(again(x), basis(x))
    assert [(n, tuple(p.shape)) for n, p in basis.named_parameters()] == [("b", (2, 2))]


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32])
@pytest.mark.parametrize("denominator", [1, 3, 4, 6])
def test_at_the_start_it_grows_no_faster_than_promised(dtype, denominator):
    basis = Rational(denominator + 1, denominator)
    x = torch.tensor([-200.0, -7.0, -1.0, -0.1, 0.0, 0.3, 1.0, 42.0, 200.0], dtype=dtype)
    m = torch.arange(basis.size)
    bound = x.double().abs().clamp(min=1).unsqueeze(-1) ** (m - denominator).clamp(min=0)
    # Once rounded.
    assert (basis(x).double().abs() <= bound * 1.01).all()
    assert torch.equal(basis(x), basis(x.double()).to(dtype)) or dtype == torch.float32
    for order in (0, 1, 2):
        assert basis.derivative(x, order).isfinite().all()


def test_no_power_overflows_for_any_finite_number():
    basis = Rational()
    x = torch.tensor([1e-38, 1e5, 1e10, 1e20, 1e38], requires_grad=True)
    x = torch.cat([x, -x])
    expected = basis(x.double()).float()
    torch.testing.assert_close(basis(x), expected, rtol=1e-5, atol=0)
    (gradient,) = torch.autograd.grad(basis(x).sum(), x, retain_graph=True)
    assert gradient.isfinite().all()
    assert basis.derivative(x, 2).isfinite().all()
    basis(x / 1e20).sum().backward()
    assert basis.b.grad.isfinite().all()


def test_in_float32_it_is_close_to_float64():
    basis = with_b(Rational(), [0.3, -1.2, 0.7, 0.4])
    x = torch.linspace(-9, 9, 100).double()
    for order in (0, 1, 2):
        expected = basis.derivative(x, order)
        error = (basis.derivative(x.float(), order).double() - expected).abs().max()
        assert error < 1e-5 * expected.abs().max()


def test_the_denominator_starts_smooth_and_away_from_poles():
    x = grid(count=101)
    Q = 1 / Rational()(x)[:, 0]
    torch.testing.assert_close(Q, 1 + x**2 + x**4, rtol=1e-12, atol=0)
    Q = 1 / Rational(denominator=3)(x)[:, 0]
    torch.testing.assert_close(Q, 1 + x.abs() ** 3, rtol=1e-12, atol=0)
    # At x = 0, where the inner sum is zero too.
    at = torch.zeros((), dtype=torch.float64)
    assert torch.equal(Rational().derivative(at, 1), torch.tensor([0, 1, 0, 0, 0, 0.0]).double())
    assert torch.equal(Rational().derivative(at, 2), torch.tensor([-2, 0, 2, 0, 0, 0.0]).double())


def test_reset_parameters_goes_back_to_the_start_and_draws_nothing():
    basis = with_b(Rational(groups=2), [9.0] * 4, [-9.0] * 4)
    before = torch.random.get_rng_state()
    basis.reset_parameters()
    assert torch.equal(basis.b, torch.tensor([[0.0, 1, 0, 1]] * 2))
    assert torch.equal(torch.random.get_rng_state(), before)


def test_at_a_kink_the_derivative_is_the_one_sided_one():
    """For q = 1, Q = 1 + |x|: at zero B_0 falls to the right with slope -1."""
    basis = Rational(1, 1)
    at = torch.zeros((), dtype=torch.float64, requires_grad=True)
    assert basis.derivative(at, 1).tolist() == [-1.0, 1.0]
    (gradient,) = torch.autograd.grad(basis(at)[0], at)
    assert gradient == -1


def test_not_a_number_stays_where_it_is():
    B = Rational()(torch.tensor([0.3, float("nan")]))
    assert B[0].isfinite().all()
    assert B[1].isnan().all()


@pytest.mark.parametrize("numerator", [5, 6, 20])
def test_a_refinement_is_the_same_function(numerator):
    basis = with_b(Rational(groups=2).double(), [0.3, -1.2, 0.7, 0.4], [0.0, 2.0, 0.1, 1.0])
    fine, T = basis.refined(numerator)
    assert (fine.numerator, fine.denominator, fine.groups) == (numerator, 4, 2)
    assert fine.b is basis.b
    assert (T.shape, T.dtype) == ((numerator + 1, 6), torch.float64)
    c = torch.randn(6, dtype=torch.float64)
    x = 2 * torch.randn(50, 4, dtype=torch.float64)
    for order in (0, 1, 2):
        expected = basis.derivative(x, order) @ c
        torch.testing.assert_close(
            fine.derivative(x, order) @ (T @ c), expected, rtol=1e-12, atol=1e-12
        )


def test_learning_finds_a_function_and_its_denominator():
    """1 / (1 + 4 x²), whose poles lie nearer than those of the start."""
    basis = Rational(2, 2)
    c = torch.zeros(3, requires_grad=True)
    x = torch.linspace(-3, 3, 128)
    optimiser = torch.optim.Adam([c, basis.b], lr=0.05)
    for _ in range(300):
        optimiser.zero_grad()
        loss = (basis(x) @ c - 1 / (1 + 4 * x**2)).square().mean()
        loss.backward()
        optimiser.step()
    assert loss < 1e-4
    assert abs(basis.b[0, 1].item() - 4) < 0.5
