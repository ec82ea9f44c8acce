"""A ten-layer KAN trains with every basis at default settings."""

import pytest
import torch
from torch.nn import functional as F

from edgewise.bases import BASES
from edgewise.core import generator, seeded
from edgewise.models import KAN

WIDTHS = [2, *[10] * 9, 1]


def train(basis, precision, steps=60):
    """The losses of Adam at its own rate; the first layer is dense, and so in half precision."""
    with seeded(0, "deep"):
        model = torch.nn.Sequential(torch.nn.Linear(2, 2), KAN(WIDTHS, basis))
    x = 2 * torch.rand(64, 2, generator=generator(0)) - 1
    y = torch.sin(3 * x[:, :1]) * x[:, 1:]
    optimiser = torch.optim.Adam(model.parameters())
    losses = []
    for _ in range(steps):
        optimiser.zero_grad()
        with torch.autocast("cpu", torch.bfloat16, enabled=precision == "bf16"):
            loss = F.mse_loss(model(x).float(), y)
        loss.backward()
        assert all(p.grad.isfinite().all() for p in model.parameters())
        optimiser.step()
        losses.append(loss.item())
    return losses, float(y.var())


@pytest.mark.parametrize("basis", BASES)
@pytest.mark.parametrize("precision", ["float32", "bf16"])
def test_the_loss_falls_to_a_fraction_and_never_runs_away(basis, precision):
    losses, variance = train(basis, precision)
    assert max(losses) < 10 * max(losses[0], variance)
    assert losses[-1] < 0.5 * variance
    assert losses[-1] < 0.5 * losses[0]
