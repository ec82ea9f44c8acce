"""Whatever is registered as a basis keeps these promises."""

import copy
import math

import pytest
import torch

from edgewise.bases import (
    BASES,
    AbstractBasis,
    BSpline,
    Chebyshev,
    Fourier,
    Gaussian,
    Rational,
    Wavelet,
    make_basis,
)
from edgewise.bases.base import check_domain
from edgewise.core import InputError, build, check_count, recipe_of

RECIPES = {
    "bspline": lambda: BSpline(),
    "bspline degree 0": lambda: BSpline(grid_size=4, degree=0),
    "bspline degree 1": lambda: BSpline(grid_size=1, degree=1, domain=(2.0, 5.0)),
    "bspline degree 5": lambda: BSpline(grid_size=63, degree=5, domain=(0.0, 1.0)),
    "bspline zero": lambda: BSpline(grid_size=5, degree=3, outside="zero"),
    "bspline zero degree 0": lambda: BSpline(grid_size=5, degree=0, outside="zero"),
    "chebyshev": lambda: Chebyshev(),
    "chebyshev without constant": lambda: Chebyshev(5, constant=False),
    "chebyshev linear without constant": lambda: Chebyshev(1, outside="linear", constant=False),
    "chebyshev degree 7": lambda: Chebyshev(7, domain=(-3.0, 1.0)),
    "chebyshev linear": lambda: Chebyshev(outside="linear"),
    "chebyshev linear degree 1": lambda: Chebyshev(1, domain=(2.0, 5.0), outside="linear"),
    "chebyshev linear degree 20": lambda: Chebyshev(20, domain=(0.0, 1.0), outside="linear"),
    "fourier": lambda: Fourier(),
    "fourier period": lambda: Fourier(harmonics=3, period=0.7),
    "fourier learnable": lambda: Fourier(harmonics=[0.5, 2.0, 7.3], learnable=True),
    "gaussian": lambda: Gaussian(),
    "gaussian one": lambda: Gaussian(centers=1),
    "gaussian uneven": lambda: Gaussian(centers=[0.0, 0.1, 0.7], domain=(0.0, 1.0)),
    "gaussian width": lambda: Gaussian(centers=5, domain=(-2.0, 2.0), width=0.3),
    "rational": lambda: Rational(),
    "rational one over one": lambda: Rational(numerator=1, denominator=1),
    "rational odd": lambda: Rational(numerator=2, denominator=3),
    "rational no more than bounded": lambda: Rational(numerator=2, denominator=6),
    "rational steep": lambda: Rational(numerator=7, denominator=4),
    "rational learned": lambda: learned(Rational()),
    "wavelet": lambda: Wavelet(),
    "wavelet one": lambda: Wavelet(count=1),
    "wavelet morlet": lambda: Wavelet(count=20, mother="morlet", domain=(0.0, 1.0)),
    "wavelet dog": lambda: Wavelet(count=5, mother="dog", domain=(-3.0, 1.0)),
}


def learned(basis: Rational) -> Rational:
    """With values of b as training leaves them: kinks, far from the points of the tests."""
    with torch.no_grad():
        basis.b.copy_(torch.tensor([[0.9, -0.4, -1.1, 0.3]]))
    return basis


every_basis = pytest.mark.parametrize("name", RECIPES)


def inside(basis: AbstractBasis, count: int = 97, dtype=torch.float64) -> torch.Tensor:
    """Points of the domain that are no knots."""
    low, high = basis.domain
    return (low + (high - low) * (torch.arange(count, dtype=torch.float64) + 0.437) / count).to(
        dtype
    )


def around(basis: AbstractBasis, count: int = 97) -> torch.Tensor:
    """Points from one domain's width below to one above, no knots among them."""
    low, high = basis.domain
    steps = (torch.arange(count, dtype=torch.float64) + 0.437) / count
    return low + (high - low) * (3 * steps - 1)


def smooth_to(basis: AbstractBasis) -> int:
    """How often the functions can be differentiated everywhere."""
    return basis.degree - 1 if isinstance(basis, BSpline) else 99


def test_every_registered_basis_has_a_recipe():
    made = {type(make()) for make in RECIPES.values()}
    assert {BASES.resolve(name) for name in BASES} == made


