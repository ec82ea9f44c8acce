"""Gradients that are to be differentiated again, where one input was made of another."""

import pytest
import torch

from edgewise.bases import make_basis
from edgewise.kernels import basis_linear, use
from edgewise.layers.scan import selective_scan


def layer_of_its_input(name):
    basis = make_basis(name).double()

    def f(x):
        C = (x.sum() * torch.ones(basis.size, 2, 2, dtype=x.dtype)).sin()
        return basis_linear(x, C, basis, functions=basis.known)

    return f


def scan_of_its_input(x):
    steps = x.unsqueeze(0)
    return selective_scan(
        steps.unsqueeze(-1), steps.sigmoid(), -x[0].exp(), steps.sin(), steps.cos()
    )[0]


@pytest.mark.parametrize("path", ["auto", "plain"])
@pytest.mark.parametrize(
    "f",
    [layer_of_its_input("bspline"), layer_of_its_input("fourier"), scan_of_its_input],
    ids=["bspline", "fourier", "scan"],
)
def test_a_graph_does_not_change_the_gradient(f, path):
    x = torch.rand(3, 2, dtype=torch.float64, requires_grad=True)
    with use(path):
        (once,) = torch.autograd.grad(f(x).square().sum(), x)
        (again,) = torch.autograd.grad(f(x).square().sum(), x, create_graph=True)
        assert torch.autograd.gradgradcheck(f, (x,))
    torch.testing.assert_close(again, once, rtol=1e-10, atol=1e-10)
