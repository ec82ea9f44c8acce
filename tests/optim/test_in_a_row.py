import pytest
import torch
from optim_problems import hello, kan

from edgewise.core import InputError
from edgewise.optim import LeastSquares, LMThenBroyden


def plan(**options):
    model = kan(2, 3, 1)
    return model, LeastSquares(model, *hello(200)), LMThenBroyden(model.parameters(), **options)


def test_it_changes_when_the_first_no_longer_pays():
    model, problem, optimiser = plan(patience=5)
    second, losses = [], []
    memory = optimiser.state[next(model.parameters())]
    while len(losses) < 60 and sum(second) < 3:
        losses.append(float(optimiser.step(problem)))
        second.append(memory["second"])
    changed = second.index(True)
    assert losses[changed] > 0.5 * losses[changed - 5]
    assert all(losses[k] <= 0.5 * losses[k - 5] for k in range(5, changed))
    assert all(second[changed:])
    assert losses[-1] < losses[changed]


def test_after_a_change_from_outside_it_begins_with_the_first():
    model, problem, optimiser = plan(patience=1, progress=0.01)
    for _ in range(4):
        optimiser.step(problem)
    memory = optimiser.state[next(model.parameters())]
    assert memory["second"]
    with torch.no_grad():
        model.layers[0].coefficients.mul_(0.5)
    optimiser.step(problem)
    assert not memory["second"]
    assert "inverse" not in memory


def test_bad_input_is_refused_word_by_word():
    for options, message in (
        ({"progress": 1.5}, "progress must lie between 0 and 1, got 1.5"),
        ({"patience": 0}, "patience must be a whole number of at least 1, got 0"),
        ({"iterations": 0.5}, "iterations must be a whole number of at least 1, got 0.5"),
        ({"damping": -1.0}, "damping must be a positive number, got -1.0"),
    ):
        with pytest.raises(InputError) as caught:
            plan(**options)
        assert str(caught.value) == message