@every_basis
@pytest.mark.parametrize("shape", [(), (0,), (1,), (63,), (2, 0, 3), (4, 1, 5)])
def test_the_functions_are_a_new_last_axis(name, shape):
    basis = RECIPES[name]()
    for order in (0, 1, 2):
        assert basis.derivative(torch.zeros(shape), order).shape == (*shape, basis.size)
    assert basis(torch.zeros(shape)).shape == (*shape, basis.size)


@every_basis
def test_each_point_is_on_its_own(name):
    basis = RECIPES[name]()
    x = around(basis, 60)
    whole = basis(x.view(4, 15)).view(60, -1)
    for i in range(0, 60, 7):
        torch.testing.assert_close(basis(x[i]), whole[i], rtol=0, atol=1e-14)


@every_basis
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_far_away_it_is_finite_and_keeps_the_dtype(name, dtype):
    basis = RECIPES[name]()
    low, high = basis.domain
    width = high - low
    ends = [low - 100 * width, low - 1e-7, low, low + 1e-7, high - 1e-7, high, high + 100 * width]
    x = torch.tensor(ends, dtype=dtype, requires_grad=True)
    for order in (0, 1, 2):
        values = basis.derivative(x, order)
        assert values.dtype == dtype
        assert values.isfinite().all()
        if values.requires_grad:
            (gradient,) = torch.autograd.grad(values.square().sum(), x)
            assert gradient.isfinite().all()


@every_basis
def test_half_precision_is_kept_and_close(name):
    basis = RECIPES[name]()
    x = inside(basis, 40)
    scale = basis(x).abs().max()
    for dtype, tolerance in ((torch.bfloat16, 0.5), (torch.float16, 0.15)):
        values = basis(x.to(dtype))
        assert values.dtype == dtype
        # The rounding of x itself moves the value.
        allowed = tolerance * scale
        assert (values.double() - basis(x.to(dtype).double())).abs().max() < allowed


@every_basis
def test_derivatives_are_those_of_autograd(name):
    basis = RECIPES[name]().double()
    x = around(basis).requires_grad_()
    for order in (1, 2):
        lower = basis.derivative(x, order - 1)
        for k in range(basis.size):
            if not lower.requires_grad:
                expected = torch.zeros_like(x)
            else:
                (expected,) = torch.autograd.grad(
                    lower[:, k].sum(), x, retain_graph=True, materialize_grads=True
                )
            found = basis.derivative(x, order)[:, k]
            scale = max(1.0, float(expected.detach().abs().max()))
            torch.testing.assert_close(found, expected, rtol=1e-9, atol=1e-9 * scale)


@every_basis
def test_twice_by_autograd_is_the_second_derivative(name):
    """The path that a penalty on the gradient of forward() takes."""
    basis = RECIPES[name]().double()
    x = inside(basis).requires_grad_()
    weights = torch.arange(1, basis.size + 1, dtype=torch.float64).sin()
    value = (basis(x) @ weights).sum()
    first, second = torch.zeros_like(x), torch.zeros_like(x)
    if value.requires_grad:
        (first,) = torch.autograd.grad(value, x, create_graph=True)
    if first.requires_grad:
        (second,) = torch.autograd.grad(first.sum(), x, materialize_grads=True)
    expected = (basis.derivative(x, 2) @ weights).detach()
    scale = max(1.0, float(expected.abs().max()))
    torch.testing.assert_close(second, expected, rtol=1e-9, atol=1e-9 * scale)


@every_basis
def test_gradients_pass_gradcheck(name):
    basis = RECIPES[name]().double()
    # No finite difference straddles a knot here.
    x = around(basis, 8).requires_grad_()
    few = torch.arange(3 * basis.size, dtype=torch.float64).sin().view(basis.size, 3)

    def read(x, *parameters):
        return basis(x) @ few

    inputs = (x, *basis.parameters())
    assert torch.autograd.gradcheck(read, inputs)
    if smooth_to(basis) >= 2:
        assert torch.autograd.gradgradcheck(read, inputs, atol=1e-4)


@every_basis
def test_promise_sums_to_one(name):
    basis = RECIPES[name]()
    total = basis(around(basis, 1001)).sum(-1)
    holds = torch.allclose(total, torch.ones_like(total), rtol=0, atol=1e-12)
    assert holds == basis.sums_to_one


