"""Small problems that the tests of this room share."""

from itertools import pairwise

import torch
from torch import nn

from edgewise.bases import BSpline
from edgewise.core import generator, seeded
from edgewise.layers import KANLinear
from edgewise.models import KAN
from edgewise.optim import HSODM, SFN, LevenbergMarquardt, LMThenBroyden, SSBroyden

OPTIMISERS = {
    "lm": LevenbergMarquardt,
    "broyden": SSBroyden,
    "row": LMThenBroyden,
    "sfn": SFN,
    "hsodm": HSODM,
}
RESIDUALS = ("lm", "row")
"""Those whose closure returns residuals."""


def kan(*widths, seed=0, basis=None, **options):
    with seeded(seed, "kan"):
        return KAN(list(widths), basis or BSpline(3), **options).double()


def mlp(*widths, seed=0):
    with seeded(seed, "mlp"):
        layers = [nn.Linear(i, o) for i, o in pairwise(widths)]
        parts = [part for layer in layers for part in (layer, nn.Tanh())]
        return nn.Sequential(*parts[:-1]).double()


def sequence(*widths, seed=0, **options):
    with seeded(seed, "sequence"):
        pairs = pairwise(widths)
        return nn.Sequential(*(KANLinear(i, o, BSpline(3), **options) for i, o in pairs)).double()


def samples(n, inputs, outputs, seed=0):
    x = torch.rand(n, inputs, generator=generator(seed, "x"), dtype=torch.float64) * 2 - 1
    y = torch.randn(n, outputs, generator=generator(seed, "y"), dtype=torch.float64)
    return x, y


def hello(n=1000, seed=0):
    """The target of the race."""
    x = torch.rand(n, 2, generator=generator(seed, "hello"), dtype=torch.float64) * 2 - 1
    return x, torch.exp(torch.sin(torch.pi * x[:, :1]) + x[:, 1:] ** 2)


def vector(*values):
    return torch.tensor(values, dtype=torch.float64, requires_grad=True)


def rosenbrock(w, name):
    """The closure that the optimiser of this name wants."""

    def residuals():
        return torch.cat([1 - w[:-1], 10 * (w[1:] - w[:-1] ** 2)])

    return residuals if name in RESIDUALS else lambda: residuals().square().sum()


def dense_hessian(f, params):
    """The Hessian by plain double differentiation, row by row."""
    parts = torch.autograd.grad(f(), params, create_graph=True, materialize_grads=True)
    g = torch.cat([part.reshape(-1) for part in parts])
    rows = []
    for entry in g:
        parts = torch.autograd.grad(entry, params, retain_graph=True, materialize_grads=True)
        rows.append(torch.cat([part.reshape(-1) for part in parts]))
    return torch.stack(rows)
