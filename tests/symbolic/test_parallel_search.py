"""A search by several processes: what one process finds, whatever their number."""

import os
import time

import pytest
import torch

from edgewise.core import InputError, RunError
from edgewise.symbolic import KANRegressor, add_function, discover, parallel
from edgewise.symbolic.functions import FUNCTIONS


def rows(inputs, count=300, seed=0):
    source = torch.Generator().manual_seed(seed)
    return 0.5 + 2 * torch.rand(count, inputs, generator=source, dtype=torch.float64)


@pytest.fixture
def at_once(monkeypatch):
    """Other processes begin with the first attempt."""
    monkeypatch.setattr(parallel, "ALONE", 0.0)


@pytest.fixture
def own_function():
    added = []

    def add(name, value, slope):
        added.append(name)
        return add_function(name, value, "besselj(0, x)", slope=slope)

    yield add
    for name in added:
        del FUNCTIONS._entries[name]


def left_alone(monkeypatch):
    """Makes this process take nothing but the first place until another found what is exact."""
    inner = parallel._Deal.take_here

    def take_here(deal):
        while deal._place and deal._clock() < float("inf"):
            deal._here = 10**9
            time.sleep(0.05)
        return inner(deal)

    monkeypatch.setattr(parallel._Deal, "take_here", take_here)


def test_the_same_formula_and_a_users_own_function(at_once, own_function, monkeypatch):
    f = own_function("J0", torch.special.bessel_j0, lambda x: -torch.special.bessel_j1(x))
    x = rows(2)
    y = f(x[:, 0]) + x[:, 1]
    state = torch.random.get_rng_state()
    one = discover(x, y, functions=["x", "J0"])
    # Here nothing but the first attempt: all others are left to another process.
    left_alone(monkeypatch)
    two = discover(x, y, functions=["x", "J0"], workers=2)
    assert str(two.expression) == str(one.expression) == "x2 + besselj(0, x1)"
    assert two.best.how == one.best.how
    assert two.exact
    assert two.seconds > 0.05
    assert torch.equal(torch.random.get_rng_state(), state)


def test_what_is_found_soon_starts_no_process(monkeypatch):
    monkeypatch.setattr(parallel, "_Helper", lambda *_: pytest.fail("a process was started"))
    x = rows(2)
    assert str(discover(x, x[:, 0] / x[:, 1], workers=2).expression) == "x1/x2"


def test_with_noise_it_ends_when_noise_is_left(monkeypatch):
    x = rows(3, 2000)
    truth = x[:, 0] * x[:, 1] + 2 * x[:, 2]
    noise = torch.randn(2000, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    # In this process all the way.
    monkeypatch.setattr(parallel, "ALONE", float("inf"))
    found = discover(x, truth + 0.01 * truth.std() * noise, workers=2)
    assert str(found.expression) == "x1*x2 + 2*x3"
    assert not found.exact
    assert found.seconds < 30


def test_no_attempt_knows_of_those_before_it(monkeypatch):
    """Else it would matter which process had them."""
    x = rows(2, 200)
    y = torch.sin(3 * x[:, 0]) * x[:, 1] + 0.1 * torch.rand(200, generator=torch.Generator())
    functions = [FUNCTIONS.resolve(name) for name in ("x", "sin")]
    problem = parallel.Problem(x, y, None, parallel.Deadline.after(1e6))
    tries = parallel._Tries(problem, functions, 0)
    in_turn = [tries.run(place) for place in range(8)]
    for place in (3, 7):
        alone = parallel._Tries(problem, functions, 0).run(place)
        assert alone.candidates == in_turn[place].candidates
        assert alone.solved == in_turn[place].solved


def outcome(*errors, solved=False):
    found = [parallel.Candidate(None, error, 1, f"{error:g}") for error in errors]
    return parallel.Outcome(found, solved, 1.0)


def test_the_first_exact_attempt_counts_not_the_first_to_end():
    judge = parallel._Judge()
    judge.hear(2, outcome(1e-14, solved=True))
    assert judge.is_found
    assert not judge.is_settled
    judge.hear(0, outcome(0.1))
    judge.hear(3, outcome(0.2))
    judge.hear(1, outcome(0.3, 1e-12, solved=True))
    assert judge.is_settled
    assert [c.how for c in judge.candidates] == ["0.1", "0.3", "1e-12"]
    assert judge.seconds == 4.0


def test_what_is_worse_than_before_settles_nothing():
    judge = parallel._Judge()
    judge.hear(0, outcome(0.1))
    judge.hear(1, outcome(0.2, solved=True))
    judge.hear(2, outcome())
    assert not judge.is_found
    judge.hear(3, outcome(0.101, solved=True))
    assert judge.is_settled


def test_an_exact_one_stops_this_process_only_where_it_came_earlier():
    clock = parallel.Clock()
    deal = parallel._Deal(clock)
    assert [deal.take(), deal.take_here(), deal.take()] == [0, 1, 2]
    deal.give(2, outcome(1e-12))
    assert clock() < float("inf")
    deal.give(0, outcome(1e-12))
    assert clock() == float("inf")
    assert [deal.hear()[0], deal.hear()[0]] == [2, 0]
    assert deal.running == 1
    deal.close()
    assert deal.take() is None


def test_the_time_ends_it(at_once):
    x = rows(2, 200)
    y = torch.rand(200, generator=torch.Generator().manual_seed(3), dtype=torch.float64) + x[:, 0]
    start = time.monotonic()
    found = discover(x, y, budget=0.5, workers=2)
    assert not found.exact
    # Two processes of half a second each, whatever a single attempt may take beyond.
    assert found.seconds < 30
    assert time.monotonic() - start < 120


def test_a_lost_process_is_said(at_once, own_function):
    here = os.getpid()

    def deadly(x):
        if os.getpid() != here:
            os._exit(1)
        return torch.special.bessel_j0(x)

    own_function("deadly", deadly, lambda x: -torch.special.bessel_j1(x))
    x = rows(2, 100)
    y = torch.special.bessel_j0(x[:, 0] * x[:, 1]) + x[:, 1] ** 3
    with pytest.raises(RunError, match="a process of the search was lost"):
        discover(x, y, functions=["deadly"], workers=2)


@pytest.mark.parametrize("workers", [0, -1, 1.5, True, "2"])
def test_a_number_of_processes_that_is_none(workers):
    x = rows(2)
    with pytest.raises(InputError, match="workers must be a whole number of at least 1, got"):
        discover(x, x[:, 0], workers=workers)


@pytest.mark.parametrize("n_jobs", [0, -2, 1.5])
def test_the_estimators_say_it_in_scikit_learns_words(n_jobs):
    x = rows(2).numpy()
    with pytest.raises(InputError, match="n_jobs must be None, -1 for all cores, or at least 1"):
        KANRegressor(n_jobs=n_jobs).fit(x, x[:, 0])


def test_the_estimators_hand_it_on():
    assert [KANRegressor(n_jobs=n)._workers() for n in (None, 3, -1)] == [1, 3, os.cpu_count()]
