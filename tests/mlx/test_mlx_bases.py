# ruff: noqa: E402 (what needs MLX is imported where it is known to be there)
"""Every twin of a basis against the basis itself in float64: values and gradients."""

import pytest
import torch

mx = pytest.importorskip("mlx.core", reason="MLX is not installed: pip install 'edgewise[mlx]'")

from mlx.utils import tree_flatten

from edgewise import bases
from edgewise.mlx.fixed import Fixed
from edgewise.mlx.networks import twin
from edgewise.mlx.transfer import give, to_array, to_tensor


def uneven(*inputs):
    """Breaks from about -1 to 1."""
    random = torch.Generator().manual_seed(0)
    widths = 0.2 + torch.rand(*inputs, 6, generator=random, dtype=torch.float64)
    return (widths / widths.sum(-1, keepdim=True)).cumsum(-1) * 2 - 1


RECIPES = {
    "bspline": lambda: bases.BSpline(),
    "bspline bins": lambda: bases.BSpline(4, 0),
    "bspline one bin": lambda: bases.BSpline(1, 0),
    "bspline hats": lambda: bases.BSpline(7, 1, domain=(-2.0, 3.0)),
    "bspline degree 2": lambda: bases.BSpline(1, 2),
    "bspline degree 5": lambda: bases.BSpline(6, 5),
    "bspline fine": lambda: bases.BSpline(100, 3),
    "bspline zero outside": lambda: bases.BSpline(4, 3, outside="zero"),
    "bspline bins zero outside": lambda: bases.BSpline(4, 0, outside="zero"),
    "bspline of its own cells": lambda: bases.BSpline().with_breaks(uneven()),
    "bspline of its own bins": lambda: bases.BSpline(degree=0).with_breaks(uneven()),
    "bspline of its own hats": lambda: bases.BSpline(degree=1).with_breaks(uneven()),
    "bspline of one cell": lambda: bases.BSpline(degree=2).with_breaks(torch.tensor([-1.0, 3.0])),
    "bspline of cells for each input": lambda: bases.BSpline(degree=3).with_breaks(uneven(10)),
    "bspline of degree 5 for each input": lambda: bases.BSpline(degree=5).with_breaks(uneven(10)),
    "gaussian": lambda: bases.Gaussian(),
    "gaussian given": lambda: bases.Gaussian([0.0, 0.2, 1.5], width=0.3),
    "mexican hat": lambda: bases.Wavelet(),
    "dog": lambda: bases.Wavelet(7, "dog", domain=(0.0, 1.0)),
    "morlet": lambda: bases.Wavelet(5, "morlet"),
    "fourier": lambda: bases.Fourier(),
    "fourier learnable": lambda: bases.Fourier([0.5, 3.0], learnable=True),
    "chebyshev": lambda: bases.Chebyshev(),
    "chebyshev degree 1": lambda: bases.Chebyshev(1),
    "chebyshev without constant": lambda: bases.Chebyshev(4, outside="linear", constant=False),
    "chebyshev tanh": lambda: bases.Chebyshev(6, domain=(-2.0, 1.0), outside="tanh"),
    "rational": lambda: bases.Rational(),
    "rational in groups": lambda: bases.Rational(2, 5, groups=5),
}


@pytest.fixture(params=RECIPES.values(), ids=RECIPES.keys())
def pair(request):
    basis = request.param()
    other = twin(basis)
    give(basis, other)
    return basis, other


def numbers():
    """(11, 10), beyond the domain on both sides, its ends and the middle among them."""
    ends = torch.tensor([-1.0, 1.0, 0.0, -2.0, 3.0])
    return torch.cat([torch.linspace(-3.3, 3.7, 105), ends]).view(11, 10)


def test_values(pair):
    basis, other = pair
    x = numbers()
    values = to_tensor(other(to_array(x)))
    assert values.dtype == torch.float32
    torch.testing.assert_close(values.double(), basis(x.double()), rtol=1e-5, atol=2e-6)


def test_gradients(pair):
    basis, other = pair
    x = numbers()
    weights = torch.randn(*x.shape, basis.size)
    wide = x.double().requires_grad_()
    total = (basis(wide) * weights).sum() + 0 * wide.sum()
    (expected,) = torch.autograd.grad(total, wide)
    slope = mx.grad(lambda z: (other(z) * to_array(weights)).sum())(to_array(x))
    torch.testing.assert_close(to_tensor(slope).double(), expected, rtol=1e-4, atol=1e-4)


def test_only_what_torch_trains_is_trained(pair):
    basis, other = pair
    other.unfreeze()
    trained = {name for name, _ in tree_flatten(other.trainable_parameters())}
    assert trained == {name for name, _ in basis.named_parameters()}
    assert {name for name, _ in tree_flatten(other.parameters())} == set(basis.state_dict())


def test_learned_denominators_get_gradients():
    basis = bases.Rational(3, 2, groups=2)
    other = twin(basis)
    x, weights = torch.randn(5, 4), torch.randn(5, 4, 4)
    (expected,) = torch.autograd.grad((basis(x) * weights).sum(), basis.b)
    found = mx.grad(lambda b: (_with(other, b=b)(to_array(x)) * to_array(weights)).sum())(
        to_array(basis.b)
    )
    torch.testing.assert_close(to_tensor(found), expected, rtol=1e-4, atol=1e-5)


def _with(module, **arrays):
    module.update(arrays)
    return module


def test_fixed_arrays_stay_frozen_in_a_thawed_network():
    module = Fixed()
    module.fix(a=mx.zeros(2))
    module.fix(b=mx.zeros(3))
    module.unfreeze()
    assert module.trainable_parameters() == {}
    assert sorted(module.parameters()) == ["a", "b"]