@every_basis
def test_promise_exact_degree(name):
    basis = RECIPES[name]()
    x = inside(basis, 400)
    low, high = basis.domain
    u = (2 * x - low - high) / (high - low)
    B = basis(x).detach()
    for degree in range(basis.exact_degree + 1):
        solution = torch.linalg.lstsq(B, u[:, None] ** degree, driver="gelsd").solution
        assert (B @ solution - u[:, None] ** degree).abs().max() < 1e-12
    if basis.exact_degree >= 0:
        beyond = u[:, None] ** (basis.exact_degree + 1)
        solution = torch.linalg.lstsq(B, beyond, driver="gelsd").solution
        assert (B @ solution - beyond).abs().max() > 1e-12, "the promise is too modest"


@every_basis
def test_promise_period(name):
    basis = RECIPES[name]()
    x = around(basis)
    if basis.period is None:
        assert not torch.allclose(basis(x + 1.0), basis(x))
    else:
        for cycles in (-3, 1, 100):
            torch.testing.assert_close(
                basis(x + cycles * basis.period), basis(x), rtol=0, atol=1e-11
            )
        assert not torch.allclose(basis(x + basis.period / 2), basis(x))


@every_basis
def test_recipe_and_state_make_it_again(name):
    basis = RECIPES[name]().double()
    basis.place(inside(basis).square())
    x = around(basis)
    again = build(recipe_of(basis)).double()
    again.load_state_dict(basis.state_dict())
    assert torch.equal(again(x), basis(x))
    assert torch.equal(copy.deepcopy(basis)(x), basis(x))
    assert (again.size, again.domain, again.period) == (basis.size, basis.domain, basis.period)


@every_basis
def test_vmap_is_a_batch(name):
    basis = RECIPES[name]()
    x = around(basis, 12).view(3, 4)
    torch.testing.assert_close(torch.func.vmap(basis)(x), basis(x), rtol=0, atol=1e-14)
    torch.testing.assert_close(
        torch.func.vmap(torch.func.vmap(basis))(x), basis(x), rtol=0, atol=1e-14
    )


@every_basis
@pytest.mark.filterwarnings("ignore:`torch.jit.script` is deprecated")  # torch's own use of it
def test_forward_mode_is_the_derivative(name):
    basis = RECIPES[name]().double()
    x = inside(basis, 11)
    found = torch.func.vmap(torch.func.jacfwd(basis))(x)
    torch.testing.assert_close(found, basis.derivative(x, 1), rtol=1e-9, atol=1e-9)


@every_basis
def test_a_call_changes_nothing(name):
    basis = RECIPES[name]()
    x = inside(basis)
    before, state = x.clone(), copy.deepcopy(basis.state_dict())
    for order in (0, 1, 2):
        basis.derivative(x, order)
    assert torch.equal(x, before)
    assert all(torch.equal(value, state[key]) for key, value in basis.state_dict().items())


@every_basis
def test_other_orders_and_integers_are_refused(name):
    basis = RECIPES[name]()
    for order in (3, -1, None):
        with pytest.raises(InputError) as caught:
            basis.derivative(torch.zeros(2), order)
        message = f"derivatives are known up to order 2, got order={order!r}"
        assert str(caught.value) == message
    with pytest.raises(InputError) as caught:
        basis(torch.zeros(2, dtype=torch.int64))
    assert str(caught.value) == (
        "a basis takes floating-point numbers, got torch.int64; use x.double()"
    )


