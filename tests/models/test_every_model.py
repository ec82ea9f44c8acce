"""What every model must do: be compiled, and learn in seconds. Files are in tests/export."""

import pytest
import torch
from torch import nn

from edgewise import models
from edgewise.core import seeded
from edgewise.models import SequenceClassifier

LENGTHS = torch.tensor([4, 2, 3])
TIMES = torch.arange(12.0).view(3, 4)
FLAT = (torch.linspace(-1, 1, 9).view(3, 3),)
IMAGES = (torch.linspace(-1, 1, 192).view(3, 1, 8, 8),)

# A model, its inputs, and whether the compiler finds one graph: times are looked at and shared.
CASES = {
    "KAN": (lambda: models.KAN([3, 4, 2]), FLAT, True),
    "MLP": (lambda: models.MLP([3, 4, 2]), FLAT, True),
    "CNN": (lambda: models.CNN((1, 8, 8), 2, channels=(2, 4)), IMAGES, True),
    "ConvKAN expanded": (lambda: models.ConvKAN((1, 8, 8), 2, (2, 4), "expanded"), IMAGES, True),
    "ConvKAN bottleneck": (lambda: models.ConvKAN((1, 8, 8), 2, (2, 4)), IMAGES, True),
    "streams, mamba": (
        lambda: SequenceClassifier("time2vec", 2, 4, backbone="mamba", dim=8),
        (TIMES, LENGTHS),
        False,
    ),
    "streams, kmote": (lambda: SequenceClassifier("kmote", 2, 4, dim=8), (TIMES, LENGTHS), False),
}


@pytest.mark.parametrize(("make", "inputs", "whole"), CASES.values(), ids=CASES)
def test_it_is_compiled(make, inputs, whole):
    with seeded(0, "compile"):
        model = make().eval()
    torch.compiler.reset()
    compiled = torch.compile(model, fullgraph=whole, backend="eager")
    with torch.no_grad():
        torch.testing.assert_close(compiled(*inputs), model(*inputs), rtol=0, atol=1e-5)


def bars(n, seed):
    """Images of a bar that stands or lies, anywhere, in noise."""
    draw = torch.Generator().manual_seed(seed)
    x = 0.3 * torch.randn(n, 1, 8, 8, generator=draw)
    y = torch.randint(0, 2, (n,), generator=draw)
    places = torch.randint(0, 8, (n,), generator=draw)
    for image, lies, place in zip(x, y, places, strict=True):
        (image[0, place] if lies else image[0, :, place]).add_(1)
    return x, y


def rings(n, seed):
    """Points within a ring and on it."""
    draw = torch.Generator().manual_seed(seed)
    x = torch.rand(n, 2, generator=draw) * 2 - 1
    return x, (x.square().sum(1) < 0.5).long()


TASKS = {
    "KAN": (lambda: models.KAN([2, 4, 2]), rings, 0.93),
    "MLP": (lambda: models.MLP([2, 16, 2]), rings, 0.93),
    "CNN": (lambda: models.CNN((1, 8, 8), 2, channels=(4, 8)), bars, 0.95),
    "ConvKAN expanded": (lambda: models.ConvKAN((1, 8, 8), 2, (2, 4), "expanded"), bars, 0.95),
    "ConvKAN bottleneck": (lambda: models.ConvKAN((1, 8, 8), 2, (4, 8)), bars, 0.95),
}


@pytest.mark.parametrize(("make", "task", "bar"), TASKS.values(), ids=TASKS)
def test_it_learns_in_seconds(make, task, bar):
    with seeded(0, "learn"):
        model = make()
    (x, y), (new, truth) = task(256, seed=0), task(256, seed=1)
    optimiser = torch.optim.Adam(model.parameters(), lr=0.03)
    for _ in range(60):
        optimiser.zero_grad()
        nn.functional.cross_entropy(model(x), y).backward()
        optimiser.step()
    accuracy = (model.eval()(new).argmax(-1) == truth).float().mean()
    assert accuracy > bar
