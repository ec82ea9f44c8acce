"""Models of every row of the table of formats, as small as they can be, and inputs for them."""

from collections.abc import Callable

import torch
from torch import nn

import edgewise as ew
from edgewise import models
from edgewise.core import seeded
from edgewise.encoders import ENCODERS, make_encoder
from edgewise.models.backbones import BACKBONES

UNIX = 1.7e9 + torch.arange(24.0, dtype=torch.float64).view(4, 6) ** 2


def streams(encoder: str = "kmote", backbone: str = "lstm", **options) -> nn.Module:
    made = make_encoder(encoder, 8).fit_scale(UNIX)
    return models.SequenceClassifier(made, 3, hidden_dim=4, backbone=backbone, **options)


def symbolic() -> nn.Module:
    return ew.symbolic.as_symbolic(models.KAN([2, 2, 1]))


def knots_of_data() -> nn.Module:
    return models.KAN([3, 2], ew.bases.BSpline().adapted(torch.randn(50, 3)))


SMALL = {"hidden_dim": 4}
BASES = ("fourier", "gaussian", "wavelet", "chebyshev", "rational")

# Row of the table to variants, the plainest first; the others are tested with the slow tests.
CASES: dict[str, dict[str, Callable[[], nn.Module]]] = {
    "KAN": {
        "bspline": lambda: models.KAN([3, 2]),
        **{basis: (lambda basis=basis: models.KAN([3, 2], basis)) for basis in BASES},
        "knots of data": knots_of_data,
        "decaying": lambda: models.KAN([3, 2], ew.bases.BSpline(outside="zero")),
        "normalised": lambda: models.KAN([3, 3, 2], normalize="batch", dropout=0.1),
        "double": lambda: models.KAN([3, 2]).double(),
    },
    "MLP": {"layer": lambda: models.MLP([3, 4, 2], normalize="layer", dropout=0.1)},
    "Hybrid": {
        "all kinds": lambda: models.Hybrid([3, 4, 4, 4, 2], ["linear", "kan", "kernel", "kaf"])
    },
    "ConvKAN": {
        form: (lambda form=form: models.ConvKAN((1, 8, 8), 3, (2, 4), form))
        for form in ("expanded", "bottleneck")
    },
    "CNN": {"plain": lambda: models.CNN((1, 8, 8), 3, channels=(4, 8))},
    "SequenceClassifier": {
        "kmote-lstm": streams,
        **{f"{e}-lstm": (lambda e=e: streams(e)) for e in ENCODERS if e != "kmote"},
        "kmote-gru-features": lambda: streams("kmote", "gru", feature_dim=2, num_layers=2),
        "raw-mamba": lambda: streams("raw", "mamba"),
    },
    "SeriesClassifier": {
        name: (lambda name=name: models.SeriesClassifier(3, 2, name, **SMALL)) for name in BACKBONES
    },
    "TextClassifier": {
        "bag": lambda: models.TextClassifier(20, 2, "bag", 4, 4, pool="max"),
        "kan-gru": lambda: models.TextClassifier(20, 2, "kan-gru", 4, 4, pool="last", head="kan"),
        "transformer": lambda: models.TextClassifier(20, 2, "transformer", 4, 4),
    },
    "time encoders": {
        "kmote": lambda: make_encoder("kmote", 8).fit_scale(UNIX),
        "routed by features": lambda: ew.encoders.KMOTE(8, router_features=2, combine="sum"),
    },
    "KANLinear": {"bspline": lambda: ew.layers.KANLinear(3, 2, bias=True)},
    "KANConv2d": {"bspline": lambda: ew.layers.KANConv2d(2, 3, 2, padding=1)},
    "KernelActivation": {"tanh": lambda: ew.layers.KernelActivation(3, 2)},
    "KAF": {"silu": lambda: ew.layers.KAF(3, 8)},
    "SymbolicKAN": {"splines": symbolic},
}


def made(row: str, variant: str) -> nn.Module:
    """The model, with weights away from what new ones have, in evaluation mode."""
    with seeded(0, row, variant):
        model = CASES[row][variant]()
        with torch.no_grad():
            for parameter in model.parameters():
                parameter.add_(0.1 * torch.randn_like(parameter))
    return model.eval()
