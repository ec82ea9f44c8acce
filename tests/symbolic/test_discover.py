import numpy as np
import pytest
import torch

from edgewise.core import InputError
from edgewise.symbolic import discover
from edgewise.symbolic.hints import combinations, groups, power_factors, ridge
from edgewise.symbolic.surrogate import surrogate


def rows(ranges, count=1000, seed=0):
    source = torch.Generator().manual_seed(seed)
    u = torch.rand(count, len(ranges), generator=source, dtype=torch.float64)
    low = torch.tensor([r[0] for r in ranges], dtype=torch.float64)
    high = torch.tensor([r[1] for r in ranges], dtype=torch.float64)
    return low + (high - low) * u


CASES = {
    "hello": ("exp(x2**2 + sin(pi*x1))", [(-1, 1)] * 2),
    "product": ("x1*x2", [(-1, 1)] * 2),
    "I.25.13": ("x1/x2", [(-1, 1), (0.5, 2)]),
    "I.47.23": ("sqrt(x1)*sqrt(x2)/sqrt(x3)", [(0.1, 1), (0.1, 1), (0.5, 2)]),
    "I.6.20": ("sqrt(2)*exp(-x1**2/(2*x2**2))/(2*sqrt(pi)*x2)", [(-1, 1), (0.5, 2)]),
    "relativity": ("(x1 + x2)/(x1*x2 + 1)", [(-0.9, 0.9)] * 2),
}


@pytest.mark.parametrize("name", CASES)
def test_formulas_are_found(name):
    import sympy

    text, ranges = CASES[name]
    x = rows(ranges)
    columns = {f"x{k + 1}": x[:, k].numpy() for k in range(len(ranges))}
    y = sympy.lambdify(list(columns), sympy.sympify(text))(**columns)
    state = torch.random.get_rng_state()
    found = discover(x, y)
    assert str(found.expression) == text
    assert found.exact
    assert found.best.error < 1e-12
    np.testing.assert_allclose(found.model(x)[:, 0].detach().numpy(), y, rtol=1e-9, atol=1e-12)
    assert torch.equal(torch.random.get_rng_state(), state)