DOMAIN = "domain must be (low, high) with low < high, got "
COARSER = "a refinement can't be coarser than now: grid_size must be at least "
FREQUENCIES = (
    "Fourier can't be refined with frequencies that are given or learned: what comes next after "
    "them is known only of harmonics; make it with a number of them"
)
COUNT = "must be a whole number of at least 1, got"


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: BSpline(degree=-1), "degree must be a whole number of at least 0, got -1"),
        (lambda: BSpline(degree=2.0), "degree must be a whole number of at least 0, got 2.0"),
        (lambda: BSpline(degree=True), "degree must be a whole number of at least 0, got True"),
        (lambda: BSpline(grid_size=0), f"grid_size {COUNT} 0"),
        (lambda: BSpline(outside="flat"), "outside must be 'linear' or 'zero', got 'flat'"),
        (lambda: BSpline(domain=(1, 1)), DOMAIN + "(1, 1)"),
        (lambda: Gaussian(domain=(2.0, -2.0)), DOMAIN + "(2.0, -2.0)"),
        (lambda: Wavelet(domain=(0.0, math.nan)), DOMAIN + "(0.0, nan)"),
        (lambda: Wavelet(domain=(0.0, math.inf)), DOMAIN + "(0.0, inf)"),
        (lambda: Wavelet(domain=3), DOMAIN + "3"),
        (lambda: Chebyshev(degree=0), f"degree {COUNT} 0"),
        (lambda: Chebyshev(degree=3.0), f"degree {COUNT} 3.0"),
        (lambda: Chebyshev(outside="zero"), "outside must be 'linear' or 'tanh', got 'zero'"),
        (lambda: Chebyshev(domain=(1, -1)), DOMAIN + "(1, -1)"),
        (lambda: Rational(numerator=0), f"numerator {COUNT} 0"),
        (lambda: Rational(denominator=0), f"denominator {COUNT} 0"),
        (lambda: Rational(groups=True), f"groups {COUNT} True"),
        (
            lambda: Rational(groups=3)(torch.zeros(2, 4)),
            "Rational with groups=3 takes a last axis of a multiple of that, got x of shape (2, 4)",
        ),
        (
            lambda: Rational(groups=2)(torch.zeros(())),
            "Rational with groups=2 takes a last axis of a multiple of that, got x of shape ()",
        ),
        (lambda: Chebyshev(4).refined(3), COARSER + "degree=4, got 3"),
        (lambda: Rational(5).refined(4), COARSER + "numerator=5, got 4"),
        (lambda: Fourier(3).refined(2), COARSER + "harmonics=3, got 2"),
        (lambda: Wavelet(8).refined(1), COARSER + "count=8, got 1"),
        (lambda: Wavelet(8).refined(9.0), f"grid_size {COUNT} 9.0"),
        (lambda: Fourier([1.0, 2.0]).refined(5), FREQUENCIES),
        (lambda: Fourier(2, learnable=True).refined(5), FREQUENCIES),
        (lambda: Fourier(harmonics=0), f"harmonics {COUNT} 0"),
        (lambda: Fourier(harmonics=2.5), f"harmonics {COUNT} 2.5"),
        (lambda: Fourier(period=-1.0), "period must be positive, got -1.0"),
        (lambda: Fourier([1.0, 0.0]), "frequencies must be positive numbers, got [1.0, 0.0]"),
        (lambda: Fourier([]), "frequencies must be positive numbers, got []"),
        (lambda: Gaussian(centers=0), f"centers {COUNT} 0"),
        (lambda: Gaussian([]), "centers must be rising numbers, got []"),
        (lambda: Gaussian([1.0, 0.0]), "centers must be rising numbers, got [1.0, 0.0]"),
        (lambda: Gaussian(width=0), "width must be positive, got 0"),
        (lambda: Wavelet(count=-3), f"count {COUNT} -3"),
        (
            lambda: Wavelet(mother="mexicanhat"),
            "unknown mother wavelet 'mexicanhat': did you mean 'mexican_hat'? "
            "(known: mexican_hat, morlet, dog)",
        ),
        (
            lambda: make_basis("bsplin"),
            "unknown basis 'bsplin': did you mean 'bspline'? "
            "(known: bspline, chebyshev, fourier, gaussian, rational, wavelet)",
        ),
        (
            lambda: make_basis(BSpline(), degree=2, grid_size=3),
            "options ['degree', 'grid_size'] go with a basis name, not with an object",
        ),
        (lambda: make_basis(7), "a basis is asked for by name, got 7"),
        (lambda: check_count("n", True), f"n {COUNT} True"),
        (lambda: check_domain("ab"), DOMAIN + "'ab'"),
    ],
)
def test_bad_input_is_refused_word_by_word(make, message):
    with pytest.raises(InputError) as caught:
        make()
    assert str(caught.value) == message


def test_an_option_that_does_not_exist_is_refused():
    with pytest.raises(InputError) as caught:
        make_basis("bspline", grid=3)
    assert str(caught.value).startswith("basis 'bspline' can't be made: ")
    assert "'grid'" in str(caught.value)


def test_an_object_is_taken_as_it_is_and_a_class_by_its_place():
    basis = BSpline()
    assert make_basis(basis) is basis
    assert isinstance(make_basis("edgewise.bases:Wavelet", count=2), Wavelet)
