import math
import random
from itertools import pairwise

import pytest
import torch

from edgewise.train import Settings
from edgewise.train.schedule import cosine, learning_rate, plateau_cuts


def test_cosine_climbs_and_falls():
    curve = [cosine(t, 101, warmup=0.2) for t in range(101)]
    w = 20
    assert curve[0] == 1 / 25
    assert curve[w] == 1
    assert curve[-1] == pytest.approx(1e-4, rel=1e-12)
    assert all(a < b for a, b in pairwise(curve[: w + 1]))
    assert all(a > b for a, b in pairwise(curve[w:]))
    assert curve[10] == pytest.approx((1 / 25 + 1) / 2)
    assert curve[60] == pytest.approx((1 + 1e-4) / 2)
    assert curve[40] == pytest.approx(1e-4 + (1 - 1e-4) * (1 + math.cos(math.pi / 4)) / 2)


@pytest.mark.parametrize("steps", [1, 2, 3, 63, 100])
@pytest.mark.parametrize("warmup", [0.0, 0.1, 0.5, 0.999])
def test_cosine_stays_between_its_ends(steps, warmup):
    curve = [cosine(t, steps, warmup) for t in range(steps)]
    assert all(1e-4 * (1 - 1e-9) <= rate <= 1 for rate in curve)


def test_cosine_without_warmup_is_torchs():
    steps, peak = 63, 0.5
    optimiser = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=peak)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, steps - 1, eta_min=peak * 1e-4)
    for t in range(steps):
        assert cosine(t, steps, 0.0) * peak == pytest.approx(schedule.get_last_lr()[0], rel=1e-9)
        optimiser.step()
        schedule.step()


@pytest.mark.parametrize("patience", [0, 1, 3])
def test_plateau_is_torchs(patience):
    draw = random.Random(patience)
    optimiser = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=1.0)
    schedule = torch.optim.lr_scheduler.ReduceLROnPlateau(
        optimiser, factor=0.5, patience=patience, threshold=0, eps=0
    )
    losses, seen = [], set()
    for _ in range(100):
        losses.append(draw.choice([1, 2, 3, 4]) / (1 + 0.01 * len(losses)))
        schedule.step(losses[-1])
        cuts = plateau_cuts(losses, patience)
        assert 0.5**cuts == optimiser.param_groups[0]["lr"]
        seen.add(cuts)
    assert len(seen) > 2


def test_each_schedule_gives_its_rate():
    losses = [1.0, 2.0, 2.0]
    rates = {
        name: learning_rate(
            Settings(learning_rate=0.2, schedule=name, plateau_patience=1, plateau_factor=0.1),
            step=10,
            steps=100,
            losses=losses,
        )
        for name in ("cosine", "plateau", "constant")
    }
    assert rates == {"cosine": 0.2, "plateau": pytest.approx(0.02), "constant": 0.2}