def test_noise_is_told_from_what_is_missing():
    x = rows([(1, 3)] * 3, 4000)
    truth = x[:, 0] * x[:, 1] + 2 * x[:, 2]
    noise = torch.randn(4000, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    found = discover(x, truth + 0.01 * truth.std() * noise, budget=20)
    assert str(found.expression) == "x1*x2 + 2*x3"
    # It ends when nothing but noise is left, not when the time is up.
    assert found.seconds < 15


def test_columns_of_a_data_frame_give_the_names():
    pandas = pytest.importorskip("pandas")
    x = rows([(1, 3)] * 2, 100).numpy()
    frame = pandas.DataFrame(x, columns=["mass", "speed"])
    found = discover(frame, frame["mass"] * frame["speed"] ** 2 / 2)
    assert str(found.expression) == "mass*speed**2/2"


def test_a_column_that_does_nothing_is_left_out():
    x = rows([(1, 3)] * 3)
    x[:, 1] = 7.0
    assert str(discover(x, x[:, 0] / x[:, 2]).expression) == "x1/x3"


def test_the_front_gets_longer_and_better():
    x = rows([(-1, 1)] * 2, 400)
    noise = 0.05 * torch.randn(400, generator=torch.Generator().manual_seed(1))
    found = discover(x, x[:, 0] * x[:, 1] + noise, budget=1.5)
    lengths = [c.complexity for c in found.front]
    errors = [c.error for c in found.front]
    assert lengths == sorted(lengths)
    assert errors == sorted(errors, reverse=True)
    assert found.best in found.front
    assert "*x1*x2" in str(found.expression)
    assert not found.exact


@pytest.mark.parametrize(
    ("x", "y", "options", "message"),
    [
        (np.ones((5, 1)), np.arange(5.0), {}, "a formula needs at least 10 rows, got 5"),
        (
            np.ones((20, 2)),
            np.arange(20.0),
            {},
            "every column of x is constant: y can't be told from them",
        ),
        (
            np.array([["a"], ["b"]] * 10),
            np.arange(20.0),
            {},
            "x must hold numbers only (could not convert string to float: np.str_('a')); "
            "leave text columns out or encode them",
        ),
        (
            np.ones((20, 1)),
            np.full(20, np.inf),
            {},
            "y holds NaN or infinity; drop or fill those rows first",
        ),
        (
            np.ones((20, 1)),
            np.arange(20.0),
            {"functions": ["x", "sine"]},
            "unknown function 'sine': did you mean 'sin'",
        ),
        (
            np.arange(20.0)[:, None],
            np.arange(20.0),
            {"names": ["a", "b"]},
            "there must be 1 different names, one for each input, got ['a', 'b']",
        ),
        (
            np.ones((20, 1)),
            np.ones(20),
            {},
            "y is constant: it is 1 in every row",
        ),
        (
            np.full((20, 1), np.nan),
            np.arange(20.0),
            {},
            "x holds NaN or infinity; drop or fill those rows first",
        ),
        (
            np.ones((20, 1)),
            np.ones((20, 2)),
            {},
            "x must be (N, I) and y (N,), got (20, 1) and (20, 2); search one output at a time",
        ),
        (
            np.random.default_rng(0).normal(size=(20, 1)),
            np.arange(20.0),
            {"budget": 0},
            "budget must be a positive number of CPU-seconds, got 0",
        ),
        (
            np.random.default_rng(0).normal(size=(300, 2)),
            np.random.default_rng(1).normal(size=300),
            {"budget": 0.5},
            "nothing about y can be told from x: no formula explains more than",
        ),
    ],
)
def test_errors(x, y, options, message):
    with pytest.raises(InputError) as error:
        discover(x, y, **options)
    assert str(error.value).startswith(message)


def test_a_surrogate_knows_the_gradient():
    z = rows([(1, 2)] * 3, 1500)
    found = surrogate(z, torch.sin(z[:, 0]) * z[:, 1] + z[:, 2] ** 2)
    expected = torch.stack([z[:, 0].cos() * z[:, 1], z[:, 0].sin(), 2 * z[:, 2]], 1)
    assert found.error < 1e-10
    torch.testing.assert_close(found.gradient(z), expected, rtol=1e-3, atol=1e-4)


def test_hints_name_the_structure():
    x = rows([(1, 3)] * 3, 2000)
    z = x.log()
    planck = z[:, 0] * 3 - (torch.exp(x[:, 0] / (x[:, 1] * x[:, 2])) - 1).log()
    gradient = surrogate(z, planck).gradient(z)
    line = ridge(gradient)
    assert [abs(q) for q in line.q] == [1, 1, 1]
    assert line.q[0] == -line.q[1] == -line.q[2]
    factor = surrogate(z, 2 * z[:, 0] + (x[:, 1] + x[:, 2]).log()).gradient(z)
    assert power_factors(factor, 0.01) == {0: 2}
    difference = torch.sin(x[:, 0] - x[:, 1]) * x[:, 2]
    (best, *_) = combinations(surrogate(x, difference).gradient(x), 1e-3)
    assert (best.i, best.j, best.factor) == (0, 1, -1)


def test_groups_are_told_apart_and_their_parts_given():
    x = rows([(-1, 1)] * 4, 1500)
    first = torch.sin(2 * x[:, 0] * x[:, 2])
    second = torch.exp(x[:, 1] * x[:, 3])
    found = groups(x, first + second)
    assert sorted(map(sorted, found.sets)) == [[0, 2], [1, 3]]
    part = found.parts[[sorted(s) for s in found.sets].index([0, 2])]
    left = (part - part.mean()) - (first - first.mean())
    assert left.square().mean() < 1e-8
